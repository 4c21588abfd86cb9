"""Joining InterHand2.6M's files into compact arrays: what is kept, what belongs to it, its box.

Legend: N records (one picture, one annotation), F time steps (shared by all cameras), C cameras.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.hand.joints import LEFT, RIGHT
from common.hand.mano import ManoLayer
from common.utils.errors import UserError
from data.InterHand26M import files
from data.json_files import HAND_TYPES

INTERACTING = HAND_TYPES.index("interacting")
TOTALS = {"train": 1_361_062, "val": 380_125, "test": 849_160}  # v1.0, 5 fps, H+M
# Training ids below this one are machine annotated, 76,457 of them by humans as well (counted in v1.0).
FIRST_HUMAN_ONLY = {"train": 909_069}
Columns = dict[str, NDArray]  # of files.COLUMNS and what joining adds, (N,...) each
CHUNK = 256  # records whose boxes are computed at once
COMPARED = 64  # time steps on which fits are compared with the annotation


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
    table = files.read_joints(files.annotation_file(folder, split, "joint_3d"))
    fits = _load_fits(folder, split, log) if use_fits else {}
    if not use_fits:
        log("  no MANO fits, joints alone: switched off")
    numbers = np.zeros((len(table), 2, 61))
    valid = np.zeros((len(table), 2), bool)
    for row, key in enumerate(table):
        for side, fit in enumerate(fits.get(key, ())):
            if fit is not None and (np.abs(fit) < files.LARGEST).all():
                numbers[row, side] = fit
                valid[row, side] = True
    pose, shape, trans = np.split(numbers, [48, 58], axis=-1)
    return Frames(
        row=_row_numbers(table),
        joints=np.stack([joints for joints, _ in table.values()]),
        joints_valid=np.stack([annotated for _, annotated in table.values()]),
        pose=pose.reshape(-1, 2, 16, 3),
        shape=shape,
        trans=trans,
        fit_valid=valid,
    )


def _load_fits(folder: Path, split: str, log: Callable[[str], None]) -> dict:
    path = files.annotation_file(folder, split, "MANO_NeuralAnnot")
    if path.is_file():
        return files.read_fits(path)
    log(f"  no MANO fits, joints alone: {path} is missing")
    return {}


def load_cameras(folder: Path, split: str) -> Cameras:
    """Every camera of every capture of a split."""
    table = files.read_cameras(files.annotation_file(folder, split, "camera"))
    return Cameras(
        row=_row_numbers(table),
        rotation=np.stack([rotation for rotation, _, _ in table.values()]),
        translation=np.stack([translation for _, translation, _ in table.values()]),
        K=np.stack([K for _, _, K in table.values()]),
    )


def _row_numbers(table: dict[files.Key, Any]) -> dict[files.Key, int]:
    return {key: row for row, key in enumerate(table)}


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
    if subset == "H":
        return human
    return ~human | (ids < FIRST_HUMAN_ONLY.get(split, 0))


def hands_of(hand_type: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Index into HAND_TYPES (N,) -> which hands the record is about (N,2)."""
    both = hand_type == INTERACTING
    return np.stack([(hand_type == RIGHT) | both, (hand_type == LEFT) | both], -1)


def on_disk(folder: Path, names: NDArray[np.bytes_]) -> NDArray[np.bool_]:
    """Which pictures (N,) exist; lists each folder once instead of asking for a million files."""
    paths = [Path(name.decode()) for name in names.tolist()]
    listed = {}
    for parent in {path.parent for path in paths}:
        full = folder / parent
        listed[parent] = {entry.name for entry in full.iterdir()} if full.is_dir() else set()
    return np.array([path.name in listed[path.parent] for path in paths], bool)


