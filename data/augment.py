"""Augmentation in two halves: `draw` throws the dice, `apply` is a pure function of its arguments.

The recipe is EANet's. One affine map moves the picture, the camera and the 2-D labels; the 3-D
labels turn by the same angle about the optical axis, so that K_new = A K0 Rz(theta)^T projects them
exactly on the pixels. Records have hands in (right, left) order, metres, camera frame.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from common.hand import mirror
from common.hand.joints import WRIST
from common.utils.geometry import IMAGE_SIZE, axis_angle_to_matrix, matrix_to_axis_angle
from common.utils.image import as_3x3, crop_affine, rotation_2d, warp


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
    "pixels",  # these three lie in the original picture: the affine map moves them later
    "pixels_valid",
    "outlines",
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


def apply(record: dict[str, Any], params: AugmentParams) -> dict[str, Any]:
    """A raw record (data/base.py) with its `image` -> the same record cut out and augmented.

    `image` becomes the crop (256,256,3) uint8; `K` (3,3) and `affine` (2,3, original -> crop, the
    mirror included) are added; every 3-D label is in the augmented frame. `K_orig`, `image_size`
    and `box` stay those of the original picture, as do `pixels` and `outlines`. The argument is not
    changed.
    """
    turn = np.eye(3)  # about the optical axis, x towards y
    turn[:2, :2] = rotation_2d(params.rotation)
    affine = crop_affine(record["box"], IMAGE_SIZE, params.rotation, params.scale, params.shift)
    out = dict(record)
    out["affine"] = affine
    out["K"] = as_3x3(affine) @ record["K_orig"] @ turn.T
    out["pose"] = turned_pose(record["pose"], turn)
    for key in POINTS:
        if key in record:
            out[key] = record[key] @ turn.T
    if params.mirror:
        out = mirrored(out)
    out["image"] = recolor(warp(record["image"], out["affine"], IMAGE_SIZE), params.color)
    return out


def mirrored(record: dict[str, Any]) -> dict[str, Any]:
    """A cut-out record mirrored in its crop: labels, camera and affine map.

    The pixels follow the affine map when they are drawn. Mirroring twice gives the record back.
    """
    out = dict(record)
    out["hand_type"] = mirror.OTHER_HAND_TYPE[record["hand_type"]]
    out["pose"] = mirror.mirror_pose(record["pose"])
    out["K"] = mirror.mirror_camera(record["K"], IMAGE_SIZE)
    out["affine"] = mirror.mirror_pixels(IMAGE_SIZE)[:2] @ as_3x3(record["affine"])
    for key in POINTS:
        if key in record:
            out[key] = mirror.mirror_points(record[key])
    for key in PER_HAND:
        if key in record:
            out[key] = mirror.mirror_hands(record[key])
    return out


def turned_pose(pose: NDArray, turn: NDArray) -> NDArray:
    """MANO pose (2,16,3) of hands that are turned by a rotation (3,3): only the wrist changes."""
    wrist = axis_angle_to_matrix(torch.from_numpy(pose[:, WRIST].astype(np.float64)))
    out = pose.copy()
    out[:, WRIST] = matrix_to_axis_angle(torch.from_numpy(turn) @ wrist).numpy()
    return out


def recolor(image: NDArray[np.uint8], color: tuple[float, float, float]) -> NDArray[np.uint8]:
    """Multiply the channels of (H,W,3) and clip."""
    if color == IDENTITY.color:
        return image
    levels = np.arange(256)
    out = np.empty_like(image)
    for channel, factor in enumerate(color):
        table = np.rint(levels * factor).clip(0, 255).astype(np.uint8)
        out[..., channel] = table[image[..., channel]]
    return out
