"""Both hands as one differentiable module: MANO parameters in, meshes and joints out.

Shapes: B batch, 2 hands (right, left), 16 MANO joints, 21 joints wrist first, 778 vertices.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from common.hand.joints import MANO_AND_TIPS_TO_JOINTS, TIP_VERTICES, WRIST
from common.hand.mano_file import read_hands
from common.utils.geometry import axis_angle_to_matrix, matrix_to_axis_angle


class ManoLayer(nn.Module):
    """MANO (Romero et al. 2017) for a right and a left hand at once.

    Holds constants only, all in non-persistent buffers: it follows `.to(device)` and leaves no trace in
    a state dict. Computes in float32 whatever the autocast state. Numbers equal
    `smplx.MANO(use_pca=False, flat_hand_mean=False)` with the left shapedirs corrected.
    """

    def __init__(self, hands: list[dict[str, NDArray]], name: str):
        super().__init__()
        self.name = name  # "MANO" or "stand-in hand": printed with every result

        def constant(key: str, values: list[NDArray], dtype: torch.dtype = torch.float32) -> None:
            self.register_buffer(key, torch.as_tensor(np.stack(values), dtype=dtype), persistent=False)

        constant("template", [h["v_template"] for h in hands])  # (2,778,3)
        constant("faces", [h["f"] for h in hands], torch.long)  # (2,1538,3)
        constant("weights", [h["weights"] for h in hands])  # (2,778,16)
        constant("shape_dirs", [h["shapedirs"].reshape(-1, 10).T for h in hands])  # (2,10,778*3)
        constant("pose_dirs", [h["posedirs"].reshape(-1, 135).T for h in hands])  # (2,135,778*3)
        constant("mean", [np.pad(h["hands_mean"].reshape(15, 3), ((1, 0), (0, 0))) for h in hands])
        constant("components", [h["hands_components"] for h in hands])  # (2,45,45) PCA of finger poses
        constant("rest_joints", [h["J_regressor"] @ h["v_template"] for h in hands])  # (2,16,3)
        constant(  # (2,10,16*3)
            "joint_dirs",
            [np.einsum("jv,vck->kjc", h["J_regressor"], h["shapedirs"]).reshape(10, -1) for h in hands],
        )
        for tips in TIP_VERTICES:
            constant(f"regressor_{tips}", [joint_regressor(h["J_regressor"], tips) for h in hands])

    def forward(self, pose: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
        """Axis-angle pose (B,2,16,3) without the mean pose and betas (B,2,10) ->
        vertices (B,2,778,3) in the model's own frame, joints (B,2,21,3) regressed from them; metres."""
        verts = self.skin(self.rotations(pose), shape)
        return verts, self.joints(verts)

    def rotations(self, pose: Tensor) -> Tensor:
        """MANO pose (B,2,16,3) -> rotations as skinning uses them (B,2,16,3,3), mean pose included."""
        with torch.autocast(pose.device.type, enabled=False):
            return axis_angle_to_matrix(pose.float() + self.mean)

    def pose(self, rotmat: Tensor) -> Tensor:
        """Inverse of `rotations`: (B,2,16,3,3) -> axis-angle (B,2,16,3) without the mean pose."""
        return matrix_to_axis_angle(rotmat.float()) - self.mean

    def rest_wrist(self, shape: Tensor) -> Tensor:
        """J0(beta) (B,2,3), metres: the point of the model's frame about which the wrist rotates."""
        with torch.autocast(shape.device.type, enabled=False):
            return self._rest_joints(shape.float())[:, :, WRIST]

    def joints(self, verts: Tensor, tips: str = "interhand") -> Tensor:
        """Vertices (B,2,778,3) -> 21 joints (B,2,21,3) with the named fingertip set."""
        with torch.autocast(verts.device.type, enabled=False):
            return getattr(self, f"regressor_{tips}") @ verts.float()

    def skin(self, rotmat: Tensor, shape: Tensor) -> Tensor:
        """Rotations (B,2,16,3,3), mean included, and betas (B,2,10) -> vertices (B,2,778,3)."""
        with torch.autocast(rotmat.device.type, enabled=False):
            return self._skin(rotmat.float(), shape.float())

    def _skin(self, rotmat: Tensor, shape: Tensor) -> Tensor:
        batch = rotmat.shape[0]
        eye = torch.eye(3, dtype=rotmat.dtype, device=rotmat.device)
        bend = (rotmat[:, :, 1:] - eye).flatten(2)  # (B,2,135)
        offsets = _per_hand(shape, self.shape_dirs) + _per_hand(bend, self.pose_dirs)  # (B,2,778*3)
        rest = self.template + offsets.unflatten(-1, (-1, 3))
        bones = bone_transforms(rotmat, self._rest_joints(shape))
        moves = self.weights @ bones[..., :3, :].reshape(batch, 2, 16, 12)  # (B,2,778,12)
        moves = moves.unflatten(-1, (3, 4))
        return (moves[..., :3] @ rest[..., None]).squeeze(-1) + moves[..., 3]

    def _rest_joints(self, shape: Tensor) -> Tensor:
        return self.rest_joints + _per_hand(shape, self.joint_dirs).unflatten(-1, (16, 3))  # (B,2,16,3)


def _per_hand(x: Tensor, matrices: Tensor) -> Tensor:
    """(B,2,K) times one (K,N) matrix per hand -> (B,2,N)."""
    return (x.transpose(0, 1) @ matrices).transpose(0, 1)


def bone_transforms(rotmat: Tensor, rest: Tensor) -> Tensor:
    """Rotations (B,2,16,3,3) and rest joints (B,2,16,3) -> (B,2,16,4,4), rest pose to posed, per joint.

    The wrist carries five fingers of three joints each, which MANO lists finger by finger: three levels,
    each a step for all fingers at once. No index tensor, so nothing waits for the device.
    """
    wrist, fingers = rest[:, :, :1], rest[:, :, 1:].unflatten(2, (5, 3))
    parents = torch.cat([wrist[:, :, None].expand_as(fingers[:, :, :, :1]), fingers[:, :, :, :2]], 3)
    to_parent = torch.cat([wrist, (fingers - parents).flatten(2, 3)], 2)
    step = F.pad(torch.cat([rotmat, to_parent[..., None]], -1), (0, 0, 0, 1))  # (B,2,16,4,4)
    step[..., 3, 3] = 1
    root, along = step[:, :, :1], step[:, :, 1:].unflatten(2, (5, 3))
    first = root @ along[:, :, :, 0]
    second = first @ along[:, :, :, 1]
    third = second @ along[:, :, :, 2]
    posed = torch.cat([root, torch.stack([first, second, third], 3).flatten(2, 3)], 2)
    moved_rest = posed @ F.pad(rest, (0, 1))[..., None]  # what the rotations alone do to the rest joints
    return posed - F.pad(moved_rest, (3, 0))


def joint_regressor(mano_regressor: NDArray, tips: str) -> NDArray:
    """(16,778) -> (21,778): MANO's rows and one-hot fingertip rows, in this project's joint order."""
    one_hot = np.eye(mano_regressor.shape[1])[list(TIP_VERTICES[tips])]
    return np.concatenate([mano_regressor, one_hot])[list(MANO_AND_TIPS_TO_JOINTS)]


def load_mano(smplx_path: str | Path | None = None) -> ManoLayer:
    """The hand layer for `smplx_path` (a folder or file of MANO); None gives the stand-in hand."""
    return ManoLayer(*read_hands(smplx_path))
