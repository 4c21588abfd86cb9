"""Finger poses within joint limits, and how a hand is turned.

Everything is written for a right hand in MANO's axes (fingers -x, palm -y, thumb +z); the left one
is its mirror image. Angles are in degrees here and become rotations at the end. The tables are by eye.

Legend: B samples, 2 hands; fingers run index, middle, ring, pinky; 16 MANO joints.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from common.hand.joints import FINGERS, LEFT, MANO_FINGERS, MANO_JOINT_NAMES, RIGHT
from common.hand.mirror import mirror_rotation
from common.utils.geometry import axis_angle_to_matrix
from data.Synthetic.draws import Draws

LONG_FINGERS = FINGERS[1:]  # index, middle, ring, pinky
PALM = (0.0, -1.0, 0.0)
VIEWS = {"own": (0.0, 30.0), "front": (180.0, 10.0)}  # yaw, pitch: over the shoulder, from ahead

# Curl (0 straight, 1 fist) of each finger: lowest and highest per family of hand shapes.
FAMILIES = {
    "open": ((0.0, 0.2),) * 4,
    "relaxed": ((0.1, 0.35), (0.15, 0.4), (0.2, 0.45), (0.2, 0.5)),
    "half": ((0.3, 0.65),) * 4,
    "fist": ((0.75, 1.0),) * 4,
    "pointing": ((0.0, 0.2), (0.6, 1.0), (0.7, 1.0), (0.7, 1.0)),
    "pinch": ((0.4, 0.55), (0.1, 0.5), (0.05, 0.4), (0.0, 0.4)),
    "free": ((0.0, 1.0),) * 4,
}
FIST, POINTING = list(FAMILIES).index("fist"), list(FAMILIES).index("pointing")

# Degrees towards the thumb, index to pinky, of spread and of closed fingers; 0 is the rest pose.
SPREAD = (9.0, 2.0, -4.0, -7.0)
CLOSED = (-8.0, 1.0, 7.0, 18.0)
# Thumb: opposition (towards the palm), adduction, flexion of MCP and of IP; lowest, highest, with a fist.
THUMB = ((-8.0, -22.0, -5.0, -8.0), (45.0, 12.0, 40.0, 60.0), (42.0, -5.0, 30.0, 35.0))


def finger_angles(draws: Draws, family: Tensor) -> tuple[Tensor, Tensor]:
    """Hand shapes from families (B,2) -> flexion (B,2,4,3) and abduction (B,2,4), degrees."""
    low, high = draws.tensor(list(FAMILIES.values()))[family].unbind(-1)  # (B,2,4)
    curl = low + (high - low) * draws.uniform(2, 4)
    # Fingers pull each other along, but for a pointing one.
    pull = torch.where(family == POINTING, 0.0, 0.3)[..., None]
    curl = torch.lerp(curl, curl.mean(-1, keepdim=True).expand_as(curl), pull)
    knuckle, middle = ((curl + draws.normal(2, 4, std=0.1)).clamp(0, 1) for _ in range(2))
    first, second = knuckle * 92 - 12, middle * 98 + 2
    third = second * draws.uniform(2, 4, low=0.45, high=0.7)  # DIP follows PIP (shared tendon)
    spread, closed = draws.tensor(SPREAD), draws.tensor(CLOSED)
    # Flexed fingers converge: they cannot stay spread.
    closing = (draws.uniform(2, 1, low=-0.1, high=1.0) + 0.8 * curl).clamp(max=1)
    abduction = spread + (closed - spread) * closing + draws.normal(2, 4, std=2.0, limit=2)
    return torch.stack((first, second, third), -1), abduction


def thumb_angles(draws: Draws, family: Tensor) -> Tensor:
    """(B,2,4) degrees, see THUMB."""
    low, high, fist = draws.tensor(THUMB)
    free = low + (high - low) * draws.uniform(2, 4)
    # Beside or over curled fingers the thumb has less room.
    curled = ((family == FIST) | (family == POINTING))[..., None]
    return torch.where(curled, fist + draws.normal(2, 4, std=5), free)


def finger_axes(rest_joints: Tensor) -> Tensor:
    """Flexion axes (15,3) of joints 1..15 from the right hand's rest skeleton (16,3)."""
    palm = rest_joints.new_tensor(PALM)
    # the thumb's pad looks half to the palm, half to the other fingers
    pad = normalize(palm + rest_joints.new_tensor((0.25, 0.0, -0.8)), dim=0)
    axes = []
    for finger in MANO_FINGERS:
        first = MANO_JOINT_NAMES.index(f"{finger}1")
        along = normalize(rest_joints[first + 2] - rest_joints[first], dim=0)
        axis = torch.linalg.cross(along, pad if finger == "thumb" else palm)
        axes.append(normalize(axis, dim=0).expand(3, 3))
    return torch.cat(axes)


