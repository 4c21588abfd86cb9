"""Mirroring a two-hand sample left to right: the only place that knows how.

X -> -X, pixel u -> W-1-u, so a camera's cx -> W-1-cx; axis-angle and translations between the hands
(x, y, z) -> (x, -y, -z) and (-x, y, z) with the hands exchanged.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

MIRROR_AXIS_ANGLE = np.array([1.0, -1.0, -1.0], np.float32)
MIRROR_POINT = np.array([-1.0, 1.0, 1.0], np.float32)


def mirror_hands(hands: NDArray) -> NDArray:
    """(2, ...) -> the same with the hands exchanged."""
    return hands[::-1].copy()


def mirror_points(points: NDArray) -> NDArray:
    """(2, ..., 3) camera-frame points of both hands: negate x, exchange the hands."""
    return mirror_hands(points * MIRROR_POINT)


def mirror_pose(pose: NDArray) -> NDArray:
    """(2, 16, 3) axis-angle of both hands -> mirrored."""
    return mirror_hands(pose * MIRROR_AXIS_ANGLE)


def mirror_camera(K: ArrayLike, width: float) -> NDArray:
    """(3, 3) intrinsics of the mirrored picture for mirrored points: F K diag(-1, 1, 1)."""
    flip = np.array([[-1, 0, width - 1], [0, 1, 0], [0, 0, 1]], np.float64)
    return flip @ np.asarray(K, np.float64) @ np.diag([-1.0, 1.0, 1.0])
