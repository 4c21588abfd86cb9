"""JSON annotation files as InterHand2.6M and HIC use them: tables whose faults name the file and the row."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from common.utils.errors import UserError

HAND_TYPES = ("right", "left", "interacting")
MOST_PIXELS = 2**20  # a side; OpenCV reads no larger picture
Row = dict[str, Any]
Named = tuple[str, Any]  # what a message calls a row, and the row


def read_json(path: Path, see: str) -> Any:
    """The content of a JSON file.

    UserError names the file, and the place of the damage where it is damaged; `see` says where to read
    how to get the file.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; {see}") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno} (character {error.pos})"
        raise UserError(f"{path} is damaged or cut short: {error.msg} at {place}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a JSON file: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise UserError(f"{path} is damaged: its brackets are nested too deep for annotations") from None


def images_and_annotations(path: Path, content: Any, see: str) -> tuple[dict[int, Row], list[Named]]:
    """The two tables of a COCO file: images by id; annotations in order, named for messages."""
    try:
        images = {image["id"]: image for image in content["images"]}
        annotations = [(f"annotation {row.get('id')}", row) for row in content["annotations"]]
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{path} holds no rows of images and annotations: {error}; {see}") from None
    if not annotations:
        raise UserError(f"{path} holds no annotations; {see}")
    return images, annotations


def image_of(row: Row, images: dict[int, Row]) -> Row:
    """The image of an annotation, joined by image_id; ValueError where there is none."""
    if row["image_id"] not in images:
        raise ValueError(f"image_id {row['image_id']} is not among the images")
    return images[row["image_id"]]


def size_of(image: Row) -> tuple[int, int]:
    """Width, height in pixels; ValueError where they are none."""
    width, height = int(image["width"]), int(image["height"])
    if not (0 < width < MOST_PIXELS and 0 < height < MOST_PIXELS):
        raise ValueError(f"its picture is {width} x {height} pixels")
    return width, height


def hand_type_of(row: Row) -> str:
    """One of HAND_TYPES; ValueError on anything else."""
    if row["hand_type"] not in HAND_TYPES:
        raise ValueError(f"hand_type {row['hand_type']} is none of {', '.join(HAND_TYPES)}")
    return row["hand_type"]


def parse_rows(path: Path, parse: Callable[[Any], Any], rows: Iterable[Named]) -> list[Any]:
    """parse(row) of every (name, row); UserError names the file and the row that is not as it should be."""
    parsed = []
    for name, row in rows:
        try:
            parsed.append(parse(row))
        except KeyError as error:
            raise UserError(f"{path}: {name} has no {error}") from None
        except (AttributeError, IndexError, OverflowError, TypeError, ValueError) as error:
            raise UserError(f"{path}: {name} is malformed: {error}") from None
    return parsed
