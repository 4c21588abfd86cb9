"""Joining InterHand2.6M's files into compact arrays: what is kept, what belongs to it, its box.

Legend: N records (one picture, one annotation), F time steps (shared by all cameras), C cameras.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from common.hand.joints import LEFT, RIGHT
from common.hand.mano import ManoLayer
from common.utils.errors import UserError
from common.utils.image import decode
from data.InterHand26M import files

INTERACTING = files.HAND_TYPES.index("interacting")
TOTALS = {"train": 1_361_062, "val": 380_125, "test": 849_160}  # v1.0, 5 fps, H+M
# Training ids below this one are machine annotated, 76,457 of them by humans as well (FORMATS 1.9).
FIRST_HUMAN_ONLY = {"train": 909_069}
Keep = Callable[[str, NDArray[np.bool_]], None]


@dataclass
class Frames:
    """What all cameras share at one time step; world frame, metres."""

    row: dict[tuple[str, str], int]  # (capture, frame) -> row
    joints: NDArray[np.float64]  # (F,2,21,3)
    joints_valid: NDArray[np.bool_]  # (F,2,21)
    pose: NDArray[np.float64]  # (F,2,16,3)
    shape: NDArray[np.float64]  # (F,2,10)
    trans: NDArray[np.float64]  # (F,2,3)
    fit_valid: NDArray[np.bool_]  # (F,2)


@dataclass
class Cameras:
    """x_camera = rotation @ x_world + translation, metres; pixels by K."""

    row: dict[tuple[str, str], int]  # (capture, camera) -> row
    rotation: NDArray[np.float64]  # (C,3,3)
    translation: NDArray[np.float64]  # (C,3)
    K: NDArray[np.float64]  # (C,3,3)


def load_frames(folder: Path, split: str, use_fits: bool, log: Callable[[str], None]) -> Frames:
    """Joints and MANO fits of every time step; any of them may lack fits, or the whole file."""
    joints = files.read_joints(files.annotation_file(folder, split, "joint_3d"))
    fits_file = files.annotation_file(folder, split, "MANO_NeuralAnnot")
    fits = {}
    if use_fits and fits_file.is_file():
        fits = files.read_fits(fits_file)
    else:
        reason = f"{fits_file} is missing" if use_fits else "switched off"
        log(f"  no MANO fits, joints alone: {reason}")
    numbers = np.zeros((len(joints), 2, 61))
    valid = np.zeros((len(joints), 2), bool)
    for row, key in enumerate(joints):
        for side, fit in enumerate(fits.get(key, ())):
            if fit is not None and np.isfinite(fit).all():
                numbers[row, side], valid[row, side] = fit, True
    positions, flags = (np.stack(part) for part in zip(*joints.values(), strict=True))
    pose, shape, trans = np.split(numbers, [48, 58], axis=-1)
    row = {key: number for number, key in enumerate(joints)}
    return Frames(row, positions, flags, pose.reshape(-1, 2, 16, 3), shape, trans, valid)


def load_cameras(folder: Path, split: str) -> Cameras:
    """Every camera of every capture of a split."""
    cameras = files.read_cameras(files.annotation_file(folder, split, "camera"))
    row = {key: number for number, key in enumerate(cameras)}
    return Cameras(row, *(np.stack(part) for part in zip(*cameras.values(), strict=True)))


def rows_of(
    first: NDArray, second: NDArray, table: dict[tuple[str, str], int]
) -> NDArray[np.int64]:
    """Two columns of bytes (N,) -> rows of a table (N,), -1 where it has none."""
    keys: Iterable = zip(first.astype(str).tolist(), second.astype(str).tolist(), strict=True)
    return np.array([table.get(key, -1) for key in keys], np.int64)


def in_subset(
    ids: NDArray, human: NDArray[np.bool_] | None, subset: str, split: str
) -> NDArray[np.bool_]:
    """Which annotations belong to 'H' (human annotated), 'M' (machine annotated) or 'H+M'."""
    if subset == "H+M" or (split == "val" and subset == "M"):  # val has no human annotation
        return np.ones(len(ids), bool)
    if human is None:
        raise UserError(
            f"subset {subset} of {split} needs aid_human_annot_{split}.txt (shipped with EANet and "
            "InterWild) in interhand_anno_dir: put it there or choose subset H+M"
        )
    return human if subset == "H" else ~human | (ids < FIRST_HUMAN_ONLY.get(split, 0))


def hands_of(hand_type: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Index into HAND_TYPES (N,) -> which hands the record is about (N,2)."""
    return np.stack(
        [(hand_type == side) | (hand_type == INTERACTING) for side in (RIGHT, LEFT)], -1
    )


