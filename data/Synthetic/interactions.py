"""What two hands do together: a table by eye.

The body frame is x right, y down, z away from the person, millimetres. Both hands of a kind are written
as right hands, whose forearm comes from the right (+x); the left one is mirrored in x. Half of the time
the hands change their roles.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from common.hand.joints import JOINT_NAMES
from data.Synthetic.families import FAMILIES

Vector = tuple[float, float, float]
Weights = dict[str, float]  # of families.FAMILIES


class Role(NamedTuple):
    """One hand of an interaction."""

    fingers: Vector  # their direction
    palms: tuple[Vector, Vector]  # directions of the palm, of which one is drawn
    anchor: tuple[str, ...]  # joints whose mean is brought to the other hand's, then moved by the offset
    families: Weights


class Interaction(NamedTuple):
    """One way in which two hands meet."""

    weight: float
    turn: float  # degrees of random rotation of each hand
    first: Role
    second: Role
    offset: Vector  # anchor of the second hand, a left one, minus that of the first, mm
    spread: Vector  # +- so much, mm
    touch: bool = True  # otherwise they may stay apart
    locked: bool = False  # fingers between or round the other's: hands do not leave each other as a whole


ANY = {"open": 2, "relaxed": 3, "half": 2, "fist": 1.5, "pointing": 1.5, "pinch": 1, "free": 3}
ANY |= {"wide": 1, "two": 1, "three": 0.7, "four": 0.5, "thumb": 0.7, "ring": 0.7, "flat": 0.7, "grip": 0.7}
LOOSE = {"open": 2, "relaxed": 3, "half": 1, "free": 1, "hook": 1, "cup": 1}
FLAT = {"flat": 3, "open": 1}
TIPS = {"steeple": 3, "relaxed": 1, "cup": 1}
SHUT = {"fist": 3, "grip": 1, "thumb": 0.5}
AROUND = {"cup": 2, "grip": 2, "half": 0.5}
HOOK = {"hook": 3, "relaxed": 1, "open": 0.5, "free": 0.5}
CARD = {"card": 2, "pinch": 2, "ring": 1}

KNUCKLE, PALM, ENDS = ("middle1",), ("middle1", "ring1", "wrist"), ("index4", "middle4", "ring4")
SECOND, GRASP = ("index2", "middle2", "ring2", "pinky2"), ("middle2", "thumb3")
BETWEEN = tuple(f"{finger}{joint}" for finger in ("index", "middle", "ring", "pinky") for joint in (1, 2))
FIST, CUPPED = ("middle1", "middle2"), ("middle1", "ring1")


def _alike(
    weight: float,
    turn: float,
    fingers: Vector,
    palms: tuple[Vector, Vector],
    anchor: tuple[str, ...],
    offset: Vector,
    spread: Vector,
    families: Weights,
    touch: bool = True,
) -> Interaction:
    """Both hands do the same."""
    role = Role(fingers, palms, anchor, families)
    return Interaction(weight, turn, role, role, offset, spread, touch)


def _twice(palm: Vector) -> tuple[Vector, Vector]:
    return palm, palm


IN, DOWN = (-1, 0, 0), (0, 1, 0)
# fmt: off
INTERACTIONS = {
    # apart and in the air
    "apart": _alike(16, 25, (-0.3, -0.7, 0.5), ((-0.5, 0.2, 1), (-0.8, 0.4, -0.3)), KNUCKLE,
                    (-260, 0, 0), (80, 50, 50), ANY, False),
    "beside": _alike(12, 22, (-0.3, -0.8, 0.4), ((-0.3, 0.2, -1), (-0.5, 0.2, 1)), KNUCKLE,
                     (-140, 0, 0), (25, 25, 25), ANY, False),
    "talking": _alike(16, 30, (-0.2, -0.4, 0.8), ((-0.7, -0.5, -0.2), (-0.5, 0.8, 0.1)), KNUCKLE,
                      (-320, 0, 0), (110, 70, 70), ANY, False),
    "wide": _alike(16, 18, (-0.25, -0.4, 0.8), (IN, (-0.9, 0.2, -0.4)), KNUCKLE,
                   (-200, 0, 0), (80, 50, 40), LOOSE | AROUND, False),
    "near": _alike(6, 18, (-0.25, -0.9, 0.3), ((-0.2, 0, -1), (-0.4, 0.3, 1)), KNUCKLE,
                   (-80, 0, 0), (12, 15, 15), ANY, False),
    "facing": _alike(5, 15, (-0.2, -0.6, 0.7), ((-1, 0, 0.1), (-1, 0, -0.3)), KNUCKLE,
                     (-55, 0, 0), (20, 12, 15), LOOSE, False),
    "hanging": _alike(4, 18, (-0.2, 0.9, 0.3), ((-1, 0, 0.2), (-0.4, 0, -1)), KNUCKLE,
                      (-95, 0, 0), (35, 15, 15), ANY, False),
    # palms together: praying, clapping, rubbing
    "praying": _alike(7, 4, (-0.15, -0.8, 0.4), (IN, IN), KNUCKLE, (-34, 0, 0), (2, 6, 4), FLAT),
    "clapping": _alike(4, 8, (-0.19, -0.3, 0.8), (IN, (-1, 0.3, 0.1)), KNUCKLE,
                       (-42, 0, 0), (12, 10, 10), FLAT, False),
    "rubbing": _alike(8, 9, (-0.25, -0.2, 0.8), (IN, (-1, 0.2, -0.4)), PALM,
                      (-34, 0, 0), (2, 14, 22), {"flat": 2, "open": 1, "cup": 1}),
    # finger tips, crossing fingers
    "steeple": _alike(4, 5, (-0.25, -0.8, 0.4), (IN, (-1, 0.3, -0.2)), ENDS, (-12, 0, 0), (4, 3, 3), TIPS),
    "tips": _alike(2, 13, (-0.37, -0.5, 0.5), ((-0.4, 0.2, -0.8), (-0.7, 0.5, 0.1)), ENDS,
                   (-8, 0, 0), (6, 8, 8), TIPS),
    "crossing": _alike(3, 10, (-0.28, -0.7, 0.5), ((-0.8, 0, -0.5), (-0.9, 0.1, 0.2)), SECOND,
                       (-6, 0, 0), (6, 8, 10), LOOSE),
    "clasp": Interaction(
        18, 1, Role((-0.07, -0.59, 0.75), _twice((-1, 0.12, -0.1)), BETWEEN, {"clasp over": 1}),
        Role((-0.07, -0.59, 0.75), _twice((-1, 0.12, -0.1)), BETWEEN, {"clasp under": 1}),
        (-31, -16, -6), (0.5, 0.5, 0.5), locked=True),
    # one hand on, around or before the other
    "stacked": _alike(10, 10, (-0.37, -0.5, 0.2), ((-0.1, 0.2, -1), (0, 0.4, -1)), PALM,
                      (0, 0, 36), (12, 12, 3), {"flat": 1, "relaxed": 1, "half": 2, "cup": 2, "fist": 0.5}),
    "laid": _alike(4, 10, (-0.31, 0.7, 0.2), ((0, 0, -1), (-0.3, 0, -1)), PALM,
                   (0, 0, 36), (12, 12, 3), {"flat": 1, "relaxed": 2, "cup": 2}),
    "back to palm": _alike(4, 12, (-0.28, -0.7, 0.3), ((0, 0.2, 1), (0, 0.1, -1)), PALM,
                           (0, 0, 38), (18, 18, 4), LOOSE),
    # round a fist, from the front and from its side, under it
    "over fist": Interaction(
        11, 2, Role((-0.37, -0.5, 0.3), _twice((-0.3, 0.3, -0.9)), FIST, {"fist": 1}),
        Role((-0.41, -0.91, -0.09), _twice((0.13, -0.07, -0.99)), CUPPED, {"round a fist": 1}),
        (41, -5, 28), (3, 3, 3)),
    "beside fist": Interaction(
        10, 2, Role((-0.37, -0.5, 0.3), _twice((-0.3, 0.3, -0.9)), FIST, {"fist": 1}),
        Role((-0.22, -0.97, 0.02), _twice((-0.66, 0.48, -0.58)), CUPPED, {"round a fist": 1}),
        (-12, -16, 20), (3, 3, 3), locked=True),
    "under fist": Interaction(
        10, 2, Role((-0.31, -0.1, 0.8), _twice((-0.5, 0.9, 0)), FIST, {"fist": 1}),
        Role((-0.64, -0.22, 0.74), _twice((-0.56, -0.82, -0.1)), CUPPED, {"under a fist": 1}),
        (15, 40, 15), (3, 3, 3), locked=True),
    "fists": _alike(7, 10, (-0.19, -0.4, 0.8), ((-1, 0.2, -0.2), (-0.5, 0.9, -0.1)), FIST,
                    (-60, 0, 0), (8, 12, 12), SHUT),
    "holding wrist": Interaction(
        4, 3, Role((-0.37, -0.6, 0.3), _twice((-0.3, 0.4, -0.8)), ("wrist",), LOOSE),
        Role((-0.99, 0.08, -0.13), _twice((-0.66, -0.24, -0.72)), CUPPED, {"round a wrist": 1}),
        (-21, -9, 58), (3, 8, 3)),
    "holding fingers": Interaction(
        8, 3, Role((-0.37, -0.6, 0.2), _twice((-0.4, 0.3, -0.9)), ("index1", "middle2"), {"flat": 1}),
        Role((-0.6, -0.8, -0.03), _twice((0.21, 0.12, -0.97)), CUPPED, {"round fingers": 1}),
        (-6, -8, 37), (3, 3, 3), locked=True),
    "at the palm": Interaction(
        3, 10, Role((-0.25, 0.1, 0.8), ((-0.3, 0.9, 0), (-0.6, 0.5, -0.5)), ("index4",),
                    {"pointing": 3, "pinch": 1}),
        Role((-0.37, -0.4, 0.2), ((-0.2, -0.3, -0.9), (-0.2, -0.5, -0.8)), PALM, LOOSE | {"flat": 2}),
        (-8, 6, 16), (20, 15, 3)),
    "counting": Interaction(
        3, 12, Role((-0.31, -0.2, 0.7), ((-0.3, 0.6, -0.6), (-0.6, 0.3, -0.6)), ("index4", "thumb4"),
                    {"pinch": 2, "pointing": 1, "ring": 1}),
        Role((-0.25, -0.8, 0.2), ((-0.4, 0, -0.9), (-0.6, -0.2, -0.7)), ("middle3",), ANY),
        (0, 0, 4), (12, 10, 8)),
    "crossed": _alike(3, 15, (-0.37, -0.7, 0.3), ((-0.2, 0.5, 0.9), (-0.2, 0.2, -1)), ("wrist",),
                      (10, 0, 45), (15, 15, 5), ANY),
    # around a thing that is not there
    "bottle": Interaction(
        14, 8, Role((-0.37, -0.2, 0.8), (IN, (-0.8, 0, -0.5)), GRASP, AROUND),
        Role((-0.37, -0.1, 0.8), (IN, (-0.8, 0, -0.5)), GRASP, AROUND), (0, 100, 0), (12, 25, 12), False),
    "cup": _alike(10, 10, (-0.25, -0.3, 0.8), (IN, (-1, 0, -0.4)), KNUCKLE,
                  (-75, 0, 0), (15, 10, 10), {"cup": 3, "half": 1, "relaxed": 1}, False),
    "phone": _alike(8, 10, (-0.25, -0.7, 0.5), ((-0.5, 0.2, -0.9), (-0.7, -0.1, -0.7)), KNUCKLE,
                    (-65, 0, 0), (10, 10, 8), {"cup": 2, "half": 1, "hook": 1, "grip": 1}, False),
    "screen": _alike(5, 10, (-0.25, -0.7, 0.4), ((-0.9, 0, -0.4), (-0.7, 0.3, -0.6)), KNUCKLE,
                     (-120, 0, 0), (25, 10, 10), {"cup": 2, "card": 1, "hook": 1}, False),
    "card": _alike(4, 12, (-0.31, -0.4, 0.7), ((-0.5, 0.5, -0.6), (-0.6, 0.6, 0)), ("index4", "thumb4"),
                   (-12, 0, 0), (8, 8, 8), CARD, False),
    "heart": _alike(2, 5, (-0.28, -0.75, 0.2), ((-0.5, 0.3, 1), (-0.5, 0.3, -1)), ("index4", "thumb4"),
                    (-10, 0, 0), (3, 3, 3), {"card": 2, "cup": 1}),
    # on a table
    "typing": _alike(8, 8, (-0.25, 0.1, 0.9), (DOWN, (-0.3, 1, 0)), KNUCKLE,
                     (-115, 0, 0), (25, 6, 25), HOOK, False),
    "table": _alike(4, 10, (-0.6, 0.1, 0.7), (DOWN, (-0.2, 1, 0)), KNUCKLE,
                    (-85, 0, 0), (20, 6, 30), LOOSE | {"flat": 2}, False),
    "working": Interaction(
        14, 15, Role((-0.4, 0.15, 0.8), ((-0.2, 1, 0), (-0.7, 0.7, 0)), KNUCKLE, CARD | HOOK),
        Role((-0.4, -0.3, 0.8), ((-0.9, 0.3, 0), (-0.6, 0.6, -0.4)), KNUCKLE, CARD | AROUND | LOOSE),
        (-115, -15, 0), (40, 25, 40), touch=False),
}
# fmt: on


def interaction_tables(device: torch.device) -> dict[str, Tensor]:
    """Every field of all kinds (kinds,...), both roles' (kinds,2,...): anchors as shares of the 21 joints,
    families as weights."""
    kinds = INTERACTIONS.values()
    both = [name for name in Interaction._fields if name not in ("first", "second")]
    tables = {name: [getattr(kind, name) for kind in kinds] for name in both}
    roles = [(kind.first, kind.second) for kind in kinds]
    tables["fingers"] = [[role.fingers for role in pair] for pair in roles]
    tables["palms"] = [[role.palms for role in pair] for pair in roles]
    tables["anchor"] = [[_shares(role.anchor) for role in pair] for pair in roles]
    tables["families"] = [[family_weights(role.families) for role in pair] for pair in roles]
    return {name: torch.tensor(rows, dtype=torch.float32, device=device) for name, rows in tables.items()}


def _shares(anchor: tuple[str, ...]) -> list[float]:
    return [(name in anchor) / len(anchor) for name in JOINT_NAMES]


def family_weights(families: Weights) -> list[float]:
    """In the order of families.FAMILIES."""
    return [families.get(name, 0.0) for name in FAMILIES]
