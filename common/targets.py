"""The contract: what a batch holds, what a prediction holds, and the one place that derives the rest.

A data set gives raw facts (data/base.py). `add_targets` derives everything else from them, once per batch,
on the device, for real and synthetic pictures alike.

Shapes: B batch, 2 hands (right, left), 21 joints wrist first, 16 MANO joints, 778 vertices. Metres and
radians. The camera frame is OpenCV's (x right, y down, z forward); "crop" means pixels of the 256 x 256
crop, whose pixel centres are integers. All labels are in the augmented frame. A missing value is 0, never
NaN, and its validity, 1 or 0, is 0. Where the last column names no validity, the value always holds.

Batch: raw facts
  key               shape          meaning                                             valid where
  img               (B,3,256,256)  RGB in [0,1]; the network normalises. From pictures in files it comes as
                                   levels (uint8), with `color`: add_targets makes it what it is here
  color *           (B,3)          by which the channels of such levels are multiplied
  joints            (B,2,21,3)     annotated joints, camera                            joints_valid
  joints_valid      (B,2,21)       flag
  in_picture        (B,2,21)       flag: annotated and inside the original picture
  pose              (B,2,16,3)     fit: axis-angle without MANO's mean pose, wrist's   pose_valid
                                   rotation in the camera
  pose_valid        (B,2,1,1)      flag: the hand has a fit
  shape             (B,2,10)       fit: betas                                          pose_valid
  shape_valid       (B,2,1)        flag: the betas are to be trusted
  pivot_cam         (B,2,3)        fit: rest-pose wrist, its pivot, camera             pose_valid
  mesh_cam *        (B,2,778,3)    true vertices, camera                               pose_valid
  pixels *          (B,2,21,2)     joints annotated in the picture alone, crop         pixels_valid
  pixels_valid *    (B,2,21)       flag
  silhouette *      (B,2,256,256)  outlined hand, crop: 1 inside                       silhouette_valid (B,2)
  root_depth        (B,2)          RootNet's depth of the wrist, camera                root_depth_valid (B,2)
  present           (B,2)          flag: the picture shows this hand
  K, K_orig         (B,3,3)        camera matrix of the crop, of the original picture
  affine            (B,2,3)        pixels of the original picture -> crop
  image_size        (B,2)          width, height of the original picture
  box               (B,4)          x, y, w, h in the original picture, square
  brightness        (B,)           mean level of the whole picture, 0..255
  hand_type         list of str    "right", "left", "interacting" or "none"
  hand_type_valid   (B,)           flag: hand_type is reliable
  human_annotated   list of bool   by people, not by a machine
  id                list of str    names the sample everywhere
* where a data set has them

Batch: derived from the annotation by `annotated`; a hand whose wrist is not annotated has no joints here
  key               shape          meaning                                             valid where
  joints_img        (B,2,21,3)     u, v in the crop; depth from the annotated wrist    joints_img_valid
  joints_img_valid  (B,2,21,1)     flag: annotated, in the picture and in the crop
  joints_cam        (B,2,21,3)     from the hand's annotated wrist, camera's axes      joints_cam_valid
  joints_cam_valid  (B,2,21,1)     flag: annotated
  joints_seen       (B,2,21,1)     flag: annotated and in the picture
  root_cam          (B,2,3)        annotated wrist, camera                             root_cam_valid (B,2,1)
  rel_trans         (B,3)          left minus right annotated wrist, camera's axes     rel_trans_valid (B,1)

Batch: derived from the fit (from the mesh, not the annotation) by `fitted`
  key               shape          meaning                                             valid where
  verts_cam         (B,2,778,3)    from the wrist regressed from the mesh              pose_valid
  mano_joints_cam   (B,2,21,3)     regressed joints, from that wrist                   pose_valid
  mano_root_cam     (B,2,3)        that wrist, camera                                  pose_valid
  mano_joints_img   (B,2,21,3)     u, v in the crop; depth from that wrist             pose_valid
  mano_joints_img_valid
                    (B,2,21,1)     flag: has a fit and lies in the crop
  rotmat            (B,2,16,3,3)   rotations as skinning uses them, mean pose included pose_valid, else the
                                                                                       model's mean pose

Prediction: what a network's forward gives, never a loss; a network may lack some
  key               shape          meaning
  heatmap           (B,2,21,8,8,8) joint stage: logits over cells, axes z, y, x (nets/heatmap.py)
  joints_img        (B,2,21,3)     joint stage: u, v in the crop; depth relative to the wrist
  rotmat            (B,2,16,3,3)   as in the batch; the MANO pose is its logarithm minus the mean pose
  shape             (B,2,10)       betas
  cam               (B,2,3)        weak perspective s, tx, ty: u = s x + tx, v = s y + ty; x, y from the wrist
  verts_rough       (B,2,778,3)    mesh of rotmat and shape, relative to the wrist regressed from it
  joints_rough      (B,2,21,3)     regressed from verts_rough
  verts, joints     as these two   of the refined mesh
  rel_trans         (B,3)          left minus right wrist, camera's axes
  present           (B,2)          logits: the picture shows this hand
"""

