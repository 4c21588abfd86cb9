"""InterHand2.6M's files: where they lie, and what the smaller ones say (annotations.py reads the largest).

Nothing is masked, filtered or moved to a camera here; millimetres become metres on reading, joints
get this project's order (2,21 wrist first), tables are keyed by the strings of the JSON files.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.hand.joints import HANDS, INTERHAND_TO_JOINTS
from common.utils.errors import UserError
from data.json_files import parse_rows, read_json
from data.pack import archives

SPLITS = ("train", "val", "test")
# the two hands lie one after the other in a list of 42
BOTH_TO_JOINTS = np.array([INTERHAND_TO_JOINTS, np.add(INTERHAND_TO_JOINTS, 21)])  # (2,21)
LARGEST = np.finfo(np.float32).max  # what is larger, or is no number, is not finite in a sample
SEE = 'see "InterHand2.6M" in docs/data.md'
Key = tuple[str, str]  # capture and camera, or capture and frame, as the JSON files write them


def find_annotations(folder: str | Path, split: str) -> Path:
    """The folder of a split's JSON files, from the folder of the splits or the one above it."""
    found = _find(folder, "annotations", split)
    if found is not None:
        return found
    if any(_find(folder, "annotations", name) for name in ("all", "human_annot", "machine_annot")):
        raise UserError(f"interhand_anno_dir: {folder} holds v0.0, which is withdrawn: get v1.0; {SEE}")
    raise UserError(f"interhand_anno_dir: {folder} holds no folder {split}; {SEE}")


def find_images(folder: str | Path, split: str) -> Path:
    """The folder of a split's pictures (holds Capture*), from that of the splits or above; or of a pack."""
    given = Path(folder).expanduser()
    if archives(given, split):
        return given
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


def human_file(folder: Path, split: str) -> Path | None:
    """aid_human_annot_{split}.txt, in the folder of the split or above it; None where there is none."""
    for parent in (folder, folder.parent, folder.parent.parent):
        path = parent / f"aid_human_annot_{split}.txt"
        if path.is_file():
            return path
    return None


def read_human_ids(path: Path) -> NDArray[np.int64]:
    """The annotation ids of aid_human_annot_{split}.txt, as they stand there."""
    words = path.read_text(errors="replace").split()
    return np.array(parse_rows(path, int, (("a line", word) for word in words)), np.int64)


def read_rootnet(path: Path) -> dict[str, NDArray]:
    """RootNet's rows: id (R,) of the annotation, rising; box (R,4) in pixels, squared and enlarged; depth
    (R,2) of the wrists in the camera, metres, and whether it is one, valid (R,2)."""
    content = read_json(path, SEE)
    if not isinstance(content, list):
        raise UserError(f"{path} is no list of RootNet's rows; {SEE}")
    named = ((f"row {number}", row) for number, row in enumerate(content))
    rows = dict(parse_rows(path, _rootnet_row, named))
    ids = np.array(sorted(rows), np.int64)
    numbers = np.array([rows[number] for number in ids.tolist()]).reshape(-1, 8)
    return {"id": ids, "box": numbers[:, :4], "depth": numbers[:, 4:6], "valid": numbers[:, 6:] > 0.5}


def _rootnet_row(row: dict[str, Any]) -> tuple[int, NDArray[np.float64]]:
    """Annotation id; box, depths in metres, flags (8,)."""
    box = _numbers(row["bbox"], "bbox", (4,))
    depth = _numbers(row["abs_depth"], "abs_depth", (2,)) / 1000
    valid = _numbers(row["root_valid"], "root_valid", (2,))
    return int(row["annot_id"]), np.concatenate([box, depth, valid])
