"""What the hand model says of InterHand2.6M's fits: do they fit it, where do they lie in the pictures.

Legend: N annotations, F time steps, n annotations of one time step. Metres, world frame; pixels.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from common.hand.joints import LEFT, RIGHT
from common.hand.mano import ManoLayer
from common.utils.image import square_box
from data.cache import Arrays, Log, cached, key_of
from data.InterHand26M.index import Tables
from data.json_files import HAND_TYPES

INTERACTING = HAND_TYPES.index("interacting")
STEPS = 64  # time steps whose meshes are made at once
COMPARED = 64  # time steps on which fits are compared with the annotation
NEAREST = 1e-3  # metres before the camera: what is nearer is not in the picture


def hands_of(hand_type: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Index into HAND_TYPES (N,) -> which hands the record is about (N,2)."""
    both = hand_type == INTERACTING
    return np.stack([(hand_type == RIGHT) | both, (hand_type == LEFT) | both], -1)


def fit_distance(mano: ManoLayer, index: Tables, fits: Tables, steps: NDArray[np.int64]) -> float | None:
    """Mean distance (metres) of annotated joints from those of the fits posed on `mano`, on some of these
    time steps; None where no annotated hand has a fit."""
    steps = steps[np.unique(np.linspace(0, len(steps) - 1, COMPARED).astype(int))]
    joints = _posed(mano, fits, steps)[1]
    distance = np.linalg.norm(joints - index["joints"][steps], axis=-1)  # (n,2,21)
    valid = index["joints_valid"][steps] & fits["fit_valid"][steps][..., None]
    return float(distance[valid].mean()) if valid.any() else None


def load_placed(mano: ManoLayer, index: Arrays, fits: Tables, places: list[Path], log: Log) -> Tables:
    """box (N,4) square, around the true hands; pivot (F,2,3), about which each fit's wrist rotates."""
    model = key_of(buffer.cpu().numpy().tobytes() for buffer in mano.buffers())
    known = fits.folder.name if isinstance(fits, Arrays) else "none"

    def build() -> dict[str, NDArray]:
        log("  placing boxes around the hands once")
        shape = torch.from_numpy(np.array(fits["shape"])).float().to(mano.template.device)
        pivot = mano.rest_wrist(shape).cpu().numpy() + fits["trans"]
        return {"box": square_box(tight_boxes(mano, index, fits)), "pivot": pivot}

    split = index.folder.name.partition("_")[0]
    name = f"{split}_boxes_{model}" if isinstance(fits, Arrays) else f"{split}_boxes_of_joints"
    return cached(name, key_of([index.folder.name, known, model]), build, places, log)


def tight_boxes(mano: ManoLayer, index: Tables, fits: Tables) -> NDArray[np.float64]:
    """Tight boxes (N,4) of the meshes, of the joints of hands without a fit, clipped to the picture; the
    annotated box where nothing of this lies in the picture."""
    result = index["box"].astype(np.float64)
    cameras = np.concatenate([index["rotation"], index["translation"][..., None]], -1)
    cameras = (index["K"] @ cameras).astype(np.float32)  # (C,3,4)
    rows = np.flatnonzero((index["frame"] >= 0) & (index["camera"] >= 0))
    rows = rows[np.argsort(index["frame"][rows], kind="stable")]
    steps, first = np.unique(index["frame"][rows], return_index=True)
    of_step = np.split(rows, first[1:])
    for start in range(0, len(steps), STEPS):
        some = steps[start : start + STEPS]
        verts = _posed(mano, fits, some)[0].astype(np.float32)
        for number, step in enumerate(some):
            mine = of_step[start + number]
            fitted = fits["fit_valid"][step]
            low, high = _extents_of_step(index, mine, cameras, step, fitted, verts[number])
            # what the picture shows, as RootNet's boxes do: a hand far outside would shrink all
            low = np.maximum(low, 0)
            high = np.minimum(high, index["size"][mine] - 1)
            inside = (low < high).all(-1)
            result[mine[inside]] = np.concatenate([low, high - low], -1)[inside]
    return result


def _posed(
    mano: ManoLayer, fits: Tables, steps: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Vertices and joints of the fits of some time steps in the world."""
    numbers = (fits["pose"][steps], fits["shape"][steps], fits["trans"][steps])
    pose, shape, trans = (torch.from_numpy(values).float().to(mano.template.device) for values in numbers)
    with torch.no_grad():
        verts, joints = mano(pose, shape)
    return tuple((points + trans[:, :, None]).cpu().numpy() for points in (verts, joints))


def _extents_of_step(
    index: Tables,
    rows: NDArray[np.int64],
    cameras: NDArray[np.float32],
    step: int,
    fitted: NDArray[np.bool_],
    verts: NDArray[np.float32],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest pixel (n,2) of the hands of the annotations `rows` of one time step: of these
    vertices (2,778,3) where a hand is fitted (2,), of its annotated joints where it is not."""
    low, high = np.full((len(rows), 2), np.inf), np.full((len(rows), 2), -np.inf)
    hands = hands_of(index["hand_type"][rows])
    for side in (RIGHT, LEFT):
        if fitted[side]:
            points, counts = verts[side], np.ones((len(rows), 1), bool)
        else:
            points = index["joints"][step, side].astype(np.float32)
            counts = index["joints_valid"][step, side] & index["in_picture"][rows, side]
        matrix = cameras[index["camera"][rows]]
        side_low, side_high = _extents(matrix, points, counts)
        shown = hands[:, side, None]
        low = np.where(shown, np.minimum(low, side_low), low)
        high = np.where(shown, np.maximum(high, side_high), high)
    return low, high


def _extents(
    matrix: NDArray[np.float32], points: NDArray[np.float32], counts: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """World points (P,3) by cameras (n,3,4) -> lowest and highest pixel (n,2) of those that count (n,P or 1)
    and are before the camera; (inf, -inf) of none."""
    rotated = matrix[..., :3].reshape(-1, 3) @ points.T
    image = rotated.reshape(len(matrix), 3, -1) + matrix[..., 3:]  # (n,3,P)
    depth = image[:, 2:]
    if counts.all() and depth.min() > NEAREST:  # nearly always, and quicker
        pixels = image[:, :2] / depth
        return pixels.min(-1).astype(np.float64), pixels.max(-1).astype(np.float64)
    counts = counts[:, None] & (depth > NEAREST)
    pixels = image[:, :2] / np.where(counts, depth, 1)
    return np.where(counts, pixels, np.inf).min(-1), np.where(counts, pixels, -np.inf).max(-1)
