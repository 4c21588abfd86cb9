"""Camera, crop and labels of placed hands: the raw facts of the contract (data/base.py).

Legend: B samples, 2 hands (right, left), V vertices, S spheres. Metres, camera frame, crop pixels.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from common.hand.joints import MIDDLE_MCP, WRIST
from common.utils.geometry import IMAGE_SIZE, inside_crop, project
from data.Synthetic.draws import Draws

# Pictures of people are taken with phones and webcams, some in a studio: how often, (lowest, highest) half
# field of view over the longer side in degrees, distance of the hands in metres.
STUDIO = 0.3
PHONE_LENS, STUDIO_LENS = ((25.0, 37.5), (0.3, 0.8)), ((9.0, 14.0), (0.8, 1.4))
LONG_SIDES = (512, 640, 960, 1280)  # pixels
ASPECTS = (9 / 16, 0.652, 3 / 4, 1.0)  # shorter by longer side; the second is InterHand2.6M's
NEAREST = (0.2, 0.12)  # least depth in metres of a hand's joints and of its forearm
FOREARM = 0.25  # metres
# Side of the crop by that of the tight box around the hands: what people and detectors cut out, whole
# pictures from near and from far, close-ups from which hands stick out; so often.
FACTORS, FACTOR_WEIGHTS = ((1.0, 1.3), (1.3, 2.2), (2.2, 5.0), (0.72, 1.0)), (0.62, 0.18, 0.1, 0.1)
BOX = 1.25  # side of the labelled box by that of the tight one


class Lens(NamedTuple):
    """What a picture is taken with, and where in it the hands are to be."""

    K: Tensor  # (B,3,3) of the original picture
    picture_size: Tensor  # (B,2) width, height
    ray: Tensor  # (B,3) towards the hands, depth 1
    depth: Tensor  # (B,)


class Placed(NamedTuple):
    """Hands in the camera."""

    rotmat: Tensor  # (B,2,16,3,3), mean pose included
    shape: Tensor  # (B,2,10)
    verts: Tensor  # (B,2,V,3)
    joints: Tensor  # (B,2,21,3)
    pivot: Tensor  # (B,2,3)
    centres: Tensor  # (B,2,S,3) of the spheres
    exists: Tensor  # (B,2)
    kind: Tensor  # (B,) int64, which of interactions.INTERACTIONS
    view: Tensor  # (B,) int64, which of poses.VIEWS
    K_orig: Tensor  # (B,3,3) camera matrix of the original picture
    image_size: Tensor  # (B,2) its width and height


def draw_lens(draws: Draws) -> Lens:
    """Draw the original picture's camera and where the hands are before it."""
    longer = draws.tensor(LONG_SIDES)[draws.one_of(len(LONG_SIDES))]
    shorter = longer * draws.tensor(ASPECTS)[draws.one_of(len(ASPECTS))]
    upright = draws.chance(0.5, 1) > 0
    size = torch.where(
        upright, torch.stack((shorter, longer), -1), torch.stack((longer, shorter), -1)
    ).round()
    studio = draws.chance(STUDIO).long()
    limits = draws.tensor((PHONE_LENS, STUDIO_LENS))[studio]  # (B,2,2)
    angle, depth = (limits[..., 0] + (limits[..., 1] - limits[..., 0]) * draws.uniform(2)).unbind(-1)
    focal = longer / 2 / torch.deg2rad(angle).tan()
    centre = draws.uniform(2, low=0.47, high=0.53) * size
    pixel = draws.uniform(2, low=0.25, high=0.75) * size
    ray = torch.cat(((pixel - centre) / focal[:, None], torch.ones_like(depth)[:, None]), -1)
    return Lens(_zoom_and_shift(focal, centre), size, ray, depth)


def in_front(ray: Tensor, depth: Tensor, joints: Tensor) -> Tensor:
    """Place (B,3) along the rays (B,3), at the depth (B,) or as much farther as hands and forearms need to
    be before the camera; joints (B,2,21,3) about that place."""
    hand, wrist, knuckle = joints[..., 2], joints[:, :, WRIST, 2], joints[:, :, MIDDLE_MCP, 2]
    length = (joints[:, :, MIDDLE_MCP] - joints[:, :, WRIST]).norm(dim=-1)
    elbow = wrist + (wrist - knuckle) * FOREARM / length
    needed = torch.maximum(NEAREST[0] - hand.amin((1, 2)), NEAREST[1] - elbow.amin(1))
    return ray * torch.maximum(depth, needed)[:, None]


def draw_camera(draws: Draws, hands: Placed) -> dict[str, Tensor]:
    """Box about the hands and a jittered crop: the camera keys of the contract."""
    original = hands.K_orig
    none = hands.exists.sum(1, keepdim=True) == 0  # then about where both would have been
    box = hands_box(project(hands.verts, original[:, None]), torch.where(none, 1, hands.exists))
    tight = box[:, 2:] / BOX
    framing = draws.pick(draws.tensor(FACTOR_WEIGHTS))
    low, high = draws.tensor(FACTORS)[framing].log().unbind(-1)
    side = tight[:, 0] * (low + (high - low) * draws.uniform()).exp()
    # hands stay in a wide picture, wherever they are; of a narrow one they may stick out
    room = (side[:, None] - tight).clamp(min=0) / 2 + 0.1 * tight
    middle = box[:, :2] + box[:, 2:] / 2 + draws.uniform(2, low=-1) * room
    scale = IMAGE_SIZE / side
    crop = _zoom_and_shift(scale, IMAGE_SIZE / 2 - scale[:, None] * middle)
    return {
        "K": crop @ original,
        "affine": crop[:, :2],
        "K_orig": original,
        "image_size": hands.image_size,
        "box": box,
    }


def _zoom_and_shift(zoom: Tensor, shift: Tensor) -> Tensor:
    """(B,), (B,2) -> (B,3,3)."""
    matrix = torch.eye(3, device=zoom.device).repeat(len(zoom), 1, 1)
    matrix[:, 0, 0] = matrix[:, 1, 1] = zoom
    matrix[:, :2, 2] = shift
    return matrix


def hands_box(pixels: Tensor, exists: Tensor) -> Tensor:
    """Box (B,4) x, y, w, h: tight around existing hands (B,2,V,2), squared, enlarged by BOX."""
    drawn = exists[..., None, None] > 0
    low = torch.where(drawn, pixels, torch.inf).amin((1, 2))
    high = torch.where(drawn, pixels, -torch.inf).amax((1, 2))
    side = BOX * (high - low).amax(-1, keepdim=True)
    return torch.cat(((low + high - side) / 2, side, side), -1)


def make_labels(hands: Placed, K: Tensor, pose: Tensor) -> dict[str, Tensor]:
    """Raw facts of the hands and their validity; hands that do not exist are 0 with validity 0."""
    exists = hands.exists
    hand, joint = exists[..., None], exists[..., None, None]
    # a synthetic picture is its crop: what lies outside is nowhere to be seen
    in_picture = inside_crop(project(hands.joints, K[:, None]))[..., 0]  # (B,2,21)
    return {
        "joints": hands.joints * joint,
        "joints_valid": hand.repeat(1, 1, hands.joints.shape[2]),
        "in_picture": in_picture * hand,
        "pose": pose * joint,
        "pose_valid": joint.clone(),
        "shape": hands.shape * hand,
        "shape_valid": hand.clone(),
        "pivot_cam": hands.pivot * hand,
        "root_depth": hands.joints[:, :, WRIST, 2] * exists,
        "root_depth_valid": exists.clone(),
    }
