"""Finger poses within joint limits, and how a hand is turned and seen.

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
from common.utils.geometry import axis_angle_to_matrix, rotation_6d_to_matrix
from data.Synthetic.draws import Draws
from data.Synthetic.families import CLOSED, SPREAD

LONG_FINGERS = FINGERS[1:]  # index, middle, ring, pinky
PALM = (0.0, -1.0, 0.0)
# Yaw and pitch, and what is added to the yaw half of the time: over the shoulder, from ahead, from above
# with the person below or above in the picture, from either side, from anywhere at any roll.
VIEWS = {
    "own": (0.0, 30.0, 0.0),
    "front": (180.0, 10.0, 0.0),
    "above": (0.0, 75.0, 180.0),
    "side": (90.0, 15.0, 180.0),
    "free": (0.0, 0.0, 0.0),
}
FREE = list(VIEWS).index("free")
VIEW_WEIGHTS = (0.25, 0.42, 0.11, 0.1, 0.12)  # of "any"; people take most pictures from ahead


def finger_angles(draws: Draws, family: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Hand shapes from drawn families (B,2,...) -> flexion (B,2,4,3) and abduction (B,2,4), degrees."""
    curl = _between(family["curl"], draws.uniform(2, 4))
    # Fingers pull each other along.
    curl = torch.lerp(curl, curl.mean(-1, keepdim=True).expand_as(curl), family["pull"][..., None])
    lean = _between(family["lean"], draws.uniform(2))[..., None] / 2
    loose = family["loose"][..., None]
    knuckle = (curl + lean + draws.normal(2, 4) * loose).clamp(0, 1)
    middle = (curl - lean + draws.normal(2, 4) * loose).clamp(0, 1)
    first, second = knuckle * 92 - 12, middle * 98 + 2
    third = second * draws.uniform(2, 4, low=0.45, high=0.7)  # DIP follows PIP (shared tendon)
    spread, closed = draws.tensor(SPREAD), draws.tensor(CLOSED)
    # Flexed fingers converge: they cannot stay spread.
    closing = (_between(family["closing"], draws.uniform(2))[..., None] + 0.8 * knuckle.square()).clamp(max=1)
    abduction = spread + (closed - spread) * closing + 25 * loose * draws.normal(2, 4, limit=2)
    return torch.stack((first, second, third), -1), abduction


def _between(limits: Tensor, share: Tensor) -> Tensor:
    """limits (...,2) lowest and highest, share (...)."""
    low, high = limits.unbind(-1)
    return low + (high - low) * share


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


def finger_rotations(draws: Draws, family: dict[str, Tensor], axes: Tensor) -> Tensor:
    """Rotations (B,2,15,3,3) of joints 1..15, both hands as right hands; axes: `finger_axes`."""
    flexion, abduction = finger_angles(draws, family)
    thumb = _between(family["thumb"], draws.uniform(2, 4))
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
    in the picture plane by up to `roll` degrees either way; the free one is any rotation.
    """
    x, y, z = torch.eye(3, device=draws.device)
    drawn = draws.pick(draws.tensor(VIEW_WEIGHTS))
    drawn = drawn if view == "any" else torch.full_like(drawn, list(VIEWS).index(view))
    yaw, pitch, other = draws.tensor(list(VIEWS.values()))[drawn].unbind(-1)  # (B,)
    yaw = yaw + other * draws.chance(0.5)
    towards = draws.uniform(1, high=2 * math.pi)
    far = draws.uniform().pow(1.5)  # most people hold a camera about straight
    tilt = rotate(towards.cos() * x + towards.sin() * y, cone * far)
    turn = rotate(z, draws.uniform(low=-roll, high=roll))
    rotation = turn @ tilt @ rotate(x, pitch) @ rotate(y, yaw)
    anywhere = rotation_6d_to_matrix(draws.normal(6))
    return drawn, torch.where((drawn == FREE)[:, None, None], anywhere, rotation)
