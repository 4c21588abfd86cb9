"""The ablations of the paper's Table 3: what stands in for a box of the figure that is left out.

Each stand-in is the box itself with the part deleted, so that what is left keeps its names and weights.
`BOXES[name]` says which class builds each box of the network called "without name".
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from common.hand.joints import NUM_JOINTS
from common.hand.mano import ManoLayer
from common.nets.heatmap import HeatmapGrid
from common.nets.joint_stage import JointFeatureExtractor, JointStage
from common.nets.layers import PerHand
from common.nets.lgblock import LGBlock
from common.nets.mesh_stage import ROTATIONS, MeshStage
from common.nets.refine_stage import RefineStage


class NoLocalUnit(LGBlock):
    """Each hand's LGFA meets the partner's features in place of F_local."""

    def __init__(self, channels: int, side: int, attention: str, local_graph: str):
        super().__init__(channels, side, attention, "none")
        del self.lgfa_local

    def interact(self, tokens: Tensor) -> Tensor:
        right, left = self.lgfa_hands(tokens, tokens.flip(1)).unbind(1)
        return self.lgfa_global(right, left)


class NoGlobalUnit(LGBlock):
    """F_local takes F_global's place."""

    def __init__(self, channels: int, side: int, attention: str, local_graph: str):
        super().__init__(channels, side, attention, local_graph)
        del self.lgfa_hands, self.lgfa_global

    def interact(self, tokens: Tensor) -> Tensor:
        return self.local_unit(tokens)


class NoLGBlock(nn.Identity):
    """F*_h = F_h."""

    def __init__(self, channels: int, side: int, attention: str, local_graph: str):
        super().__init__()
        self.outputs = channels


class SharedHandFeatures(JointStage):
    """One FC and one embedding: both hands have the same F_h."""

    def __init__(self, inputs: int, channels: int, lgblock: nn.Module, extractor: nn.Module):
        super().__init__(inputs, channels, lgblock, extractor)
        self.fc = PerHand(lambda: nn.Conv2d(inputs, channels, 1), count=1)
        self.position = nn.Parameter(self.position[:1].detach().clone())

    def separate(self, image_features: Tensor) -> Tensor:
        features = self.fc(image_features[:, None]) + self.position  # (B,1,c,S,S)
        return features.expand(-1, 2, -1, -1, -1)


class PooledJoints(JointFeatureExtractor):
    """Without the joint stage: an FC layer regresses J from pooled F*_h, so there are no heat maps."""

    def __init__(self, inputs: int, grid: HeatmapGrid, feature: nn.Module, detach_joints: bool):
        super().__init__(inputs, grid, feature, detach_joints)
        del self.heatmap
        self.joints = PerHand(lambda: nn.Linear(inputs, NUM_JOINTS * 3))

    def forward(self, adapted: Tensor, early: list[Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        with torch.autocast(adapted.device.type, enabled=False):
            offset = self.joints(adapted.float().mean((-2, -1))).unflatten(-1, (NUM_JOINTS, 3))
        index = self.grid.last_index(offset) / 2 + offset  # from the middle of the volume
        return {"joints_img": self.grid.to_joints(index)}, self.sample(self.feature(adapted), index)


class NoJointFeatures(JointFeatureExtractor):
    """Without the mesh stage nothing reads F_J."""

    def __init__(self, inputs: int, grid: HeatmapGrid, feature: nn.Module, detach_joints: bool):
        super().__init__(inputs, grid, nn.Identity(), detach_joints)

    def sample(self, maps: Tensor, index: Tensor) -> dict[str, Tensor]:
        return {}


class PooledMesh(MeshStage):
    """Without the mesh stage: an FC layer regresses the rotations from pooled F*_h."""

    def __init__(self, channels: int, adapted: int, sjt_blocks: int, grid: HeatmapGrid, mano: ManoLayer):
        super().__init__(channels, adapted, sjt_blocks, grid, mano)
        del self.sjt
        self.rotation = PerHand(lambda: nn.Linear(adapted, ROTATIONS))
        self.reset_regressors()

    def pose_evidence(self, hands: dict[str, Tensor], pooled: Tensor, joints: Tensor) -> Tensor:
        return pooled


class NoRefineStage(nn.Module):
    """M_f = M_r. Both stand in the prediction, so that the 3-D losses weigh what they weigh in LGNet."""

    def __init__(self, *of_the_box: object):
        super().__init__()

    def forward(
        self,
        image: Tensor,
        early: list[Tensor],
        hands: dict[str, Tensor],
        joints_img: Tensor,
        rough: dict[str, Tensor],
    ) -> dict[str, Tensor]:
        return {"verts": rough["verts_rough"], "joints": rough["joints_rough"]}


@dataclass(frozen=True)
class Boxes:
    """The class of each box of the figure; the defaults are the paper's."""

    lgblock: type[nn.Module] = LGBlock
    extractor: type[JointFeatureExtractor] = JointFeatureExtractor
    joint_stage: type[JointStage] = JointStage
    mesh_stage: type[MeshStage] = MeshStage
    refine_stage: type[nn.Module] = RefineStage


BOXES = {
    "nothing": Boxes(),
    "joint_stage": Boxes(extractor=PooledJoints),
    "mesh_stage": Boxes(extractor=NoJointFeatures, mesh_stage=PooledMesh),
    "refine_stage": Boxes(refine_stage=NoRefineStage),
    "hand_features": Boxes(joint_stage=SharedHandFeatures),
    "lgblock": Boxes(lgblock=NoLGBlock),
    "local_unit": Boxes(lgblock=NoLocalUnit),
    "global_unit": Boxes(lgblock=NoGlobalUnit),
}
