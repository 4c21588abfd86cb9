"""Families of hand shapes: how far each finger may be curled and where the thumb is. By eye.

Angles in degrees. Fingers run index, middle, ring, pinky.
"""

from typing import NamedTuple

import torch
from torch import Tensor

# Degrees towards the thumb, index to pinky, of spread and of closed fingers; 0 is the rest pose.
SPREAD = (9.0, 2.0, -4.0, -7.0)
CLOSED = (-8.0, 1.0, 7.0, 18.0)

Limits = tuple[float, float]  # lowest, highest

# Thumb: opposition (towards the palm), adduction, flexion of MCP and of IP.
THUMBS: dict[str, tuple[Limits, ...]] = {
    "any": ((-8, 45), (-22, 12), (-5, 40), (-8, 60)),
    "over": ((36, 48), (-10, 0), (24, 36), (28, 42)),  # over or beside curled fingers
    "out": ((-8, 10), (-22, -8), (-5, 10), (-8, 10)),
    "beside": ((0, 20), (2, 20), (0, 15), (0, 20)),  # along the closed index finger
    "over a thumb": ((-8, 0), (-18, -12), (0, 8), (15, 25)),
    "under a thumb": ((-4, 2), (8, 12), (28, 34), (25, 35)),
    "round a fist": ((44, 48), (-20, -11), (-3, 5), (30, 54)),
    "under a fist": ((18, 25), (-6, 0), (34, 40), (30, 36)),
    "round fingers": ((-3, 3), (-22, -18), (0, 6), (44, 52)),
    "round a wrist": ((4, 10), (-18, -14), (24, 32), (15, 22)),
    "opposed": ((30, 48), (-15, 2), (0, 20), (5, 30)),
}


class Family(NamedTuple):
    """One kind of hand shape. A curl of 0 is straight, of 1 a fist."""

    curl: tuple[Limits, Limits, Limits, Limits]  # of each finger
    thumb: str = "any"
    lean: Limits = (-0.1, 0.1)  # curl of the knuckle above that of the middle joint
    closing: Limits = (-0.1, 1.0)  # 0 spread, 1 closed fingers
    pull: float = 0.3  # how far fingers pull each other along
    loose: float = 0.08  # spread of a single joint's curl


UNDER = ((0.55, 0.6), (0.53, 0.58), (0.42, 0.48), (0.4, 0.47))
WRIST = ((0.42, 0.5), (0.38, 0.44), (0.26, 0.34), (0.36, 0.44))
UP, DOWN = (0.0, 0.12), (0.75, 1.0)

FAMILIES = {
    "open": Family(((0.0, 0.2),) * 4),
    "relaxed": Family(((0.1, 0.35), (0.15, 0.4), (0.2, 0.45), (0.2, 0.5))),
    "half": Family(((0.3, 0.65),) * 4),
    "fist": Family((DOWN,) * 4, "over"),
    "pointing": Family(((0.0, 0.2), (0.6, 1.0), DOWN, DOWN), "over", pull=0.0),
    "pinch": Family(((0.4, 0.55), (0.1, 0.5), (0.05, 0.4), (0.0, 0.4)), "opposed"),
    "free": Family(((0.0, 1.0),) * 4, pull=0.15),
    "flat": Family(((0.08, 0.16),) * 4, "beside", (-0.02, 0.05), (0.6, 1.0), loose=0.02),
    "wide": Family(((0.0, 0.1),) * 4, "out", closing=(-0.5, -0.1), loose=0.03),
    "hook": Family(((0.28, 0.45),) * 4, "beside", (-0.05, 0.15), (0.0, 0.6), loose=0.05),
    "cup": Family(((0.32, 0.48),) * 4, "opposed", (-0.1, 0.1), (0.0, 0.6), loose=0.04),
    "grip": Family(((0.55, 0.75),) * 4, "opposed", (-0.05, 0.1), (0.4, 0.9), loose=0.04),
    "card": Family(((0.38, 0.5),) * 4, "opposed", (0.25, 0.5), (0.6, 1.0), loose=0.04),
    "steeple": Family(((0.15, 0.32),) * 4, "beside", (0.0, 0.15), (-0.2, 0.4), loose=0.04),
    "clasp over": Family(((0.3, 0.41),) * 4, "over a thumb", (-0.16, -0.14), (-0.42, -0.34), loose=0.01),
    "clasp under": Family(((0.3, 0.41),) * 4, "under a thumb", (-0.16, -0.14), (-0.42, -0.34), loose=0.01),
    "round a fist": Family(((0.5, 0.57),) * 4, "round a fist", (0.45, 0.52), (0.1, 0.5), loose=0.02),
    "under a fist": Family(UNDER, "under a fist", (0.45, 0.55), (-0.8, -0.6), 0.0, 0.02),
    "round fingers": Family(((0.4, 0.46),) * 4, "round fingers", (0.15, 0.25), (0.4, 0.6), loose=0.02),
    "round a wrist": Family(WRIST, "round a wrist", (0.5, 0.6), (0.3, 0.5), 0.0, 0.02),
    "two": Family((UP, UP, DOWN, DOWN), "over", closing=(-0.6, 0.2), pull=0.0),
    "three": Family((UP, UP, UP, DOWN), "over", closing=(-0.3, 0.3), pull=0.0),
    "four": Family((UP,) * 4, "over", closing=(-0.3, 0.6)),
    "thumb": Family((DOWN,) * 4, "out"),
    "ring": Family(((0.45, 0.55), (0.1, 0.3), (0.0, 0.25), (0.0, 0.2)), "opposed", pull=0.0),
}


def family_tables(device: torch.device) -> dict[str, Tensor]:
    """Every field of all families (families,...), the thumb as its limits (families,4,2)."""
    columns = dict(zip(Family._fields, zip(*FAMILIES.values(), strict=True), strict=True))
    columns["thumb"] = [THUMBS[name] for name in columns["thumb"]]
    return {name: torch.tensor(rows, dtype=torch.float32, device=device) for name, rows in columns.items()}
