"""The labels of a batch as the measures want them: float64, NaN where there is none.

Legend: B batch, 2 hands (right, left), V 778 vertices, J 21 joints; metres, camera frame, crop pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from common.hand.joints import LEFT, RIGHT, WRIST
from common.hand.mano import ManoLayer
from common.utils.geometry import IMAGE_SIZE, project
from common.utils.render import silhouettes

Prediction = Mapping[str, Tensor]
Batch = Mapping[str, Any]
Columns = dict[str, Tensor]


@dataclass(frozen=True)
class Truth:
    """The labels of a batch."""

    interacting: Tensor  # (B,) bool, by the hand type
    fit: Tensor  # (B,2) bool, the hand has a MANO fit
    seen: Tensor  # (B,2,J) bool, annotated and in the picture, wherever the crop ends
    verts: Tensor  # (B,2,V,3) of the fit, about the wrist regressed from it
    joints: Tensor  # (B,2,J,3) annotated, about the annotated wrist
    joint_pixels: Tensor  # (B,2,J,2) where they are drawn, also beyond the crop
    # Left minus right wrist (B,3). "fit": regressed from the meshes; "annotated": where both are seen.
    rel_trans: dict[str, Tensor]
    pixels: Tensor  # (B,2,V,2) of the vertices
    masks: Tensor  # (B,2,H,W) bool, silhouettes
    outlined: Tensor  # (B,2) bool, the silhouette is known


def place(verts: Tensor, rel_trans: Tensor) -> Tensor:
    """Meshes about their own wrists (B,2,V,3) -> both about the right wrist."""
    return torch.stack([verts[:, RIGHT], verts[:, LEFT] + rel_trans[:, None]], 1)


def read_truth(mano: ManoLayer, batch: Batch) -> Truth:
    """The labels of a batch with targets added (common/targets.py)."""
    K = batch["K"][:, None].double()
    fit = batch["pose_valid"].flatten(1) > 0
    verts = torch.where(fit[..., None, None], batch["verts_cam"].double(), torch.nan)
    root = batch["mano_root_cam"].double()  # (B,2,3)
    in_camera = verts + root[:, :, None]
    pixels = project(in_camera, K)
    joints = torch.where(batch["joints_cam_valid"] > 0, batch["joints_cam"].double(), torch.nan)
    fitted = torch.where(fit.all(1, keepdim=True), root[:, LEFT] - root[:, RIGHT], torch.nan)
    two_handed = [kind == "interacting" for kind in batch["hand_type"]]
    masks, outlined = _silhouettes(mano, batch, pixels, in_camera, fit)
    return Truth(
        interacting=torch.tensor(two_handed, device=fit.device),
        fit=fit,
        seen=batch["joints_seen"].squeeze(-1) > 0,
        verts=verts,
        joints=joints,
        joint_pixels=project(joints + batch["root_cam"].double()[:, :, None], K),
        rel_trans={"fit": fitted, "annotated": _annotated_translation(batch)},
        pixels=pixels,
        masks=masks,
        outlined=outlined,
    )


def _annotated_translation(batch: Batch) -> Tensor:
    """Left minus right annotated wrist (B,3), where both are annotated and seen."""
    seen = batch["joints_seen"][:, :, WRIST].flatten(1) > 0  # (B,2)
    valid = (batch["rel_trans_valid"] > 0) & seen.all(1, keepdim=True)
    return torch.where(valid, batch["rel_trans"].double(), torch.nan)


def _silhouettes(
    mano: ManoLayer, batch: Batch, pixels: Tensor, in_camera: Tensor, fit: Tensor
) -> tuple[Tensor, Tensor]:
    """Masks (B,2,H,W), given by the data set or drawn from the fits, and whether they are known (B,2)."""
    if "silhouette" in batch:
        return batch["silhouette"] > 0, batch["silhouette_valid"] > 0
    drawn = torch.cat([pixels, in_camera[..., 2:]], -1)
    return silhouettes(drawn, mano.faces, (IMAGE_SIZE,) * 2), fit
