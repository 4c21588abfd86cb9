"""Mirroring hands left to right: the only place that knows the signs.

The mirror is the plane x = 0 of the camera (or of MANO's axes): a point (x, y, z) goes to (-x, y, z), a
rotation R to F R F with F = diag(-1, 1, 1), so its axis-angle (x, y, z) to (x, -y, -z), and a pixel u of a
picture W pixels wide to W - 1 - u. What belongs to the right hand then belongs to the left one.
"""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

MIRROR_POINT = np.array([-1.0, 1.0, 1.0], np.float32)
MIRROR_AXIS_ANGLE = np.array([1.0, -1.0, -1.0], np.float32)
MIRROR_ROTATION = np.outer(MIRROR_POINT, MIRROR_POINT)  # signs of the entries of F R F
OTHER_HAND_TYPE = {"right": "left", "left": "right", "interacting": "interacting"}


def mirror_rotation(rotation: Tensor) -> Tensor:
    """Rotations (..., 3, 3) -> F R F."""
    return rotation * torch.as_tensor(MIRROR_ROTATION, dtype=rotation.dtype, device=rotation.device)


def mirror_hands(hands: NDArray) -> NDArray:
    """(2, ...) -> the same with the hands exchanged."""
    return hands[::-1].copy()


def mirror_points(points: NDArray) -> NDArray:
    """(2, ..., 3) camera-frame points of both hands: negate x, exchange the hands."""
    return mirror_hands(points * MIRROR_POINT)


def mirror_pose(pose: NDArray) -> NDArray:
    """(2, 16, 3) axis-angle of both hands -> mirrored."""
    return mirror_hands(pose * MIRROR_AXIS_ANGLE)


def mirror_pixels(width: float) -> NDArray[np.float64]:
    """(3, 3) map of homogeneous pixels: u -> width - 1 - u."""
    return np.array([[-1.0, 0, width - 1], [0, 1, 0], [0, 0, 1]])


def mirror_camera(K: ArrayLike, width: float) -> NDArray[np.float64]:
    """(3, 3) intrinsics of the mirrored picture for mirrored points."""
    return mirror_pixels(width) @ np.asarray(K, np.float64) @ np.diag(MIRROR_POINT)
