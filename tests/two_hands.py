"""Batches of two hands with known labels, and the prediction that repeats them."""

import torch

from common.utils.geometry import project


def relative(hands, rotmat, shape):
    """Vertices and joints relative to the wrist regressed from the mesh."""
    verts = hands.skin(rotmat, shape)
    joints = hands.joints(verts)
    return verts - joints[:, :, :1], joints - joints[:, :, :1]


def make_batch(hands, size=3, seed=0):
    rng = torch.Generator().manual_seed(seed)
    rotmat = hands.rotations(0.3 * torch.randn(size, 2, 16, 3, generator=rng))
    shape = 0.5 * torch.randn(size, 2, 10, generator=rng)
    verts, joints = relative(hands, rotmat, shape)
    root = torch.tensor([[-0.05, 0.0, 0.6], [0.05, 0.0, 0.65]]).expand(size, 2, 3)
    K = torch.tensor([[500.0, 0, 128], [0, 500, 128], [0, 0, 1]]).expand(size, 3, 3)
    pixels = project(joints + root[:, :, None], K[:, None])
    return {
        "id": [f"frame{seed}_{i}" for i in range(size)],
        "hand_type": ["interacting"] * size,
        "human_annotated": [True] * size,
        "img": torch.full((size, 3, 8, 8), 0.5),
        "K": K,
        "rotmat": rotmat,
        "shape": shape,
        "verts_cam": verts,
        "mano_root_cam": root,
        "pose_valid": torch.ones(size, 2, 1, 1),
        "joints_img": torch.cat([pixels, joints[..., 2:]], -1),
        "joints_img_valid": torch.ones(size, 2, 21, 1),
        "joints_cam": joints.clone(),
        "joints_cam_valid": torch.ones(size, 2, 21, 1),
        "root_cam": root,
        "affine": torch.eye(3)[:2].expand(size, 2, 3),
        "image_size": torch.full((size, 2), 256.0),
        "root_depth": root[..., 2],
        "root_depth_valid": torch.ones(size, 2),
        "rel_trans": root[:, 1] - root[:, 0],
        "rel_trans_valid": torch.ones(size, 1),
        "present": torch.ones(size, 2),
        "brightness": torch.full((size,), 128.0),
        "hand_type_valid": torch.ones(size),
        "joints_seen": torch.ones(size, 2, 21, 1),
    }


def perfect(hands, batch):
    """The prediction that repeats the labels."""
    joints = hands.joints(batch["verts_cam"])
    # the weak perspective camera cannot be perfect: vertex_px alone is not 0 here
    s = 500.0 / batch["mano_root_cam"][..., 2]
    t = 500.0 * batch["mano_root_cam"][..., :2] / batch["mano_root_cam"][..., 2:] + 128
    return {
        "joints_img": batch["joints_img"].clone(),
        "rotmat": batch["rotmat"].clone(),
        "shape": batch["shape"].clone(),
        "cam": torch.cat([s[..., None], t], -1),
        "verts": batch["verts_cam"].clone(),
        "verts_rough": batch["verts_cam"].clone(),
        "joints": joints,
        "joints_rough": joints,
        "rel_trans": batch["rel_trans"].clone(),
        "present": torch.full((len(joints), 2), 5.0),
    }