def finger_rotations(draws: Draws, family: Tensor, axes: Tensor) -> Tensor:
    """Rotations (B,2,15,3,3) of joints 1..15, both hands as right hands; axes: `finger_axes`."""
    flexion, abduction = finger_angles(draws, family)
    thumb = thumb_angles(draws, family)
    order = [LONG_FINGERS.index(name) for name in MANO_FINGERS if name != "thumb"]
    none = torch.zeros_like(thumb[..., :1])
    bend = torch.cat((flexion[:, :, order].flatten(2), none, thumb[..., 2:]), -1)  # (B,2,15)
    rotation = rotate(axes, bend)
    x, y, _ = torch.eye(3, device=axes.device)
    rotation[:, :, 0:12:3] = rotate(y, abduction[:, :, order]) @ rotation[:, :, 0:12:3]
    rotation[:, :, 12] = rotate(x, thumb[..., 0]) @ rotate(y, thumb[..., 1])
    return rotation


def rotate(axis: Tensor, degrees: Tensor) -> Tensor:
    """Rotation matrices (...,3,3) about unit axes (...,3) by angles (...)."""
    return axis_angle_to_matrix(axis * torch.deg2rad(degrees)[..., None])


def mirror_left(rotation: Tensor) -> Tensor:
    """Rotations of two right hands (B,2,...,3,3) -> those at LEFT mirrored in x."""
    return torch.stack((rotation[:, RIGHT], mirror_rotation(rotation[:, LEFT])), 1)


def facing(fingers: Tensor, palm: Tensor) -> Tensor:
    """Rotation (...,3,3) that turns a right hand's fingers (...,3) and palm (...,3) that way."""
    x = -normalize(fingers, dim=-1)
    y = -normalize(palm - (palm * x).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack((x, y, torch.linalg.cross(x, y)), -1)


def random_turn(draws: Draws, degrees: Tensor, *shape: int) -> Tensor:
    """Rotations (B,*shape,3,3) about random axes by normal angles of that many degrees."""
    axis = normalize(draws.normal(*shape, 3), dim=-1)
    return rotate(axis, draws.normal(*shape, limit=2) * degrees)


def view_rotation(draws: Draws, view: str, cone: float, roll: float) -> tuple[Tensor, Tensor]:
    """Which of VIEWS (B,) and the body frame (x right, y down, z away from the person) -> camera (B,3,3).

    The named one of VIEWS, or "any" of them, tilted by up to `cone` degrees in any direction and rolled
    in the picture plane by up to `roll` degrees either way.
    """
    x, y, z = torch.eye(3, device=draws.device)
    drawn = draws.one_of(len(VIEWS))
    drawn = drawn if view == "any" else torch.full_like(drawn, list(VIEWS).index(view))
    yaw, pitch = draws.tensor(list(VIEWS.values()))[drawn].unbind(-1)  # (B,)
    towards = draws.uniform(1, high=2 * math.pi)
    tilt = rotate(towards.cos() * x + towards.sin() * y, draws.uniform(high=cone))
    turn = rotate(z, draws.uniform(low=-roll, high=roll))
    return drawn, turn @ tilt @ rotate(x, pitch) @ rotate(y, yaw)
