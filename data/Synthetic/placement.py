"""Two hands that meet neither penetrate nor miss each other.

Spheres along the bones stand in for the hands: their distances are a small table.

Legend: B samples, 2 hands, S spheres per hand. Metres.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from common.hand.joints import BONES, JOINT_NAMES, LEFT, MIDDLE_MCP, RIGHT, TIPS, WRIST

# Spheres as (joint, joint, share of the way). The last three continue the arm behind the wrist.
SPHERES = (
    *((a, b, t) for a, b in BONES if a == WRIST for t in (0.1, 0.4, 0.65, 0.88)),
    *((a, b, t) for a, b in BONES if a != WRIST for t in (0.0, 0.5)),
    *((tip - 1, tip, 0.85) for tip in TIPS),
    *((WRIST, MIDDLE_MCP, t) for t in (-0.35, -0.75, -1.2)),
)
ARM_SPHERES = 3
# Shadows need fewer: two in each bone of the palm, one in each of the fingers, and the arm.
SHADING = tuple(
    i
    for i, (near, _, share) in enumerate(SPHERES)
    if share < 0 or share == (0.4 if near == WRIST else 0.5) or share == 0.88
)
ARM_RADIUS = 0.026
SOFT = 0.002  # metres that skin gives way where hands touch
AWAY = 0.9  # how much hands are moved apart in the direction of their interaction


def sphere_weights(device: torch.device) -> Tensor:
    """(S,21): sphere centres as sums of joints."""
    rows = torch.zeros(len(SPHERES), len(JOINT_NAMES), device=device)
    for row, (near, far, share) in zip(rows, SPHERES, strict=True):
        row[near] += 1 - share
        row[far] += share
    return rows


def sphere_radii(centres: Tensor, verts: Tensor, nearest: int = 8) -> Tensor:
    """Radii (S,) on a resting hand: mean distance of centres (S,3) to their nearest vertices."""
    radius = torch.cdist(centres, verts).topk(nearest, largest=False).values.mean(-1).clamp(0.005, 0.017)
    radius[-ARM_SPHERES:] = ARM_RADIUS
    return radius


def overlap(centres: Tensor, radii: Tensor) -> Tensor:
    """(B,S,S) how deep each right sphere sits in each left one; centres (B,2,S,3), radii (S,)."""
    distance = torch.cdist(centres[:, RIGHT], centres[:, LEFT], compute_mode="donot_use_mm_for_euclid_dist")
    return radii[:, None] + radii - distance


def separate(
    centres: Tensor, radii: Tensor, touch: Tensor, away: Tensor, steps: int = 16, last: int = 6
) -> Tensor:
    """Shift (B,3) of the left hand after which the hands only touch.

    The worst pair of spheres is moved apart `steps` times, half in its own direction, so that fingers find
    their gaps, half along `away` (B,3), so that a hand stays on its side; what is not free then is moved
    along `away`. Where `touch` (B,) is 1, hands that are apart are brought together likewise.
    """
    shift = torch.zeros_like(away)
    batch = torch.arange(len(away), device=away.device)
    # hands that mirror each other have two worst pairs, between which rounding must not decide
    prefer = torch.linspace(0, 1e-4, len(radii) ** 2, device=away.device)
    for step in range(steps + last):
        moved = torch.stack((centres[:, RIGHT], centres[:, LEFT] + shift[:, None]), 1)
        depths = overlap(moved, radii).flatten(1)
        pair = (depths + prefer).argmax(1)
        depth = depths[batch, pair] - SOFT * touch
        right, left = pair.div(len(radii), rounding_mode="floor"), pair % len(radii)
        gap = normalize(moved[batch, LEFT, left] - moved[batch, RIGHT, right], dim=-1)
        direction = normalize(gap + AWAY * away, dim=-1)
        depth = torch.where(touch > 0, depth, depth.clamp(min=0))
        depth = depth / (direction * gap).sum(-1).clamp(min=0.5)  # so far that this pair only touches
        if step >= steps:
            direction, depth = away, torch.where(depth > 0.001, depth + 0.003, 0)
        shift = shift + depth[:, None] * direction
    return shift
