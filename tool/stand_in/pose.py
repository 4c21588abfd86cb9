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
NAMED = {"fist": FIST, "pinch": PINCH, "point": POINT}
# Standard deviation (rad) along the principal directions, read off the table in the format notes.
LEADING_STD = (1.31, 1.08, 0.89, 0.70, 0.48, 0.41)
LAST_STD = 0.036


def finger_pose(name: str, values: tuple[float, ...]) -> np.ndarray:
    """Axis-angle (3,3), rad, of one finger from (flex, flex, flex, spread, tilt) in degrees."""
    axis = flexion_axis(name)
    chain = np.array(CHAINS[name], float)
    bone = (chain[1] - chain[0]) / np.linalg.norm(chain[1] - chain[0])
    turn = [Rotation.from_rotvec(np.deg2rad(a) * axis) for a in values[:3]]
    spread = Rotation.from_rotvec(np.deg2rad(values[3]) * np.array([0.0, 1.0, 0.0]))
    tilt = Rotation.from_rotvec(np.deg2rad(values[4]) * bone)
    return np.stack([(spread * tilt * turn[0]).as_rotvec(), turn[1].as_rotvec(), turn[2].as_rotvec()])


def hand_pose(values: dict[str, tuple[float, ...]]) -> np.ndarray:
    """Axis-angle (45,) in rad from the zero pose, in MANO's joint order."""
    return np.concatenate([finger_pose(name, values[name]) for name in FINGERS]).ravel()


def _factors() -> np.ndarray:
    """Columns (45,K): how joints move together, set by hand, rad per standard deviation."""
    unit = {
        n: [finger_pose(n, tuple(np.eye(5)[k] * 10)).ravel() / np.deg2rad(10) for k in range(5)]
        for n in FINGERS
    }
    columns = []

    def column(moves: dict[str, tuple[float, ...]]) -> None:
        c = np.zeros((5, 9))
        for name, amounts in moves.items():
            c[FINGERS.index(name)] = np.tensordot(amounts, unit[name], 1)
        columns.append(c.ravel())

    long = ("index", "middle", "ring", "pinky")
    column({n: (0.42, 0.46, 0.25, 0.0, 0.0) for n in long} | {"thumb": (0.1, 0.12, 0.15, 0.0, 0.0)})
    column({n: (-0.30, 0.34, 0.22, 0.0, 0.0) for n in long})
    column({n: (0, 0, 0, a, 0) for n, a in zip(long, (-0.16, -0.04, 0.09, 0.20), strict=True)})
    column(
        {"index": (0.30, 0.33, 0.18, 0, 0), "pinky": (-0.2, -0.2, -0.1, 0, 0), "ring": (-0.12, -0.1, 0, 0, 0)}
    )
    column({"thumb": (0.26, 0.14, 0.2, 0.0, 0.1)})
    column({"thumb": (0.1, -0.1, -0.2, 0.25, 0.0)})
    for name, amount in zip(FINGERS, (0.19, 0.15, 0.17, 0.13, 0.11), strict=True):
        column({name: (amount, 0.6 * amount, 0.4 * amount, 0.0, 0.0)})
    return np.stack(columns, 1)


def mean_pose() -> np.ndarray:
    """The relaxed pose (45,), rad."""
    return hand_pose(RELAXED)


def components() -> np.ndarray:
    """Principal directions (45,45): rows as long as their deviation in rad, largest first."""
    b = _factors()
    spread = b @ b.T + np.diag(0.02**2 * (1 + 0.05 * np.arange(45)))
    values, vectors = np.linalg.eigh(spread)
    rows = vectors[:, np.argsort(values)[::-1]].T
    lead = np.argmax(np.abs(rows) > 0.999 * np.abs(rows).max(1, keepdims=True), axis=1)
    rows *= np.sign(rows[np.arange(45), lead])[:, None]
    rest = np.geomspace(LEADING_STD[-1], LAST_STD, 45 - len(LEADING_STD) + 1)[1:]
    return rows * np.concatenate([LEADING_STD, rest])[:, None]
