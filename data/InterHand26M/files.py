"""InterHand2.6M's files: where they lie, and what each says, as compact arrays.

Nothing is masked, filtered or moved to a camera here; millimetres become metres on reading, joints
get this project's order (2,21 wrist first), tables are keyed by the strings of the JSON files.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.hand.joints import HANDS, INTERHAND_TO_JOINTS
from common.utils.errors import UserError
from data.json_files import (
    HAND_TYPES,
    hand_type_of,
    image_of,
    images_and_annotations,
    parse_rows,
    read_json,
    size_of,
)

SPLITS = ("train", "val", "test")
# the two hands lie one after the other in a list of 42
BOTH_TO_JOINTS = np.array([INTERHAND_TO_JOINTS, np.add(INTERHAND_TO_JOINTS, 21)])  # (2,21)
LARGEST = np.finfo(np.float32).max  # what is larger, or is no number, is not finite in a sample
SEE = 'see "InterHand2.6M" in docs/data.md'
Key = tuple[str, str]  # capture and camera, or capture and frame, as the JSON files write them


class RootNet(NamedTuple):
    """One row of RootNet's output."""

    box: NDArray[np.float64]  # (4,) x, y, w, h in pixels, squared and enlarged
    depth: NDArray[np.float64]  # (2,) of the wrists in the camera, metres
    valid: NDArray[np.bool_]  # (2,)


def find_annotations(folder: str | Path, split: str) -> Path:
    """The folder of a split's JSON files, from the folder of the splits or the one above it."""
    found = _find(folder, "annotations", split)
    if found is not None:
        return found
    if any(_find(folder, "annotations", name) for name in ("all", "human_annot", "machine_annot")):
        raise UserError(f"interhand_anno_dir: {folder} holds v0.0, which is withdrawn: get v1.0; {SEE}")
    raise UserError(f"interhand_anno_dir: {folder} holds no folder {split}; {SEE}")


def find_images(folder: str | Path, split: str) -> Path:
    """The folder of a split's pictures (holds Capture*), from that of the splits or above."""
    found = _find(folder, "images", split)
    if found is None:
        raise UserError(f"interhand_images_path: {folder} holds no folder {split}; {SEE}")
    return found


def _find(folder: str | Path, above: str, name: str) -> Path | None:
    given = Path(folder).expanduser()
    for path in (given / name, given / above / name):
        if path.is_dir():
            return path
    return None


def find_rootnet(path: str | Path, split: str) -> Path | None:
    """RootNet's file for a split, from its folder or itself; None for train, which has none."""
    given = Path(path).expanduser()
    if given.is_dir():
        given = given / f"rootnet_interhand2.6m_output_{split}.json"
        if split == "train" and not given.is_file():
            return None
    named = [name for name in SPLITS if name in given.stem.split("_")]
    if named and split not in named:  # annotation ids restart in every split: it would match wrongly
        if split == "train":
            return None
        raise UserError(f"root_net_output_path: {given} is for {named[0]}, not for {split}")
    return given


def annotation_file(folder: Path, split: str, kind: str) -> Path:
    """E.g. InterHand2.6M_test_joint_3d.json."""
    return folder / f"InterHand2.6M_{split}_{kind}.json"


# `*_data.json` as columns of N annotations. size: width, height; in_picture (N,2,21): annotated and
# inside the picture; hand_type: index into HAND_TYPES.
COLUMNS = {
    "id": np.int64,
    "file": bytes,
    "size": np.int32,
    "capture": bytes,
    "camera": bytes,
    "frame": bytes,
    "box": np.float32,
    "in_picture": bool,
    "hand_type": np.int8,
    "hand_type_valid": bool,
}


def read_data(path: Path) -> dict[str, NDArray]:
    """COLUMNS of `*_data.json`, one row per annotation joined to its image by image_id."""
    content = read_json(path, SEE, _compact)
    images, annotations = images_and_annotations(path, content, SEE)
    rows = parse_rows(path, lambda row: _data_row(row, image_of(row, images)), annotations)
    return {name: np.array([row[name] for row in rows], kind) for name, kind in COLUMNS.items()}


def _compact(row: dict[str, Any]) -> dict[str, Any]:
    """Shrink 42 nested lists while the file is parsed: a whole split would take 8 GB otherwise."""
    with contextlib.suppress(ValueError, TypeError):  # a malformed row is named later, by its id
        if "joint_valid" in row:
            row["joint_valid"] = np.array(row["joint_valid"], bool)
    return row


def _data_row(row: dict[str, Any], image: dict[str, Any]) -> dict[str, Any]:
    """One entry of every one of COLUMNS."""
    return {
        "id": np.int64(int(row["id"])),
        "file": image["file_name"].encode(),
        "size": size_of(image),
        "capture": str(image["capture"]).encode(),
        "camera": str(image["camera"]).encode(),
        "frame": str(image["frame_idx"]).encode(),
        "box": _numbers(row["bbox"], "bbox", (4,)),
        "in_picture": joint_flags(row["joint_valid"]),
        "hand_type": HAND_TYPES.index(hand_type_of(row)),
        "hand_type_valid": bool(row["hand_type_valid"]),
    }


