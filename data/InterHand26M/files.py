"""InterHand2.6M's files: where they lie, and what each says, as compact arrays.

Nothing is masked, filtered or moved to a camera here; millimetres become metres on reading, joints
get this project's order (2,21 wrist first), tables are keyed by the strings of the JSON files.
"""

import contextlib
import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO

from common.hand.joints import HANDS, INTERHAND_TO_JOINTS
from common.utils.errors import UserError

SPLITS = ("train", "val", "test")
HAND_TYPES = ("right", "left", "interacting")
# the two hands lie one after the other in a list of 42
BOTH_TO_JOINTS = np.array([INTERHAND_TO_JOINTS, np.add(INTERHAND_TO_JOINTS, 21)])  # (2,21)
SEE_README = 'see "InterHand2.6M" in the README'


def find_annotations(folder: str | Path, split: str) -> Path:
    """The folder of a split's JSON files, from the folder of the splits or the one above it."""
    found = _find(folder, "annotations", split)
    if found is None:
        old = any(_find(folder, "annotations", name) for name in ("all", "human_annot", "machine_annot"))
        reason = "v0.0, which is withdrawn: get v1.0" if old else f"no folder {split}"
        raise UserError(f"interhand_anno_dir: {folder} holds {reason}; {SEE_README}")
    return found


def find_images(folder: str | Path, split: str) -> Path:
    """The folder of a split's pictures (holds Capture*), from that of the splits or above."""
    found = _find(folder, "images", split)
    if found is None:
        raise UserError(f"interhand_images_path: {folder} holds no folder {split}; {SEE_README}")
    return found


def _find(folder: str | Path, above: str, name: str) -> Path | None:
    given = Path(folder).expanduser()
    return next((path for path in (given / name, given / above / name) if path.is_dir()), None)


def find_rootnet(path: str | Path, split: str) -> Path | None:
    """RootNet's file for a split, from its folder or itself; None for train, which has none."""
    given = Path(path).expanduser()
    if given.is_dir():
        given = given / f"rootnet_interhand2.6m_output_{split}.json"
        if split == "train" and not given.is_file():
            return None
    named = [other for other in SPLITS if other in given.stem.split("_")]
    if named and split not in named:  # annotation ids restart in every split: it would match wrongly
        if split == "train":
            return None
        raise UserError(f"root_net_output_path: {given} is for {named[0]}, not for {split}")
    return given


def read_json(path: Path, hook: Callable[[dict], dict] | None = None) -> Any:
    """A JSON file; UserError names the file, and the place of the damage where it is damaged."""
    try:
        return json.loads(path.read_bytes(), object_hook=hook)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; {SEE_README}") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno} (character {error.pos})"
        raise UserError(f"{path} is damaged or cut short: {error.msg} at {place}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a JSON file: {error.reason} at byte {error.start}") from None


def annotation_file(folder: Path, split: str, kind: str) -> Path:
    """E.g. InterHand2.6M_test_joint_3d.json."""
    return folder / f"InterHand2.6M_{split}_{kind}.json"


def read_rows(path: Path, parse: Callable[[Any], Any], rows: Iterable[tuple[str, Any]]) -> list[Any]:
    """Parse (name, row) pairs; UserError names the file and the row that is not as it should be."""
    parsed = []
    for name, row in rows:
        try:
            parsed.append(parse(row))
        except (KeyError, IndexError, TypeError, ValueError) as error:
            detail = f"has no {error}" if isinstance(error, KeyError) else f"is malformed: {error}"
            raise UserError(f"{path}: {name} {detail}") from None
    return parsed


# `*_data.json` as columns of N annotations: size is width, height; seen (N,2,21): annotated and inside
# the picture; hand_type: index into HAND_TYPES.
# fmt: off
COLUMNS = {"id": np.int64, "file": bytes, "size": np.int32, "capture": bytes, "camera": bytes, "frame": bytes,
           "box": np.float32, "seen": bool, "hand_type": np.int8, "hand_type_valid": bool}
# fmt: on


