"""Finger poses within joint limits, and how a hand is turned.

Everything is written for a right hand in MANO's axes (fingers -x, palm -y, thumb +z); the left one
is its mirror image. Angles are in degrees here and become rotations at the end.

Legend: B samples, 2 hands; fingers run index, middle, ring, pinky; 16 MANO joints.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from common.hand.joints import LEFT, MANO_FINGERS, MANO_JOINT_NAMES
from common.utils.geometry import axis_angle_to_matrix
from data.Synthetic.draws import Draws

FINGERS = ("index", "middle", "ring", "pinky")
PALM = (0.0, -1.0, 0.0)

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


def finger_angles(draws: Draws, family: Tensor) -> tuple[Tensor, Tensor]:
    """Hand shapes from families (B,2) -> flexion (B,2,4,3) and abduction (B,2,4), degrees."""
    limits = torch.tensor(list(FAMILIES.values()), device=family.device)[family]  # (B,2,4,2)
    curl = limits[..., 0] + (limits[..., 1] - limits[..., 0]) * draws.uniform(2, 4)
    # Fingers pull each other along, but for a pointing one.
    pull = torch.where(family == POINTING, 0.0, 0.3)[..., None]
    curl = torch.lerp(curl, curl.mean(-1, keepdim=True).expand_as(curl), pull)
    knuckle = (curl + draws.normal(2, 4, std=0.1)).clamp(0, 1)
    middle = (curl + draws.normal(2, 4, std=0.1)).clamp(0, 1)
    first = knuckle * 92 - 12
    second = middle * 98 + 2
    third = second * draws.uniform(2, 4, low=0.45, high=0.7)  # DIP follows PIP (shared tendon)
    spread = torch.tensor(SPREAD, device=curl.device)
    closed = torch.tensor(CLOSED, device=curl.device)
    # Flexed fingers converge: they cannot stay spread.
    closing = (draws.uniform(2, 1, low=-0.1, high=1.0) + 0.8 * curl).clamp(max=1)
    abduction = spread + (closed - spread) * closing + draws.normal(2, 4, std=2.0, limit=2)
    return torch.stack((first, second, third), -1), abduction


def thumb_angles(draws: Draws, family: Tensor) -> Tensor:
    """(B,2,4) degrees: opposition (towards the palm), adduction, flexion of MCP and of IP."""
    low = torch.tensor((-8.0, -22.0, -5.0, -8.0), device=family.device)
    high = torch.tensor((45.0, 12.0, 40.0, 60.0), device=family.device)
    free = low + (high - low) * draws.uniform(2, 4)
    # Beside or over curled fingers the thumb has less room.
    fist = torch.tensor((42.0, -5.0, 30.0, 35.0), device=family.device) + draws.normal(2, 4, std=5)
    curled = ((family == FIST) | (family == POINTING))[..., None]
    return torch.where(curled, fist, free)


def finger_axes(rest_joints: Tensor) -> Tensor:
    """Flexion axes (15,3) of joints 1..15 from the right hand's rest skeleton (16,3)."""
    palm = rest_joints.new_tensor(PALM)
    rows = []
    for finger in MANO_FINGERS:
        first = MANO_JOINT_NAMES.index(f"{finger}1")
        along = functional.normalize(rest_joints[first + 2] - rest_joints[first], dim=0)
        inward = palm
        if finger == "thumb":  # its pad looks half to the palm, half to the other fingers
            inward = functional.normalize(palm + rest_joints.new_tensor((0.25, 0.0, -0.8)), dim=0)
        rows.append(functional.normalize(torch.linalg.cross(along, inward), dim=0).expand(3, 3))
    return torch.cat(rows)


def finger_rotations(draws: Draws, family: Tensor, axes: Tensor) -> Tensor:
    """Rotations (B,2,15,3,3) of joints 1..15, both hands as right hands; axes: `finger_axes`."""
    flexion, abduction = finger_angles(draws, family)
    thumb = thumb_angles(draws, family)
    order = [FINGERS.index(name) for name in MANO_FINGERS if name != "thumb"]
    bend = torch.cat((flexion[:, :, order].flatten(2), torch.zeros_like(thumb[..., :1])), -1)
    bend = torch.cat((bend, thumb[..., 2:]), -1)  # (B,2,15)
    rotation = rotate(axes, bend)
    side = rotate(axes.new_tensor((0.0, 1.0, 0.0)), abduction[:, :, order])
    knuckles = list(range(0, 12, 3))
    rotation[:, :, knuckles] = side @ rotation[:, :, knuckles]
    opposed = rotate(axes.new_tensor((1.0, 0.0, 0.0)), thumb[..., 0])
    rotation[:, :, 12] = opposed @ rotate(axes.new_tensor((0.0, 1.0, 0.0)), thumb[..., 1])
    return rotation


def rotate(axis: Tensor, degrees: Tensor) -> Tensor:
    """Rotation matrices (...,3,3) about unit axes (...,3) by angles (...)."""
    return axis_angle_to_matrix(axis * torch.deg2rad(degrees)[..., None])


def mirror_left(rotation: Tensor) -> Tensor:
    """Rotations of two right hands (B,2,...,3,3) -> those at LEFT mirrored in x."""
    signs = rotation.new_ones(2, 3, 3)
    signs[LEFT, 0, 1:] = signs[LEFT, 1:, 0] = -1
    return rotation * signs.view(1, 2, *[1] * (rotation.dim() - 4), 3, 3)


def facing(fingers: Tensor, palm: Tensor) -> Tensor:
    """Rotation (...,3,3) that turns a right hand's fingers (...,3) and palm (...,3) that way."""
    x = -functional.normalize(fingers, dim=-1)
    y = -functional.normalize(palm - (palm * x).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack((x, y, torch.linalg.cross(x, y)), -1)


def random_turn(draws: Draws, degrees: Tensor, *shape: int) -> Tensor:
    """Rotations (B,*shape,3,3) about random axes by normal angles of that many degrees."""
    axis = functional.normalize(draws.normal(*shape, 3), dim=-1)
    return rotate(axis, draws.normal(*shape, limit=2) * degrees)


def view_rotation(draws: Draws, cone: float, roll: float) -> Tensor:
    """Body frame (x right, y down, z away from the person) -> camera, (B,3,3).

    The camera sits before the person or looks over the shoulder, tilted from there by up to `cone`
    degrees in any direction and rolled in the picture plane by up to `roll` degrees.
    """
    device = draws.device
    views = torch.tensor(VIEWS, device=device)
    yaw_pitch = views[draws.pick(torch.ones(len(VIEWS), device=device))]  # (B,2)
    yaw = rotate(torch.tensor((0.0, 1.0, 0.0), device=device), yaw_pitch[:, 0])
    pitch = rotate(torch.tensor((1.0, 0.0, 0.0), device=device), yaw_pitch[:, 1])
    angle = draws.uniform(high=2 * math.pi)
    axis = torch.stack((angle.cos(), angle.sin(), torch.zeros_like(angle)), -1)
    tilt = rotate(axis, draws.uniform(high=cone))
    turn = rotate(torch.tensor((0.0, 0.0, 1.0), device=device), draws.uniform(low=-roll, high=roll))
    return turn @ tilt @ pitch @ yaw


VIEWS = ((0.0, 30.0), (180.0, 10.0))  # yaw and pitch, degrees: over the shoulder, from the front
