"""Camera, crop and labels of placed hands: the raw facts of the contract (data/base.py).

Legend: B samples, 2 hands (right, left), V vertices, S spheres. Metres, camera frame, crop pixels.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from common.hand.joints import WRIST
from common.utils.geometry import IMAGE_SIZE, inside_crop, project
from data.Synthetic.draws import Draws

FOCAL = 1268.0  # pixels, about that of InterHand2.6M's cameras
PICTURE_SIZE = (334, 512)  # width, height of InterHand2.6M's pictures in portrait


class Placed(NamedTuple):
    """Hands in the camera."""

    rotmat: Tensor  # (B,2,16,3,3), mean pose included
    shape: Tensor  # (B,2,10)
    verts: Tensor  # (B,2,V,3)
    joints: Tensor  # (B,2,21,3)
    pivot: Tensor  # (B,2,3)
    centres: Tensor  # (B,2,S,3) of the spheres
    exists: Tensor  # (B,2)
    kind: Tensor  # (B,) int64, which of placement.INTERACTIONS
    view: Tensor  # (B,) int64, which of poses.VIEWS


def draw_camera(draws: Draws, hands: Placed) -> dict[str, Tensor]:
    """Original camera, box about the hands, jittered crop: the camera keys of the contract."""
    picture_size = draws.tensor(PICTURE_SIZE)
    focal = FOCAL * (1 + draws.normal(std=0.01))
    original = _zoom_and_shift(focal, draws.uniform(2, low=0.42, high=0.58) * picture_size)
    box = hands_box(project(hands.verts, original[:, None]), hands.exists)
    side = box[:, 2] * (1 + 0.25 * draws.normal(limit=1))
    middle = box[:, :2] + box[:, 2:] / 2 + 0.15 * draws.normal(2, limit=1) * box[:, 2:]
    scale = IMAGE_SIZE / side
    crop = _zoom_and_shift(scale, IMAGE_SIZE / 2 - scale[:, None] * middle)
    sizes = picture_size.repeat(draws.batch, 1)
    return {"K": crop @ original, "affine": crop[:, :2], "K_orig": original, "image_size": sizes, "box": box}


def _zoom_and_shift(zoom: Tensor, shift: Tensor) -> Tensor:
    """(B,), (B,2) -> (B,3,3)."""
    matrix = torch.eye(3, device=zoom.device).repeat(len(zoom), 1, 1)
    matrix[:, 0, 0] = matrix[:, 1, 1] = zoom
    matrix[:, :2, 2] = shift
    return matrix


def hands_box(pixels: Tensor, exists: Tensor) -> Tensor:
    """Box (B,4) x, y, w, h: tight around existing hands (B,2,V,2), squared, enlarged by 1.25."""
    drawn = exists[..., None, None] > 0
    low = torch.where(drawn, pixels, torch.inf).amin((1, 2))
    high = torch.where(drawn, pixels, -torch.inf).amax((1, 2))
    side = 1.25 * (high - low).amax(-1, keepdim=True)
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
