"""Poses of the stand-in hand: the relaxed mean, a spread of plausible ones, and named ones."""

import numpy as np
from scipy.spatial.transform import Rotation

from tool.stand_in.shape import CHAINS, FINGERS, flexion_axis

# Per finger: flexion (deg) of the three joints, then spread (deg about +y) and
# tilt (deg about the first bone: it closes the gaps of a fist) of the first.
RELAXED = {
    "index": (20, 27, 16, -3, 0),
    "middle": (25, 31, 18, 2, 0),
    "pinky": (27, 27, 16, 19, 0),
    "ring": (28, 32, 18, 9, 0),
    "thumb": (14, 15, 16, 0, 0),
}
FLAT = {name: (0, 0, 0, 0, 0) for name in FINGERS}
FIST = {
    "index": (82, 88, 54, 0, 3),
    "middle": (82, 88, 58, 0, 2),
    "pinky": (82, 80, 38, 12, 14),
    "ring": (82, 84, 58, 4, 8),
    "thumb": (39, 32, 34, -3, 7),
}
PINCH = {
    "index": (44, 46, 36, 0, 0),
    "middle": (34, 34, 20, 1, 0),
    "pinky": (20, 22, 13, 13, 0),
    "ring": (26, 28, 16, 6, 0),
    "thumb": (27, 3, 13, -18, 7),
}
POINT = {**FIST, "index": (6, 6, 4, -2, 0)}
# How joints move together, by eye: flexion of the three joints, spread and tilt, rad per standard deviation.
TOGETHER = (
    {
        "index": (0.42, 0.46, 0.25, 0, 0),
        "middle": (0.42, 0.46, 0.25, 0, 0),
        "ring": (0.42, 0.46, 0.25, 0, 0),
        "pinky": (0.42, 0.46, 0.25, 0, 0),
        "thumb": (0.1, 0.12, 0.15, 0, 0),
    },
    {
        "index": (-0.30, 0.34, 0.22, 0, 0),
        "middle": (-0.30, 0.34, 0.22, 0, 0),
        "ring": (-0.30, 0.34, 0.22, 0, 0),
        "pinky": (-0.30, 0.34, 0.22, 0, 0),
    },
    {
        "index": (0, 0, 0, -0.16, 0),
        "middle": (0, 0, 0, -0.04, 0),
        "ring": (0, 0, 0, 0.09, 0),
        "pinky": (0, 0, 0, 0.20, 0),
    },
    {"index": (0.30, 0.33, 0.18, 0, 0), "pinky": (-0.2, -0.2, -0.1, 0, 0), "ring": (-0.12, -0.1, 0, 0, 0)},
    {"thumb": (0.26, 0.14, 0.2, 0, 0.1)},
    {"thumb": (0.1, -0.1, -0.2, 0.25, 0)},
)
# and each finger alone
ALONE = (
    {"index": (0.19, 0.6 * 0.19, 0.4 * 0.19, 0, 0)},
    {"middle": (0.15, 0.6 * 0.15, 0.4 * 0.15, 0, 0)},
    {"pinky": (0.17, 0.6 * 0.17, 0.4 * 0.17, 0, 0)},
    {"ring": (0.13, 0.6 * 0.13, 0.4 * 0.13, 0, 0)},
    {"thumb": (0.11, 0.6 * 0.11, 0.4 * 0.11, 0, 0)},
)
NAMED = {"fist": FIST, "pinch": PINCH, "point": POINT}
# Standard deviation (rad) along MANO's principal directions: the first six and the last of 45.
LEADING_STD = (1.31, 1.08, 0.89, 0.70, 0.48, 0.41)
LAST_STD = 0.036


def finger_pose(name: str, values: tuple[float, ...]) -> np.ndarray:
    """Axis-angle (3,3), rad, of one finger from (flex, flex, flex, spread, tilt) in degrees."""
    axis = flexion_axis(name)
    chain = np.array(CHAINS[name], float)
    bone = (chain[1] - chain[0]) / np.linalg.norm(chain[1] - chain[0])
    first, second, third = (Rotation.from_rotvec(np.deg2rad(angle) * axis) for angle in values[:3])
    spread = Rotation.from_rotvec(np.deg2rad(values[3]) * np.array([0.0, 1.0, 0.0]))
    tilt = Rotation.from_rotvec(np.deg2rad(values[4]) * bone)
    turns = (spread * tilt * first, second, third)
    return np.stack([turn.as_rotvec() for turn in turns])


def hand_pose(values: dict[str, tuple[float, ...]]) -> np.ndarray:
    """Axis-angle (45,) in rad from the zero pose, in MANO's joint order."""
    return np.concatenate([finger_pose(name, values[name]) for name in FINGERS]).ravel()


def _factors() -> np.ndarray:
    """Columns (45,K): how joints move together, set by hand, rad per standard deviation."""
    unit = {name: _unit_moves(name) for name in FINGERS}
    columns = []
    for moves in (*TOGETHER, *ALONE):
        column = np.zeros((5, 9))
        for name, amounts in moves.items():
            column[FINGERS.index(name)] = np.tensordot(amounts, unit[name], 1)
        columns.append(column.ravel())
    return np.stack(columns, 1)


def _unit_moves(name: str) -> np.ndarray:
    """(5,9): how a finger's axis-angles change with each of its five values, rad per rad."""
    step = 10  # degrees
    moves = [finger_pose(name, tuple(step * row)).ravel() for row in np.eye(5)]
    return np.stack(moves) / np.deg2rad(step)


def mean_pose() -> np.ndarray:
    """The relaxed pose (45,), rad."""
    return hand_pose(RELAXED)


def components() -> np.ndarray:
    """Principal directions (45,45): rows as long as their deviation in rad, largest first."""
    b = _factors()
    spread = b @ b.T + np.diag(0.02**2 * (1 + 0.05 * np.arange(45)))
    values, vectors = np.linalg.eigh(spread)
    rows = vectors[:, np.argsort(values)[::-1]].T
    # the sign that makes the largest entry positive, the first of several alike
    size = np.abs(rows)
    lead = np.argmax(size > 0.999 * size.max(1, keepdims=True), axis=1)
    rows *= np.sign(rows[np.arange(45), lead])[:, None]
    rest = np.geomspace(LEADING_STD[-1], LAST_STD, 45 - len(LEADING_STD) + 1)[1:]
    return rows * np.concatenate([LEADING_STD, rest])[:, None]
