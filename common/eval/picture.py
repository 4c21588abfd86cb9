"""Predicted meshes against the picture: vertices in pixels, boxes, silhouettes.

Legend: B batch, 2 hands (right, left), V 778 vertices, J 21 joints; crop pixels unless said otherwise.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from common.eval.truth import Batch, Columns, Prediction, Truth
from common.hand.joints import LEFT, RIGHT
from common.hand.mano import ManoLayer
from common.utils.geometry import IMAGE_SIZE, fit_weak_perspective, weak_perspective
from common.utils.render import silhouettes

BOX_SCALE = 1.2


class Boxes(NamedTuple):
    """Corners in pixels of the original picture; NaN where there is no box."""

    low: Tensor  # (B,2,2)
    high: Tensor


def pixel_columns(key: str, mano: ManoLayer, pred: Prediction, batch: Batch, truth: Truth) -> Columns:
    """What the mesh pred[key] (B,2,V,3) looks like; {} for predictions without cameras or 2-D joints."""
    verts = pred[key]
    cam = _camera(mano, pred, verts)
    if cam is None:
        return {}
    pixels = weak_perspective(verts, cam)
    drawn = torch.cat([pixels, verts[..., 2:]], -1)
    masks = silhouettes(drawn, mano.faces, (IMAGE_SIZE,) * 2, perspective=False)
    overlap = _mask_overlap(masks, truth.masks)  # (B,3)
    comparable = truth.outlined & torch.isfinite(pixels).flatten(2).all(-1)
    return {
        "vertex_px": (pixels - truth.pixels).norm(dim=-1).mean(-1),
        "swapped": _swapped(pixels, truth),
        "IoU": torch.where(comparable, overlap[:, :2], torch.nan),
        "IoU_both": torch.where(comparable.all(1), overlap[:, 2], torch.nan),
        **_box_columns(pixels, batch, truth),
    }


def joint_distance(pred: Prediction, batch: Batch) -> Tensor:
    """Distance (B,2,J) of the predicted 2-D joints from the annotated ones inside the crop."""
    valid = batch["joints_img_valid"].squeeze(-1) > 0
    distance = (pred["joints_img"][..., :2] - batch["joints_img"][..., :2]).norm(dim=-1)
    return torch.where(valid, distance, torch.nan)


def _camera(mano: ManoLayer, pred: Prediction, verts: Tensor) -> Tensor | None:
    """The predicted weak-perspective cameras (B,2,3), or those that best draw the predicted 2-D joints."""
    if "cam" in pred:
        return pred["cam"]
    if "joints_img" not in pred:
        return None
    joints = mano.get_buffer("regressor_interhand").double() @ verts
    return fit_weak_perspective(joints, pred["joints_img"][..., :2])


def _swapped(pixels: Tensor, truth: Truth) -> Tensor:
    """Two hands drawn in each other's place (B,), 100 or 0: by the mean distance of its vertices (B,2,V,2)
    each predicted hand is nearer the other true one. Vertices of both hands correspond."""
    apart = pixels[:, :, None] - truth.pixels[:, None]  # (B,predicted,true,V,2)
    distance = apart.norm(dim=-1).mean(-1)
    own = distance.diagonal(dim1=1, dim2=2)  # (B,2)
    other = torch.stack([distance[:, RIGHT, LEFT], distance[:, LEFT, RIGHT]], 1)
    known = torch.isfinite(distance).flatten(1).all(1) & truth.interacting
    return torch.where(known, 100.0 * (other < own).all(1), torch.nan)


# ---- silhouettes ----


def _mask_overlap(a: Tensor, b: Tensor) -> Tensor:
    """IoU (B,3) of masks (B,2,H,W): of each hand, and of both hands together."""
    a, b = _and_both(a), _and_both(b)
    shared = _count(a & b)
    return (shared / (_count(a) + _count(b) - shared).clamp_min(1)).double()


def _and_both(masks: Tensor) -> Tensor:
    """Masks (B,2,H,W) -> (B,3,HW) with that of both hands."""
    both = masks[:, RIGHT] | masks[:, LEFT]
    return torch.cat([masks, both[:, None]], 1).flatten(2)


def _count(masks: Tensor) -> Tensor:
    """How many pixels of masks (...,HW) are set: (...,) float32, exact.

    Eight pixels are added at once, each in a byte of its own of a long integer, which holds 255 of them:
    a hundred times faster on a CPU than the sum of booleans. HW is a multiple of 1,024.
    """
    eights = masks.view(torch.int64).unflatten(-1, (-1, 128)).sum(-1)
    return eights.view(torch.uint8).sum(-1).float()


# ---- boxes ----


def _box_columns(pixels: Tensor, batch: Batch, truth: Truth) -> Columns:
    """IoU (B,2) of 1.2 times the tight box of the drawn vertices (B,2,V,2) with either true box, see
    Protocol.box; boxes are upright in the original picture."""
    affine = batch["affine"].double()
    predicted = _box(_in_picture(pixels, affine))
    mesh = _box(_in_picture(truth.pixels, affine))
    if "mesh_cam" in batch:  # the labels are meshes, and the joints are theirs
        joints = mesh
    else:
        joints = _box(_in_picture(truth.joint_pixels, affine), truth.seen)
        joints = _cut(joints, batch["image_size"].double())
    return {"box_IoU/mesh": _box_overlap(predicted, mesh), "box_IoU/joints": _box_overlap(predicted, joints)}


def _in_picture(pixels: Tensor, affine: Tensor) -> Tensor:
    """Crop pixels (B,2,N,2) -> pixels of the original picture, by `affine` (B,2,3) from it to the crop."""
    turn, shift = affine[:, None, :, :2], affine[:, None, None, :, 2]
    return (pixels - shift) @ torch.linalg.inv(turn).mT


def _box(points: Tensor, valid: Tensor | None = None) -> Boxes:
    """1.2 times the tight box of points (B,2,N,2), of the valid (B,2,N) ones; a single one spans none."""
    if valid is None:
        low, high = points.amin(-2), points.amax(-2)
    else:
        low = torch.where(valid[..., None], points, torch.inf).amin(-2)
        high = torch.where(valid[..., None], points, -torch.inf).amax(-2)
        low = torch.where(valid.sum(-1, keepdim=True) >= 2, low, torch.nan)
    margin = (BOX_SCALE - 1) / 2 * (high - low)
    return Boxes(low - margin, high + margin)


def _cut(boxes: Boxes, size: Tensor) -> Boxes:
    """Boxes cut to pictures of `size` (B,2), width and height."""
    last = size[:, None] - 1  # pixel centres are whole numbers
    return Boxes(torch.minimum(boxes.low.clamp_min(0), last), torch.minimum(boxes.high.clamp_min(0), last))


def _box_overlap(a: Boxes, b: Boxes) -> Tensor:
    shared = _area(Boxes(torch.maximum(a.low, b.low), torch.minimum(a.high, b.high)))
    return shared / (_area(a) + _area(b) - shared)


def _area(boxes: Boxes) -> Tensor:
    return (boxes.high - boxes.low).clamp_min(0).prod(-1)
