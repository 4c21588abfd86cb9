"""InterHand2.6M's files as arrays that are mapped into memory: read once, kept in a cache folder.

Legend: N annotations, F time steps (shared by all cameras), C cameras, D folders of pictures. World frame,
metres; x_camera = rotation @ x_world + translation.
"""

import os
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.cache import Arrays, Log, cached, key_of
from data.InterHand26M import files
from data.InterHand26M.annotations import read_data

SETTLED = 2 * 10**9  # nanoseconds after which a folder's time of change has surely moved with a change
Tables = Arrays | dict[str, NDArray]


def load_index(folder: Path, split: str, places: list[Path], log: Log) -> Arrays:
    """All of a split but the fits.

    The columns of annotations.read_data, human (N,) annotated by people, as far as a file says so;
    frame_keys (F,) "capture/frame", joints (F,2,21,3), joints_valid (F,2,21);
    rotation (C,3,3), translation (C,3), K (C,3,3).
    """
    paths = [files.annotation_file(folder, split, kind) for kind in ("data", "camera", "joint_3d")]
    human = files.human_file(folder, split)
    key = key_of([*paths, "none" if human is None else human])

    def build() -> dict[str, NDArray]:
        log(f"  reading {paths[0].name} once")
        return _index(*paths, human)

    return cached(f"{split}_index", key, build, places, log)


def _index(data: Path, camera: Path, joint_3d: Path, human: Path | None) -> dict[str, NDArray]:
    cameras, frames = files.read_cameras(camera), files.read_joints(joint_3d)
    columns = read_data(data, _row_of(frames), _row_of(cameras))
    people = [] if human is None else files.read_human_ids(human)
    return columns | {
        "human": np.isin(columns["id"], people),
        "frame_keys": np.array([f"{capture}/{frame}".encode() for capture, frame in frames]),
        "joints": np.stack([joints for joints, _ in frames.values()]),
        "joints_valid": np.stack([valid for _, valid in frames.values()]),
        "rotation": np.stack([rotation for rotation, _, _ in cameras.values()]),
        "translation": np.stack([translation for _, translation, _ in cameras.values()]),
        "K": np.stack([K for _, _, K in cameras.values()]),
    }


def _row_of(table: dict[files.Key, object]) -> dict[files.Key, int]:
    return {key: row for row, key in enumerate(table)}


def load_fits(
    folder: Path, split: str, index: Arrays, use_fits: bool, places: list[Path], log: Log
) -> Tables:
    """The MANO fits of every time step: pose (F,2,16,3), shape (F,2,10), trans (F,2,3), fit_valid (F,2); any
    of them may lack one, or the whole file."""
    path = files.annotation_file(folder, split, "MANO_NeuralAnnot")
    if use_fits and path.is_file():
        key = key_of([index.folder.name, path])
        return cached(f"{split}_fits", key, lambda: _fits(path, index["frame_keys"]), places, log)
    log(f"  no MANO fits, joints alone: {f'{path} is missing' if use_fits else 'switched off'}")
    count = len(index["frame_keys"])
    return _as_tables(np.broadcast_to(0.0, (count, 2, 61)), np.broadcast_to(False, (count, 2)))


def _fits(path: Path, frame_keys: NDArray[np.bytes_]) -> dict[str, NDArray]:
    fits = files.read_fits(path)
    numbers = np.zeros((len(frame_keys), 2, 61))
    valid = np.zeros((len(frame_keys), 2), bool)
    for row, key in enumerate(frame_keys.tolist()):
        capture, _, frame = key.decode().partition("/")
        for side, fit in enumerate(fits.get((capture, frame), ())):
            if fit is not None and (np.abs(fit) < files.LARGEST).all():
                numbers[row, side] = fit
                valid[row, side] = True
    return _as_tables(numbers, valid)


def _as_tables(numbers: NDArray[np.float64], valid: NDArray[np.bool_]) -> dict[str, NDArray]:
    """(F,2,61) -> pose, shape, translation."""
    pose, shape, trans = np.split(numbers, [48, 58], axis=-1)
    return {"pose": pose.reshape(-1, 2, 16, 3), "shape": shape, "trans": trans, "fit_valid": valid}


def load_rootnet(path: Path, split: str, places: list[Path], log: Log) -> Arrays:
    """The arrays of files.read_rootnet."""
    return cached(f"{split}_rootnet", key_of([path]), lambda: files.read_rootnet(path), places, log)


def load_on_disk(images: Path, index: Arrays, places: list[Path], log: Log) -> NDArray[np.bool_]:
    """Which pictures (N,) exist below a folder.

    Each folder is listed once, and again when its time of change moves.
    """
    full = [os.path.join(os.fsencode(images), name) for name in index["folders"].tolist()]
    changed = np.array([_time_of_change(name) for name in full], np.int64)

    def build() -> dict[str, NDArray]:
        return {"on_disk": _on_disk(full, index["folder"], index["file"])}

    if time.time_ns() - changed.max() < SETTLED:
        return build()["on_disk"]
    where = key_of([str(images.resolve())])
    key = key_of([index.folder.name, changed.tobytes()])
    return cached(f"pictures_{where}", key, build, places, log)["on_disk"]


def _time_of_change(folder: bytes) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:  # no such folder
        return 0


def _on_disk(folders: list[bytes], folder: NDArray[np.int32], file: NDArray[np.bytes_]) -> NDArray[np.bool_]:
    found = np.zeros(len(file), bool)
    order = np.argsort(folder, kind="stable")
    ends = np.cumsum(np.bincount(folder, minlength=len(folders)))
    for path, rows in zip(folders, np.split(order, ends[:-1]), strict=True):
        listed = set(os.listdir(path)) if os.path.isdir(path) else set()
        found[rows] = [name in listed for name in file[rows].tolist()]
    return found


def rows_of(ids: NDArray[np.int64], rising: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each of ids (N,) stands in a rising list; -1 where it does not."""
    if not len(rising):
        return np.full(len(ids), -1)
    place = np.minimum(np.searchsorted(rising, ids), len(rising) - 1)
    return np.where(rising[place] == ids, place, -1)
