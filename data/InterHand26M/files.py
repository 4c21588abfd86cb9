"""InterHand2.6M's files: where they lie, and what each says, as compact arrays.

Nothing is masked, filtered or moved to a camera here; millimetres become metres on reading, joints
get this project's order (2,21 wrist first), tables are keyed by the strings of the JSON files.
"""

import contextlib
import io
import json
from collections.abc import Callable
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
    given = Path(folder).expanduser()
    for candidate in (given / split, given / "annotations" / split):
        if candidate.is_dir():
            return candidate
    for candidate in (given, given / "annotations"):
        if any((candidate / old).is_dir() for old in ("all", "human_annot", "machine_annot")):
            raise UserError(
                f"{candidate} holds InterHand2.6M v0.0, which is withdrawn: get v1.0; {SEE_README}"
            )
    raise UserError(f"interhand_anno_dir: no folder {given / split}; {SEE_README}")


def find_images(folder: str | Path, split: str) -> Path:
    """The folder of a split's pictures (holds Capture*), from that of the splits or above."""
    given = Path(folder).expanduser()
    for candidate in (given / split, given / "images" / split):
        if candidate.is_dir():
            return candidate
    raise UserError(f"interhand_images_path: no folder {given / split}; {SEE_README}")


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


def read_rows(path: Path, parse: Callable[[Any], Any], rows: list[tuple[str, Any]]) -> list[Any]:
    """Parse (name, row) pairs; UserError names the file and the row that is not as it should be."""
    parsed = []
    for name, row in rows:
        try:
            parsed.append(parse(row))
        except (KeyError, IndexError, TypeError, ValueError) as error:
            detail = f"has no {error}" if isinstance(error, KeyError) else f"is malformed: {error}"
            raise UserError(f"{path}: {name} {detail}") from None
    return parsed


def read_data(path: Path) -> dict[str, NDArray]:
    """`*_data.json` as columns, one row per annotation joined to its image by image_id.

    id (N,) int64; file, capture, camera, frame (N,) bytes; size (N,2) int32 width, height;
    box (N,4) float32; seen (N,2,21) bool: annotated and inside the picture; hand_type (N,) index
    into HAND_TYPES; hand_type_valid (N,) bool.
    """
    coco = index_coco(path)
    names = [(f"annotation {row.get('id')}", row) for row in coco.dataset["annotations"]]
    rows = read_rows(path, lambda row: _data_row(row, coco.imgs), names)
    ids, files, sizes, captures, cameras, frames, boxes, seen, kinds, valid = zip(*rows, strict=True)
    return {
        "id": np.array(ids, np.int64),
        "file": np.array(files),
        "size": np.array(sizes, np.int32),
        "capture": np.array(captures),
        "camera": np.array(cameras),
        "frame": np.array(frames),
        "box": np.array(boxes, np.float32),
        "seen": np.stack(seen),
        "hand_type": np.array(kinds, np.int8),
        "hand_type_valid": np.array(valid, bool),
    }


def index_coco(path: Path) -> COCO:
    """pycocotools' index over an already parsed file, without its chatter."""
    dataset = read_json(path, _compact)
    if not isinstance(dataset, dict) or not dataset.get("annotations") or "images" not in dataset:
        raise UserError(f"{path} holds no images and annotations; {SEE_README}")
    coco = COCO()
    coco.dataset = dataset
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _compact(row: dict[str, Any]) -> dict[str, Any]:
    """Shrink 42 nested lists while the file is parsed: a whole split would take 8 GB otherwise."""
    with contextlib.suppress(ValueError):  # a malformed row is named later, by its id
        if "joint_valid" in row:
            row["joint_valid"] = np.array(row["joint_valid"], bool)
    return row


def _data_row(row: dict[str, Any], images: dict[int, dict[str, Any]]) -> tuple:
    if row["image_id"] not in images:
        raise ValueError(f"image_id {row['image_id']} is not among the images")
    image = images[row["image_id"]]
    return (
        row["id"],
        image["file_name"].encode(),
        (image["width"], image["height"]),
        *(str(image[key]).encode() for key in ("capture", "camera", "frame_idx")),
        row["bbox"],
        joint_flags(row["joint_valid"]),
        HAND_TYPES.index(row["hand_type"]),
        row["hand_type_valid"],
    )