from typing import Any

import torch
from torch import Tensor

from common.hand.joints import LEFT, RIGHT, WRIST
from common.hand.mano import ManoLayer
from common.utils.geometry import inside_crop, project

Batch = dict[str, Any]


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Tensors to the device, lists as they are."""
    moved = dict(batch)
    for key, value in batch.items():
        if isinstance(value, Tensor):
            moved[key] = value.to(device, non_blocking=True)
    return moved


@torch.no_grad()
def add_targets(batch: Batch, mano: ManoLayer) -> Batch:
    """A batch of raw facts -> the same with all that is derived from them (see the tables above)."""
    return {**batch, "img": pictures(batch), **annotated(batch), **fitted(batch, mano)}


def pictures(batch: Batch) -> Tensor:
    """RGB in [0,1]: levels with their channels multiplied and cut at white; what is in [0,1] stays."""
    if batch["img"].is_floating_point():
        return batch["img"]
    return (batch["img"] / 255).mul_(batch["color"][..., None, None]).clamp_(max=1)


def annotated(batch: Batch) -> dict[str, Tensor]:
    """What follows from the annotated joints."""
    wrist_valid = batch["joints_valid"][:, :, WRIST]  # (B,2)
    valid = (batch["joints_valid"] * wrist_valid[..., None])[..., None]  # (B,2,21,1)
    joints = batch["joints"] * valid
    root = joints[:, :, WRIST]  # (B,2,3)
    relative = (joints - root[:, :, None]) * valid
    seen = batch["in_picture"][..., None] * valid
    if "pixels" in batch:
        pixels, visible = batch["pixels"], batch["pixels_valid"][..., None]
    else:
        visible = seen * (joints[..., 2:] > 0)
        pixels = _project_visible(joints, batch["K"], visible)
    visible = visible * inside_crop(pixels)
    both = wrist_valid[:, RIGHT] * wrist_valid[:, LEFT]  # (B,)
    return {
        "joints_img": torch.cat([pixels, relative[..., 2:]], -1) * visible,
        "joints_img_valid": visible,
        "joints_cam": relative,
        "joints_cam_valid": valid,
        "root_cam": root,
        "root_cam_valid": wrist_valid[..., None],
        "rel_trans": (root[:, LEFT] - root[:, RIGHT]) * both[:, None],
        "rel_trans_valid": both[:, None],
        "joints_seen": seen,
    }


def fitted(batch: Batch, mano: ManoLayer) -> dict[str, Tensor]:
    """What follows from the fit; where a data set gives true vertices, they are the mesh."""
    valid = batch["pose_valid"]  # (B,2,1,1)
    rotmat = mano.rotations(batch["pose"])
    if "mesh_cam" in batch:
        verts = batch["mesh_cam"]
        origin = torch.zeros_like(batch["pivot_cam"])
    else:
        verts = mano.skin(rotmat, batch["shape"])
        origin = batch["pivot_cam"] - mano.rest_wrist(batch["shape"])  # of the model's frame, (B,2,3)
    joints = mano.joints(verts)
    wrist = joints[:, :, WRIST]
    relative = joints - wrist[:, :, None]
    pixels = _project_visible(joints + origin[:, :, None], batch["K"], valid)
    return {
        "rotmat": rotmat,
        "verts_cam": (verts - wrist[:, :, None]) * valid,
        "mano_joints_cam": relative * valid,
        "mano_joints_img": torch.cat([pixels, relative[..., 2:]], -1) * valid,
        "mano_joints_img_valid": inside_crop(pixels) * valid,
        "mano_root_cam": (wrist + origin) * valid[..., 0],
    }


def _project_visible(joints: Tensor, K: Tensor, visible: Tensor) -> Tensor:
    """Pixels (B,2,21,2) of joints (B,2,21,3) in the camera; anything finite where not visible (B,2,_,1)."""
    safe = torch.where(visible > 0, joints, torch.ones_like(joints))  # no division by zero
    return project(safe, K[:, None])
