"""What a batch of labels becomes on the device: MANO once per batch, projection, validity."""

from typing import Any

import torch
from torch import Tensor

from common.hand.joints import WRIST
from common.hand.mano import ManoLayer
from common.utils.geometry import IMAGE_SIZE, project


def to_device(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Tensors to the device, lists as they are."""
    return {k: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in batch.items()}


@torch.no_grad()
def add_targets(batch: dict[str, Any], mano: ManoLayer) -> dict[str, Any]:
    """The batch with what follows from the MANO fit (the mesh, not the annotation); metres, pixels:

    verts_cam (B,2,778,3) and mano_joints_cam (B,2,21,3), relative to the wrist regressed from the
    mesh; mano_root_cam (B,2,3), that wrist in the camera; mano_joints_img (B,2,21,3) u, v, depth
    about it, with mano_joints_img_valid (B,2,21,1) where inside the crop; rotmat (B,2,16,3,3).
    Where a data set gives its vertices (mesh_cam), they are the mesh, and pose gives rotmat alone.
    Hands without a fit hold zeros; their validity is pose_valid.
    """
    valid = batch["pose_valid"]  # (B,2,1,1)
    rotmat = mano.rotations(batch["pose"])
    if "mesh_cam" in batch:
        verts, pivot = batch["mesh_cam"], torch.zeros_like(batch["pivot_cam"])
    else:
        verts = mano.skin(rotmat, batch["shape"])
        pivot = batch["pivot_cam"] - mano.rest_wrist(batch["shape"])
    joints = mano.joints(verts)
    wrist = joints[:, :, WRIST : WRIST + 1]
    root = wrist.squeeze(2) + pivot
    camera = joints + pivot[:, :, None]
    camera = torch.where(valid > 0, camera, torch.ones_like(camera))  # no division by zero below
    pixels = project(camera.flatten(1, 2), batch["K"]).unflatten(1, (2, -1))
    inside = ((pixels >= 0) & (pixels <= IMAGE_SIZE - 1)).all(-1, keepdim=True)
    return {
        **batch,
        "rotmat": rotmat,
        "verts_cam": (verts - wrist) * valid,
        "mano_joints_cam": (joints - wrist) * valid,
        "mano_joints_img": torch.cat([pixels, (joints - wrist)[..., 2:]], -1) * valid,
        "mano_joints_img_valid": inside * valid,
        "mano_root_cam": root * valid[..., 0],
    }