def read_data(path: Path) -> dict[str, NDArray]:
    """COLUMNS of `*_data.json`, one row per annotation joined to its image by image_id."""
    content = read_json(path, _compact)
    try:
        index = _index(content)
        names = [(f"annotation {row.get('id')}", row) for row in content["annotations"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} holds no rows of images and annotations: {error}; {SEE_README}") from None
    if not names:
        raise UserError(f"{path} holds no annotations; {SEE_README}")
    columns = zip(*read_rows(path, lambda row: _data_row(row, index.imgs), names), strict=True)
    return {name: np.array(next(columns), kind) for name, kind in COLUMNS.items()}


def _index(content: dict[str, list[dict[str, Any]]]) -> COCO:
    """Images and annotations by id, without the prints."""
    index = COCO()
    index.dataset = content
    with contextlib.redirect_stdout(io.StringIO()):
        index.createIndex()
    return index


def _compact(row: dict[str, Any]) -> dict[str, Any]:
    """Shrink 42 nested lists while the file is parsed: a whole split would take 8 GB otherwise."""
    with contextlib.suppress(ValueError):  # a malformed row is named later, by its id
        if "joint_valid" in row:
            row["joint_valid"] = np.array(row["joint_valid"], bool)
    return row


def _data_row(row: dict[str, Any], images: dict[int, dict[str, Any]]) -> tuple:
    """In the order of COLUMNS."""
    if row["image_id"] not in images:
        raise ValueError(f"image_id {row['image_id']} is not among the images")
    image = images[row["image_id"]]
    keys = [str(image[key]).encode() for key in ("capture", "camera", "frame_idx")]
    kind = HAND_TYPES.index(row["hand_type"])
    head = (row["id"], image["file_name"].encode(), (image["width"], image["height"]), *keys)
    return (*head, row["bbox"], joint_flags(row["joint_valid"]), kind, row["hand_type_valid"])


def joint_flags(flags: list) -> NDArray[np.bool_]:
    """InterHand's 42 x 1 flags, 0/1 or false/true -> (2,21) bool."""
    return np.asarray(flags, bool).reshape(42)[BOTH_TO_JOINTS]


def read_cameras(path: Path) -> dict[tuple[str, str], tuple[NDArray, NDArray, NDArray]]:
    """(capture, camera) -> world-to-camera rotation (3,3), translation (3,) in metres, K (3,3)."""
    captures = _captures(path).items()
    rows = {(c, name): (entry, name) for c, entry in captures for name in entry.get("campos", ())}
    return _read_table(path, "camera", rows, _camera)


def read_joints(path: Path) -> dict[tuple[str, str], tuple[NDArray, NDArray]]:
    """(capture, frame) -> world joints (2,21,3) in metres, annotated (2,21) bool.

    An unannotated joint holds anything, often [1, 1, 1]: only the flag tells.
    """
    return _read_table(path, "frame", _frames(path), _joints)


def read_fits(path: Path) -> dict[tuple[str, str], list[NDArray | None]]:
    """(capture, frame) -> per hand None or pose 48, shape 10, trans 3 (world, metres)."""
    return _read_table(path, "frame", _frames(path), _fits)


def _captures(path: Path) -> dict[str, dict]:
    captures = read_json(path)
    if not isinstance(captures, dict) or not all(isinstance(c or {}, dict) for c in captures.values()):
        raise UserError(f"{path} is no table of captures; {SEE_README}")
    return {capture: entry or {} for capture, entry in captures.items()}


def _frames(path: Path) -> dict[tuple[str, str], Any]:
    return {(c, f): row for c, frames in _captures(path).items() for f, row in frames.items()}


def _read_table(path: Path, kind: str, rows: dict[tuple[str, str], Any], parse: Callable[[Any], Any]) -> dict:
    if not rows:
        raise UserError(f"{path} holds no {kind} of any capture; {SEE_README}")
    names = [f"capture {capture} {kind} {name}" for capture, name in rows]
    return dict(zip(rows, read_rows(path, parse, zip(names, rows.values(), strict=True)), strict=True))


def _camera(row: tuple[dict[str, Any], str]) -> tuple[NDArray, NDArray, NDArray]:
    entry, name = row
    rotation = np.array(entry["camrot"][name], np.float64).reshape(3, 3)
    position = np.array(entry["campos"][name], np.float64).reshape(3) / 1000
    (fx, fy), (cx, cy) = entry["focal"][name], entry["princpt"][name]
    return rotation, -rotation @ position, np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])


def _joints(row: dict[str, Any]) -> tuple[NDArray, NDArray]:
    joints = np.array(row["world_coord"], np.float64).reshape(42, 3) / 1000
    return joints[BOTH_TO_JOINTS], joint_flags(row["joint_valid"])


def _fits(row: dict[str, Any] | None) -> list[NDArray | None]:
    fits = [(row or {}).get(hand) for hand in HANDS]
    return [None if fit is None else _fit(fit) for fit in fits]


def _fit(fit: dict[str, list[float]]) -> NDArray:
    return np.concatenate([np.asarray(fit[key], float) for key in ("pose", "shape", "trans")]).reshape(61)


def read_human_ids(folder: Path, split: str) -> NDArray[np.int64] | None:
    """Annotation ids of aid_human_annot_{split}.txt, sorted; None where there is no such file."""
    for parent in (folder, folder.parent, folder.parent.parent):
        path = parent / f"aid_human_annot_{split}.txt"
        if path.is_file():
            lines = [("a line", line) for line in path.read_text().split()]
            return np.sort(np.array(read_rows(path, int, lines), np.int64))
    return None


def read_rootnet(path: Path) -> dict[int, NDArray]:
    """Annotation id -> 8 numbers: box 4 in pixels, wrist depths 2 in metres, their validity 2."""
    rows = ((f"row {number}", row) for number, row in enumerate(read_json(path)))
    return dict(read_rows(path, _rootnet_row, rows))


def _rootnet_row(row: dict[str, Any]) -> tuple[int, NDArray]:
    depths = np.array(row["abs_depth"], np.float64) / 1000
    return row["annot_id"], np.concatenate([row["bbox"], depths, row["root_valid"]]).reshape(8)
