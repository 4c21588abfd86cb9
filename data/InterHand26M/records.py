"""Joining InterHand2.6M's files into compact arrays: what is kept, what belongs to it, its box.

Legend: N records (one picture, one annotation), F time steps (shared by all cameras), C cameras.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.hand.joints import LEFT, RIGHT
from common.hand.mano import ManoLayer
from common.utils.errors import UserError
from data.InterHand26M import files

INTERACTING = files.HAND_TYPES.index("interacting")
TOTALS = {"train": 1_361_062, "val": 380_125, "test": 849_160}  # v1.0, 5 fps, H+M
# Training ids below this one are machine annotated, 76,457 of them by humans as well (FORMATS 1.9).
FIRST_HUMAN_ONLY = {"train": 909_069}
Columns = dict[str, NDArray]  # of files.COLUMNS and what joining adds, (N,...) each


class Frames(NamedTuple):
    """What all cameras share at one time step; world frame, metres."""

    row: dict[tuple[str, str], int]  # (capture, frame) -> row
    joints: NDArray[np.float64]  # (F,2,21,3)
    joints_valid: NDArray[np.bool_]  # (F,2,21)
    pose: NDArray[np.float64]  # (F,2,16,3)
    shape: NDArray[np.float64]  # (F,2,10)
    trans: NDArray[np.float64]  # (F,2,3)
    fit_valid: NDArray[np.bool_]  # (F,2)


class Cameras(NamedTuple):
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
        log(f"  no MANO fits, joints alone: {f'{fits_file} is missing' if use_fits else 'switched off'}")
    numbers = np.zeros((len(joints), 2, 61))
    valid = np.zeros((len(joints), 2), bool)
    for row, key in enumerate(joints):
        for side, fit in enumerate(fits.get(key, ())):
            if fit is not None and np.isfinite(fit).all():
                numbers[row, side], valid[row, side] = fit, True
    pose, shape, trans = np.split(numbers, [48, 58], axis=-1)
    return Frames(*_stacked(joints), pose.reshape(-1, 2, 16, 3), shape, trans, valid)


def load_cameras(folder: Path, split: str) -> Cameras:
    """Every camera of every capture of a split."""
    return Cameras(*_stacked(files.read_cameras(files.annotation_file(folder, split, "camera"))))


def _stacked(table: dict[tuple[str, str], tuple]) -> list:
    """Rows by key -> the row number of each key, then one array for each column."""
    columns = zip(*table.values(), strict=True)
    return [{key: number for number, key in enumerate(table)}, *map(np.stack, columns)]


def rows_of(first: NDArray, second: NDArray, table: dict[tuple[str, str], int]) -> NDArray[np.int64]:
    """Two columns of bytes (N,) -> rows of a table (N,), -1 where it has none."""
    keys = zip(first.astype(str).tolist(), second.astype(str).tolist(), strict=True)
    return np.array([table.get(key, -1) for key in keys], np.int64)


def in_subset(ids: NDArray, human: NDArray[np.bool_] | None, subset: str, split: str) -> NDArray[np.bool_]:
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
    return np.stack([(hand_type == side) | (hand_type == INTERACTING) for side in (RIGHT, LEFT)], -1)


def on_disk(folder: Path, names: NDArray[np.bytes_]) -> NDArray[np.bool_]:
    """Which pictures (N,) exist; lists each folder once instead of asking for a million files."""
    paths = [Path(name.decode()) for name in names.tolist()]
    listed = {}
    for parent in {path.parent for path in paths}:
        full = folder / parent
        listed[parent] = {entry.name for entry in full.iterdir()} if full.is_dir() else set()
    return np.array([path.name in listed[path.parent] for path in paths], bool)


def boxes(mano: ManoLayer, columns: Columns, frames: Frames, cameras: Cameras) -> NDArray[np.float64]:
    """Tight boxes (N,4) of the meshes, of the joints of hands without a fit, clipped to the
    picture; the annotated box where nothing of this lies in the picture. Runs on mano's device."""
    result = columns["box"].astype(np.float64)
    order = np.argsort(columns["frame_row"], kind="stable")  # so that a chunk has few time steps
    for rows in np.split(order, range(256, len(order), 256)):
        part = {key: columns[key][rows] for key in ("frame_row", "camera_row", "hands", "seen")}
        low, high = _extents(*_points(mano, part, frames), part["camera_row"], cameras)
        # what the picture shows, as RootNet's boxes do: a hand far outside would shrink all
        low, high = np.maximum(low, 0), np.minimum(high, columns["size"][rows] - 1)
        found = (low < high).all(-1)
        result[rows[found]] = np.concatenate([low, high - low], -1)[found]
    return result


def _points(mano: ManoLayer, part: Columns, frames: Frames) -> tuple[Tensor, Tensor]:
    """World vertices and joints (n,2,778+21,3) of the records' hands; which of them count."""
    row, hands = part["frame_row"], part["hands"]
    steps, step = np.unique(row, return_inverse=True)
    fits = (frames.pose, frames.shape, frames.trans)
    pose, shape, trans = (torch.from_numpy(v[steps]).float().to(mano.template.device) for v in fits)
    with torch.no_grad():
        verts = mano(pose, shape)[0] + trans[:, :, None]
    joints = torch.from_numpy(frames.joints[row]).to(verts)
    fitted = frames.fit_valid[row][..., None]
    seen = frames.joints_valid[row] & part["seen"] & ~fitted
    valid = np.concatenate([fitted.repeat(verts.shape[2], -1), seen], -1) & hands[..., None]
    world = torch.cat([verts[torch.from_numpy(step).to(verts.device)], joints], 2)
    return world, torch.from_numpy(valid).to(verts.device)


def _extents(
    world: Tensor, valid: Tensor, camera: NDArray[np.int64], cameras: Cameras
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """World points (n,2,P,3) -> lowest and highest pixel (n,2) of those that are valid (n,2,P) and
    before the camera; (inf, -inf) of none."""
    rotation, translation, K = (values[camera] for values in cameras[1:])
    projection = np.concatenate([K @ rotation, K @ translation[..., None]], -1)  # (n,3,4)
    matrix = torch.from_numpy(projection).to(world)
    image = torch.baddbmm(matrix[:, None, :, 3], world.flatten(1, 2), matrix[..., :3].mT)
    hidden = ~(valid.flatten(1)[..., None] & (image[..., 2:] > 1e-3))
    pixels = image[..., :2] / image[..., 2:]
    low = pixels.masked_fill(hidden, torch.inf).amin(1)
    high = pixels.masked_fill(hidden, -torch.inf).amax(1)
    return low.double().cpu().numpy(), high.double().cpu().numpy()