def on_disk(folder: Path, names: NDArray[np.bytes_]) -> NDArray[np.bool_]:
    """Which pictures (N,) exist; lists each folder once instead of asking for a million files."""
    paths = [Path(name.decode()) for name in names.tolist()]
    listed = {}
    for parent in {path.parent for path in paths}:
        full = folder / parent
        listed[parent] = {entry.name for entry in full.iterdir()} if full.is_dir() else set()
    return np.array([path.name in listed[path.parent] for path in paths], bool)


def brightness(folder: Path, names: NDArray[np.bytes_]) -> NDArray[np.float64]:
    """Mean grey level 0..255 of pictures (N,), read at an eighth of their size; -1 if damaged."""

    def mean(name: bytes) -> float:
        grey = decode(np.fromfile(folder / name.decode(), np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
        return -1.0 if grey is None else float(grey.mean())

    with ThreadPoolExecutor() as pool:
        return np.array(list(pool.map(mean, names.tolist())))


def boxes(
    mano: ManoLayer, columns: dict[str, NDArray], frames: Frames, cameras: Cameras, chunk: int = 256
) -> NDArray[np.float64]:
    """Tight boxes (N,4) of the meshes, of the joints of hands without a fit, clipped to the
    picture; the annotated box where nothing of this lies in the picture."""
    result = columns["box"].astype(np.float64)
    keys = ("frame_row", "camera_row", "hands", "seen")
    order = np.argsort(columns["frame_row"], kind="stable")  # so that a chunk has few time steps
    for start in range(0, len(order), chunk):
        rows = order[start : start + chunk]
        part = {key: columns[key][rows] for key in keys}
        meshes, joints = (
            _mesh_extents(mano, part, frames, cameras),
            _joint_extents(part, frames, cameras),
        )
        extents = np.concatenate([meshes, joints], 1)  # (n,4,2,2)
        low, high = extents[..., 0, :].min(1), extents[..., 1, :].max(1)  # (n,2)
        # what the picture shows, as RootNet's boxes do: a hand far outside would shrink all
        size = columns["size"][rows]
        low, high = np.maximum(low, 0), np.minimum(high, size - 1)
        found = (low < high).all(-1)
        result[rows[found]] = np.concatenate([low, high - low], -1)[found]
    return result


def _mesh_extents(
    mano: ManoLayer, part: dict[str, NDArray], frames: Frames, cameras: Cameras
) -> NDArray[np.float64]:
    """(n,2,2,2): per hand the lowest and highest pixel of its mesh; (inf, -inf) without a fit."""
    steps, step = np.unique(part["frame_row"], return_inverse=True)
    device = mano.template.device
    pose, shape = (
        torch.from_numpy(v[steps]).to(device).float() for v in (frames.pose, frames.shape)
    )
    with torch.no_grad():
        verts = mano(pose, shape)[0].cpu().numpy() + frames.trans[steps, :, None]  # (f,2,778,3)
    valid = frames.fit_valid[part["frame_row"]] & part["hands"]  # (n,2)
    return _extents(
        verts[step], np.broadcast_to(valid[..., None], verts[step].shape[:3]), part, cameras
    )


def _joint_extents(
    part: dict[str, NDArray], frames: Frames, cameras: Cameras
) -> NDArray[np.float64]:
    """(n,2,2,2): the same of the joints of the hands without a fit."""
    row = part["frame_row"]
    use = part["hands"] & ~frames.fit_valid[row]
    valid = frames.joints_valid[row] & part["seen"] & use[..., None]
    return _extents(frames.joints[row], valid, part, cameras)


def _extents(
    world: NDArray, valid: NDArray[np.bool_], part: dict[str, NDArray], cameras: Cameras
) -> NDArray[np.float64]:
    """World points (n,2,P,3), where valid and before the camera -> extents (n,2,2,2) in pixels."""
    camera = part["camera_row"]
    K, rotation, translation = (
        v[camera] for v in (cameras.K, cameras.rotation, cameras.translation)
    )
    image = (
        world @ (K @ rotation).transpose(0, 2, 1)[:, None]
        + (K @ translation[..., None])[:, None, None, :, 0]
    )
    valid = (valid & (image[..., 2] > 1e-3))[..., None]
    pixels = image[..., :2] / np.where(valid, image[..., 2:], 1)
    low = np.where(valid, pixels, np.inf).min(2)
    high = np.where(valid, pixels, -np.inf).max(2)
    return np.stack([low, high], 2)