def _numbers(values: Any, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """An array of this shape; ValueError, with its name, where it is none or not finite."""
    try:
        array = np.array(values, np.float64).reshape(shape)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is not {' x '.join(map(str, shape))} numbers") from None
    if not (np.abs(array) < LARGEST).all():
        raise ValueError(f"{name} is not finite")
    return array


def joint_flags(flags: Any) -> NDArray[np.bool_]:
    """InterHand's 42 x 1 flags, 0/1 or false/true -> (2,21) bool."""
    flat = np.asarray(flags, bool).ravel()
    if len(flat) != BOTH_TO_JOINTS.size:
        raise ValueError(f"joint_valid has {len(flat)} flags, not {BOTH_TO_JOINTS.size}")
    return flat[BOTH_TO_JOINTS]


def read_cameras(path: Path) -> dict[Key, tuple[NDArray, NDArray, NDArray]]:
    """(capture, camera) -> world-to-camera rotation (3,3), translation (3,) in metres, K (3,3)."""
    rows = {}
    for capture, entry in _captures(path).items():
        cameras = entry.get("campos", {})
        if not isinstance(cameras, dict):
            raise UserError(f"{path}: campos of capture {capture} is no table of cameras; {SEE}")
        for camera in cameras:
            rows[capture, camera] = (entry, camera)
    return _read_table(path, "camera", rows, _camera)


def read_joints(path: Path) -> dict[Key, tuple[NDArray, NDArray]]:
    """(capture, frame) -> world joints (2,21,3) in metres, annotated (2,21) bool.

    An unannotated joint holds anything, often [1, 1, 1]: only the flag tells.
    """
    return _read_table(path, "frame", _frames(path), _joints)


def read_fits(path: Path) -> dict[Key, list[NDArray | None]]:
    """(capture, frame) -> per hand None or pose 48, shape 10, trans 3 (world, metres)."""
    return _read_table(path, "frame", _frames(path), _fits)


def _captures(path: Path) -> dict[str, dict]:
    """The table of captures; one without content is empty."""
    content = read_json(path, SEE)
    if not isinstance(content, dict):
        raise UserError(f"{path} is no table of captures; {SEE}")
    captures = {capture: entry or {} for capture, entry in content.items()}
    if not all(isinstance(entry, dict) for entry in captures.values()):
        raise UserError(f"{path} is no table of captures; {SEE}")
    return captures


def _frames(path: Path) -> dict[Key, Any]:
    rows = {}
    for capture, frames in _captures(path).items():
        for frame, row in frames.items():
            rows[capture, frame] = row
    return rows


def _read_table(path: Path, kind: str, rows: dict[Key, Any], parse: Callable[[Any], Any]) -> dict[Key, Any]:
    """parse(row) of every row of a table."""
    if not rows:
        raise UserError(f"{path} holds no {kind} of any capture; {SEE}")
    named = ((f"capture {capture} {kind} {name}", row) for (capture, name), row in rows.items())
    return dict(zip(rows, parse_rows(path, parse, named), strict=True))


def _camera(row: tuple[dict[str, Any], str]) -> tuple[NDArray, NDArray, NDArray]:
    entry, name = row
    rotation = _numbers(entry["camrot"][name], "camrot", (3, 3))
    position = _numbers(entry["campos"][name], "campos", (3,)) / 1000
    fx, fy = _numbers(entry["focal"][name], "focal", (2,))
    cx, cy = _numbers(entry["princpt"][name], "princpt", (2,))
    if min(fx, fy) <= 0:
        raise ValueError(f"focal is {fx:g}, {fy:g}, not positive")
    return rotation, -rotation @ position, np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])


def _joints(row: dict[str, Any]) -> tuple[NDArray, NDArray]:
    joints = np.array(row["world_coord"], np.float64).reshape(42, 3)[BOTH_TO_JOINTS] / 1000
    annotated = joint_flags(row["joint_valid"])
    if not (np.abs(joints[annotated]) < LARGEST).all():
        raise ValueError("an annotated joint is not finite")
    return joints, annotated


def _fits(row: dict[str, Any] | None) -> list[NDArray | None]:
    fits = [(row or {}).get(hand) for hand in HANDS]
    return [None if fit is None else _fit(fit) for fit in fits]


def _fit(fit: dict[str, list[float]]) -> NDArray:
    parts = [np.asarray(fit[key], np.float64) for key in ("pose", "shape", "trans")]
    return np.concatenate(parts).reshape(61)


def read_human_ids(folder: Path, split: str) -> NDArray[np.int64] | None:
    """Annotation ids of aid_human_annot_{split}.txt, sorted; None where there is no such file."""
    for parent in (folder, folder.parent, folder.parent.parent):
        path = parent / f"aid_human_annot_{split}.txt"
        if path.is_file():
            words = path.read_text(errors="replace").split()
            ids = parse_rows(path, np.int64, (("a line", word) for word in words))
            return np.sort(np.array(ids, np.int64))
    return None


def read_rootnet(path: Path) -> dict[int, RootNet]:
    """RootNet's rows by annotation id."""
    content = read_json(path, SEE)
    if not isinstance(content, list):
        raise UserError(f"{path} is no list of RootNet's rows; {SEE}")
    named = ((f"row {number}", row) for number, row in enumerate(content))
    return dict(parse_rows(path, _rootnet_row, named))


def _rootnet_row(row: dict[str, Any]) -> tuple[int, RootNet]:
    box = _numbers(row["bbox"], "bbox", (4,))
    depth = _numbers(row["abs_depth"], "abs_depth", (2,)) / 1000
    valid = _numbers(row["root_valid"], "root_valid", (2,)) > 0.5
    return int(row["annot_id"]), RootNet(box, depth, valid)
