"""Augmentation in two halves: `draw` throws the dice, `apply` is a pure function of its arguments.

Everything but the pixels happens here, for all samples of a batch at once. The recipe is EANet's. One affine
map moves the picture, the camera and the 2-D labels; the 3-D labels turn by the same angle about the optical
axis, so that K_new = A K0 Rz(theta)^T projects them exactly on the pixels. Records have hands in (right,
left) order, metres, camera frame; B samples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from common.hand import mirror
from common.hand.joints import WRIST
from common.utils.geometry import IMAGE_SIZE, axis_angle_to_matrix, matrix_to_axis_angle
from common.utils.image import as_3x3, crop_affine, rotation_2d


@dataclass(frozen=True)
class AugmentSettings:
    """How wide the dice are thrown; the defaults stand in main/config.py."""

    scale: float  # standard deviation of the box scale, clipped at one
    rotation: float  # degrees, standard deviation, clipped at two
    rotation_probability: float
    shift: float  # the centre of the box moves by at most this part of its side
    color: float  # each channel is multiplied by 1 +- this
    flip: float  # probability of the mirror


@dataclass(frozen=True)
class AugmentParams:
    """One throw; the defaults change nothing."""

    scale: float = 1.0  # of the box: more than 1 shows more of the picture
    rotation: float = 0.0  # radians, u towards v
    shift: tuple[float, float] = (0.0, 0.0)  # parts of the side of the box
    color: tuple[float, float, float] = (1.0, 1.0, 1.0)
    mirror: bool = False


IDENTITY = AugmentParams()

POINTS = ("joints", "pivot_cam", "mesh_cam")  # record entries in 3-D, in the camera
# Record entries with a hand axis that the mirror only exchanges.
PER_HAND = (
    "joints_valid",
    "in_picture",
    "shape",
    "pose_valid",
    "shape_valid",
    "root_depth",
    "root_depth_valid",
    "present",
    "pixels",  # in the original picture: the affine map moves them later
    "pixels_valid",
)


def draw(rng: np.random.Generator, settings: AugmentSettings) -> AugmentParams:
    """Draw one augmentation. The same numbers are taken from `rng` whatever the settings are."""
    scale = float(np.clip(rng.standard_normal(), -1, 1))
    turn = float(np.clip(rng.standard_normal(), -2, 2))
    turns, flips = rng.random(2) < (settings.rotation_probability, settings.flip)
    shift = settings.shift * rng.uniform(-1, 1, 2)
    color = 1 + settings.color * rng.uniform(-1, 1, 3)
    return AugmentParams(
        scale=1 + settings.scale * scale,
        rotation=float(np.deg2rad(settings.rotation * turn)) if turns else 0.0,
        shift=tuple(shift.tolist()),
        color=tuple(color.tolist()),
        mirror=bool(flips),
    )


def apply(records: dict[str, Any], throws: Sequence[AugmentParams]) -> dict[str, Any]:
    """Raw records of B samples (data/base.py) and one throw for each -> the same with labels cut out and
    augmented.

    `K` (B,3,3), `affine` (B,2,3, original picture -> crop, the mirror included) and `color` (B,3), by which
    the channels are to be multiplied, are added; every 3-D label is in the augmented frame. `K_orig`,
    `image_size` and `box` stay those of the original picture, as do `pixels` and `outlines`. The argument
    is not changed.
    """
    rotation = np.array([throw.rotation for throw in throws])
    scale = np.array([throw.scale for throw in throws])
    shift = np.array([throw.shift for throw in throws])
    turn = np.tile(np.eye(3), (len(throws), 1, 1))  # about the optical axis, x towards y
    turn[:, :2, :2] = rotation_2d(rotation)
    out = dict(records)
    out["affine"] = crop_affine(records["box"], IMAGE_SIZE, rotation, scale, shift)
    out["K"] = as_3x3(out["affine"]) @ records["K_orig"] @ turn.swapaxes(1, 2)
    out["color"] = np.array([throw.color for throw in throws])
    out["pose"] = turned_pose(records["pose"], turn)
    for key in POINTS:
        if key in records:
            out[key] = turned(records[key], turn)
    mirror_these = np.array([throw.mirror for throw in throws])
    if not mirror_these.any():
        return out
    return _where(mirror_these, mirrored(out), out)


def turned(points: NDArray, turn: NDArray) -> NDArray:
    """Points (B,...,3) by one rotation (B,3,3) for each sample."""
    flat = points.reshape(len(points), -1, 3) @ turn.swapaxes(1, 2)
    return flat.reshape(points.shape)


def mirrored(records: dict[str, Any]) -> dict[str, Any]:
    """Records that are cut out, mirrored in their crops: labels, camera and affine map.

    The pixels follow the affine map when they are drawn. Mirroring twice gives the records back.
    """
    out = dict(records)
    out["hand_type"] = [mirror.OTHER_HAND_TYPE[name] for name in records["hand_type"]]
    out["pose"] = _hands_first(mirror.mirror_pose, records["pose"])
    out["K"] = mirror.mirror_camera(records["K"], IMAGE_SIZE)
    out["affine"] = mirror.mirror_pixels(IMAGE_SIZE)[:2] @ as_3x3(records["affine"])
    for key in POINTS:
        if key in records:
            out[key] = _hands_first(mirror.mirror_points, records[key])
    for key in PER_HAND:
        if key in records:
            out[key] = _hands_first(mirror.mirror_hands, records[key])
    if "outlines" in records:
        out["outlines"] = [[left, right] for right, left in records["outlines"]]
    return out


def _hands_first(change: Callable[[NDArray], NDArray], values: NDArray) -> NDArray:
    """A change of (2,B,...) applied to (B,2,...)."""
    return change(values.swapaxes(0, 1)).swapaxes(0, 1)


def _where(these: NDArray[np.bool_], chosen: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    """Of two forms of B records the first where `these` (B,), else the second."""
    out = dict(others)
    for key, values in chosen.items():
        if isinstance(values, list):
            pairs = zip(these.tolist(), values, others[key], strict=True)
            out[key] = [one if this else other for this, one, other in pairs]
        elif values is not others[key]:
            out[key] = np.where(these.reshape(-1, *[1] * (values.ndim - 1)), values, others[key])
    return out


def turned_pose(pose: NDArray, turn: NDArray) -> NDArray:
    """MANO poses (B,2,16,3) of hands that are turned by a rotation (B,3,3) each: only the wrists change."""
    wrist = axis_angle_to_matrix(torch.from_numpy(pose[:, :, WRIST].astype(np.float64)))  # (B,2,3,3)
    out = pose.copy()
    out[:, :, WRIST] = matrix_to_axis_angle(torch.from_numpy(turn)[:, None] @ wrist).numpy()
    return out
