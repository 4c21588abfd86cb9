"""Meshes and joints laid on each other, per hand, as the protocols want it; errors in millimetres.

Legend: B batch, 2 hands (right, left), V 778 vertices, J 21 joints, N points; metres.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from common.eval.contact import MILLIMETRES
from common.eval.protocols import Protocol
from common.eval.truth import Columns, Truth
from common.hand.joints import MIDDLE_MCP, WRIST
from common.hand.mano import ManoLayer
from common.utils.geometry import similarity_align

MIN_JOINTS = 4  # that fix a similarity transform


def mesh_column(root: int, scaled: bool) -> str:
    """Name of a column of vertex errors (B,2)."""
    return f"verts/{root}/scaled" if scaled else f"verts/{root}"


def joint_column(root: int, scaled: bool, truth: str, tips: str) -> str:
    """Name of a column of joint errors (B,2,J)."""
    aligned = f"{root}/scaled" if scaled else f"{root}"
    return f"joints/{aligned}/{truth}/{tips}"


def procrustes_column(truth: str, tips: str) -> str:
    """Name of a column of joint errors (B,2) after Procrustes' alignment."""
    return f"PA/{truth}/{tips}"


def aligned_columns(protocols: Sequence[Protocol], mano: ManoLayer, verts: Tensor, truth: Truth) -> Columns:
    """Errors of vertices (B,2) and of the joints regressed from them (B,2,J) after each protocol's alignment,
    with and without its scale, and both (B,2) after Procrustes' (PA)."""
    columns = {"PA_MPVPE": _procrustes(verts, truth.verts)}
    different = {(p.root, p.scaled, p.truth, p.tips): p for p in protocols}
    for p in different.values():
        regressor = mano.get_buffer(f"regressor_{p.tips}").double()
        joints, mesh_joints = regressor @ verts, regressor @ truth.verts
        target = mesh_joints if p.truth == "mesh" else truth.joints
        columns[procrustes_column(p.truth, p.tips)] = _procrustes(joints, target)
        root, mesh_root, target_root = (of[:, :, [p.root]] for of in (joints, mesh_joints, target))
        for scaled in {p.scaled, False}:
            scale = _scale_to(joints, mesh_joints) if scaled else 1.0
            error = _distance(scale * (verts - root), truth.verts - mesh_root)
            columns[mesh_column(p.root, scaled)] = error.mean(-1)
            error = _distance(scale * (joints - root), target - target_root)
            columns[joint_column(p.root, scaled, p.truth, p.tips)] = error
    return columns


def _scale_to(joints: Tensor, target: Tensor) -> Tensor:
    """Factor (B,2,1,1) that gives the bone from wrist to middle MCP its true length."""
    factor = _bone_length(target) / _bone_length(joints).clamp_min(1e-9)
    return factor[..., None, None]


def _bone_length(joints: Tensor) -> Tensor:
    return (joints[:, :, MIDDLE_MCP] - joints[:, :, WRIST]).norm(dim=-1)


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return MILLIMETRES * (a - b).norm(dim=-1)


def _procrustes(source: Tensor, target: Tensor) -> Tensor:
    """Mean distance (B,2) in mm after the best similarity transform, over the points that both have."""
    valid = torch.isfinite(target).all(-1) & torch.isfinite(source).all(-1)  # (B,2,N)
    source = torch.where(valid[..., None], source, 0.0)
    target = torch.where(valid[..., None], target, 0.0)
    distance = _distance(similarity_align(source, target, valid.double()), target) * valid
    count = valid.sum(-1)
    return torch.where(count >= MIN_JOINTS, distance.sum(-1) / count.clamp_min(1), torch.nan)