def joint_flags(flags: list) -> NDArray[np.bool_]:
    """InterHand's 42 x 1 flags, 0/1 or false/true -> (2,21) bool."""
    return np.asarray(flags, bool).reshape(42)[BOTH_TO_JOINTS]


def read_cameras(path: Path) -> dict[tuple[str, str], tuple[NDArray, NDArray, NDArray]]:
    """(capture, camera) -> world-to-camera rotation (3,3), translation (3,) in metres, K (3,3)."""
    captures = read_json(path)
    cameras = {}
    for capture, entry in captures.items():
        names = [(f"capture {capture} camera {name}", name) for name in entry["campos"]]
        parsed = read_rows(path, lambda name, entry=entry: _camera(entry, name), names)
        cameras.update({(capture, name): value for (_, name), value in zip(names, parsed, strict=True)})
    return cameras


def _camera(entry: dict[str, Any], name: str) -> tuple[NDArray, NDArray, NDArray]:
    rotation = np.array(entry["camrot"][name], np.float64).reshape(3, 3)
    position = np.array(entry["campos"][name], np.float64).reshape(3) / 1000
    (fx, fy), (cx, cy) = entry["focal"][name], entry["princpt"][name]
    return rotation, -rotation @ position, np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])


def read_joints(path: Path) -> dict[tuple[str, str], tuple[NDArray, NDArray]]:
    """(capture, frame) -> world joints (2,21,3) in metres, annotated (2,21) bool.

    An unannotated joint holds anything, often [1, 1, 1]: only the flag tells.
    """
    rows = _frames(read_json(path))
    parsed = read_rows(
        path, _joints, [(f"capture {key[0]} frame {key[1]}", row) for key, row in rows.items()]
    )
    return dict(zip(rows, parsed, strict=True))


def _frames(captures: dict[str, dict]) -> dict[tuple[str, str], Any]:
    return {(c, f): row for c, frames in captures.items() for f, row in (frames or {}).items()}


def _joints(row: dict[str, Any]) -> tuple[NDArray, NDArray]:
    joints = np.array(row["world_coord"], np.float64).reshape(42, 3) / 1000
    return joints[BOTH_TO_JOINTS], joint_flags(row["joint_valid"])


def read_fits(path: Path) -> dict[tuple[str, str], list[NDArray | None]]:
    """(capture, frame) -> per hand None or pose 48, shape 10, trans 3 (world, metres)."""
    rows = _frames(read_json(path))
    parsed = read_rows(path, _fits, [(f"capture {key[0]} frame {key[1]}", row) for key, row in rows.items()])
    return dict(zip(rows, parsed, strict=True))


def _fits(row: dict[str, Any] | None) -> list[NDArray | None]:
    fits = [(row or {}).get(hand) for hand in HANDS]
    return [None if fit is None else _fit(fit) for fit in fits]


def _fit(fit: dict[str, list[float]]) -> NDArray:
    numbers = np.concatenate([np.asarray(fit[key], np.float64) for key in ("pose", "shape", "trans")])
    return numbers.reshape(61)


def read_human_ids(folder: Path, split: str) -> NDArray[np.int64] | None:
    """Annotation ids of aid_human_annot_{split}.txt, sorted; None where there is no such file."""
    for parent in (folder, folder.parent, folder.parent.parent):
        path = parent / f"aid_human_annot_{split}.txt"
        if path.is_file():
            numbers = [("a line", line) for line in path.read_text().split()]
            return np.sort(np.array(read_rows(path, int, numbers), np.int64))
    return None


def read_rootnet(path: Path) -> dict[int, NDArray]:
    """Annotation id -> 8 numbers: box 4 in pixels, wrist depths 2 in metres, their validity 2."""
    rows = [(f"row {number}", row) for number, row in enumerate(read_json(path))]
    return dict(read_rows(path, _rootnet_row, rows))


def _rootnet_row(row: dict[str, Any]) -> tuple[int, NDArray]:
    depths = np.array(row["abs_depth"], np.float64) / 1000
    return row["annot_id"], np.concatenate([row["bbox"], depths, row["root_valid"]]).reshape(8)
