"""Camera, crop and labels of placed hands, as the batch contract wants them.

Legend: B samples, 2 hands (right, left), V vertices, S spheres. Metres, camera frame, crop pixels.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from common.hand.joints import LEFT, RIGHT, WRIST
from common.utils.geometry import project
from data.Synthetic.draws import Draws

FOCAL = 1268.0  # InterHand2.6M's cameras
IMAGE_SIZE = (334, 512)


class Placed(NamedTuple):
    """Hands in the camera."""

    rotmat: Tensor  # (B,2,16,3,3), mean pose included
    shape: Tensor  # (B,2,10)
    verts: Tensor  # (B,2,V,3)
    joints: Tensor  # (B,2,21,3)
    pivot: Tensor  # (B,2,3)
    centres: Tensor  # (B,2,S,3) of the spheres
    exists: Tensor  # (B,2)


def draw_camera(draws: Draws, hands: Placed, size: int) -> dict[str, Tensor]:
    """Original camera, box about the hands, jittered crop: the camera keys of the contract."""
    image_size = draws.tensor(IMAGE_SIZE)
    focal = FOCAL * (1 + draws.normal(std=0.01))
    original = _zoom_and_shift(focal, draws.uniform(2, low=0.42, high=0.58) * image_size)
    box = hands_box(project(hands.verts, original[:, None]), hands.exists)
    side = box[:, 2] * (1 + 0.25 * draws.normal(limit=1))
    middle = box[:, :2] + box[:, 2:] / 2 + 0.15 * draws.normal(2, limit=1) * box[:, 2:]
    scale = size / side
    crop = _zoom_and_shift(scale, size / 2 - scale[:, None] * middle)
    sizes = image_size.repeat(draws.batch, 1)
    return {"K": crop @ original, "affine": crop[:, :2], "K_orig": original, "image_size": sizes, "box": box}


def _zoom_and_shift(zoom: Tensor, shift: Tensor) -> Tensor:
    """(B,), (B,2) -> (B,3,3)."""
    matrix = torch.eye(3, device=zoom.device).repeat(len(zoom), 1, 1)
    matrix[:, 0, 0] = matrix[:, 1, 1] = zoom
    matrix[:, :2, 2] = shift
    return matrix


def hands_box(pixels: Tensor, exists: Tensor) -> Tensor:
    """Box (B,4) x, y, w, h: tight around existing hands (B,2,V,2), squared, enlarged by 1.25."""
    there = exists[..., None, None] > 0
    low = torch.where(there, pixels, torch.inf).amin((1, 2))
    high = torch.where(there, pixels, -torch.inf).amax((1, 2))
    side = 1.25 * (high - low).amax(-1, keepdim=True)
    return torch.cat(((low + high - side) / 2, side, side), -1)


def make_labels(hands: Placed, K: Tensor, pose: Tensor, size: int) -> dict[str, Tensor]:
    """Labels and their validity; hands that do not exist are 0 with validity 0."""
    there = hands.exists
    hand, joint, both = there[..., None], there[..., None, None], there.prod(1, keepdim=True)
    root = hands.joints[:, :, WRIST]
    local = hands.joints - root[:, :, None]
    uv = project(hands.joints, K[:, None])
    inside = ((uv >= 0) & (uv <= size - 1)).all(-1, keepdim=True).float()
    labels = {  # value and validity
        "joints_img": (torch.cat((uv, local[..., 2:]), -1) * joint, inside * joint),
        "joints_cam": (local * joint, joint.expand_as(inside)),
        "root_cam": (root * hand, hand),
        "rel_trans": ((root[:, LEFT] - root[:, RIGHT]) * both, both),
        "pose": (pose * joint, joint),
        "shape": (hands.shape * hand, hand),
        "root_depth": (root[..., 2] * there, there),
    }
    values = {key: value for key, (value, _) in labels.items()} | {"pivot_cam": hands.pivot * hand}
    values["joints_seen"] = inside * joint
    return values | {f"{key}_valid": valid.clone() for key, (_, valid) in labels.items()}
