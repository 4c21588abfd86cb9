"""Joint stage: per-hand features, LGBlock, joint feature extractor (figure, left box).

Shapes: B batch, 2 hands, S = 8 cells a side and depth bins; channels: C of F, c of F_h, A of F*_h.
"""

import torch
from torch import Tensor, nn

from common.hand.joints import NUM_JOINTS
from common.nets.heatmap import HeatmapGrid, sample_at, soft_argmax
from common.nets.layers import PerHand


class JointStage(nn.Module):
    """F -> F_h, F*_h, 2.5-D joints J and joint features F_J."""

    def __init__(self, inputs: int, channels: int, side: int, lgblock: nn.Module, extractor: nn.Module):
        super().__init__()
        self.fc = PerHand(lambda: nn.Conv2d(inputs, channels, 1))
        self.position = nn.Parameter(torch.randn(2, channels, side, side) * 0.02)
        self.lgblock = lgblock
        self.extractor = extractor

    def forward(self, image_features: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """F (B,C,S,S) -> what later boxes read, and what is predicted:

        features F_h (B,2,c,S,S), adapted F*_h (B,2,A,S,S), joint_features F_J (B,2,21,c);
        joints_img J (B,2,21,3) in pixels and metres, heatmap (B,2,21,S,S,S) logits, axes z, y, x.
        """
        features = self.separate(image_features)  # F_R, F_L
        adapted = self.lgblock(features)  # F*_R, F*_L
        joints, joint_features = self.extractor(adapted)
        hands = {"features": features, "adapted": adapted, "joint_features": joint_features}
        return hands, joints

    def separate(self, image_features: Tensor) -> Tensor:  # (B,C,S,S) -> (B,2,c,S,S)
        both = image_features[:, None].expand(-1, 2, -1, -1, -1)
        return self.fc(both) + self.position


class JointFeatureExtractor(nn.Module):
    """Heat-map volumes, soft-argmax, features sampled at the joints (Hand4Whole, EANet).

    feature: F*_h (B,2,A,S,S) -> the maps (B,2,c,S,S) that are sampled.
    detach_joints: no gradient of the sampled features reaches the joints.
    """

    def __init__(self, inputs: int, grid: HeatmapGrid, feature: nn.Module, detach_joints: bool):
        super().__init__()
        self.grid, self.detach_joints = grid, detach_joints
        self.heatmap = PerHand(lambda: nn.Conv2d(inputs, NUM_JOINTS * grid.side, 1))
        self.feature = feature

    def forward(self, adapted: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """F*_h (B,2,A,S,S) -> {joints_img (B,2,21,3), heatmap (B,2,21,S,S,S)}, F_J (B,2,21,c)."""
        with torch.autocast(adapted.device.type, enabled=False):  # joints in float32
            volume = self.heatmap(adapted.float()).unflatten(2, (NUM_JOINTS, self.grid.side))
            index = soft_argmax(volume)
        joints = {"joints_img": self.grid.to_joints(index), "heatmap": volume}
        return joints, self.sample(adapted, index)

    def sample(self, adapted: Tensor, index: Tensor) -> Tensor:
        """F_J (B,2,21,c): the feature maps at heat-map indices (B,2,21,3)."""
        if self.detach_joints:
            index = index.detach()
        maps = self.feature(adapted).flatten(0, 1)
        sampled = sample_at(maps, self.grid.cell_centres(index).flatten(0, 1))
        return sampled.unflatten(0, adapted.shape[:2])