def fit_distance(mano: ManoLayer, frames: Frames, rows: NDArray[np.int64]) -> float | None:
    """Mean distance (metres) of annotated joints from those of the fits posed on `mano`, on some of these
    time steps; None where no annotated hand has a fit."""
    rows = np.unique(rows)
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, COMPARED).astype(int))]
    pose, shape, trans = _on_device(mano, frames, rows)
    with torch.no_grad():
        joints = mano(pose, shape)[1] + trans[:, :, None]
    distance = np.linalg.norm(joints.cpu().numpy() - frames.joints[rows], axis=-1)  # (n,2,21)
    valid = frames.joints_valid[rows] & frames.fit_valid[rows][..., None]
    return float(distance[valid].mean()) if valid.any() else None


def boxes(mano: ManoLayer, columns: Columns, frames: Frames, cameras: Cameras) -> NDArray[np.float64]:
    """Tight boxes (N,4) of the meshes, of the joints of hands without a fit, clipped to the
    picture; the annotated box where nothing of this lies in the picture. Runs on mano's device."""
    result = columns["box"].astype(np.float64)
    order = np.argsort(columns["frame_row"], kind="stable")  # so that a chunk has few time steps
    for start in range(0, len(order), CHUNK):
        rows = order[start : start + CHUNK]
        part = {key: column[rows] for key, column in columns.items()}
        world, valid = _points(mano, part, frames)
        low, high = _extents(world, valid, part["camera_row"], cameras)
        # what the picture shows, as RootNet's boxes do: a hand far outside would shrink all
        low = np.maximum(low, 0)
        high = np.minimum(high, part["size"] - 1)
        inside = (low < high).all(-1)
        result[rows[inside]] = np.concatenate([low, high - low], -1)[inside]
    return result


def _on_device(mano: ManoLayer, frames: Frames, rows: NDArray[np.int64]) -> list[Tensor]:
    """Pose, shape and translation of the fits of some time steps, float32, where `mano` is."""
    numbers = (frames.pose[rows], frames.shape[rows], frames.trans[rows])
    return [torch.from_numpy(values).float().to(mano.template.device) for values in numbers]


def _points(mano: ManoLayer, part: Columns, frames: Frames) -> tuple[Tensor, Tensor]:
    """World vertices and joints (n,2,778+21,3) of the records' hands; which of them count."""
    row, hands = part["frame_row"], part["hands"]
    steps, step_of_record = np.unique(row, return_inverse=True)
    pose, shape, trans = _on_device(mano, frames, steps)
    with torch.no_grad():
        verts = mano(pose, shape)[0] + trans[:, :, None]
    joints = torch.from_numpy(frames.joints[row]).to(verts)
    fitted = frames.fit_valid[row][..., None]  # (n,2,1)
    joints_count = frames.joints_valid[row] & part["in_picture"] & ~fitted
    verts_count = fitted.repeat(verts.shape[2], -1)
    valid = np.concatenate([verts_count, joints_count], -1) & hands[..., None]
    verts = verts[torch.from_numpy(step_of_record).to(verts.device)]
    return torch.cat([verts, joints], 2), torch.from_numpy(valid).to(verts.device)


def _extents(
    world: Tensor, valid: Tensor, camera: NDArray[np.int64], cameras: Cameras
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """World points (n,2,P,3) -> lowest and highest pixel (n,2) of those that are valid (n,2,P) and
    before the camera; (inf, -inf) of none."""
    K = cameras.K[camera]
    rotation, translation = cameras.rotation[camera], cameras.translation[camera]
    projection = np.concatenate([K @ rotation, K @ translation[..., None]], -1)  # (n,3,4)
    matrix = torch.from_numpy(projection).to(world)
    image = torch.baddbmm(matrix[:, None, :, 3], world.flatten(1, 2), matrix[..., :3].mT)
    hidden = ~(valid.flatten(1)[..., None] & (image[..., 2:] > 1e-3))
    pixels = image[..., :2] / image[..., 2:]
    low = pixels.masked_fill(hidden, torch.inf).amin(1)
    high = pixels.masked_fill(hidden, -torch.inf).amax(1)
    return low.double().cpu().numpy(), high.double().cpu().numpy()
