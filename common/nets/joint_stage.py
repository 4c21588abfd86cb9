"""Joint stage: per-hand features, LGBlock, joint feature extractor (figure, left box).

Shapes: B batch, 2 hands, S = 8 cells a side of the features; channels: C of F, c of F_h, A of F*_h.
Heat maps have Z, Y, X bins and cells (heatmap.py).
"""

import torch
from torch import Tensor, nn

from common.hand.joints import NUM_JOINTS
from common.nets.heatmap import HeatmapGrid, sample_at, soft_argmax
from common.nets.layers import PerHand

FEATURE_SIDE = 8  # cells a side of F: a backbone's stride is 32


class JointStage(nn.Module):
    """F -> F_h, F*_h, 2.5-D joints J and joint features F_J."""

    def __init__(self, inputs: int, channels: int, lgblock: nn.Module, extractor: nn.Module):
        super().__init__()
        self.fc = PerHand(lambda: nn.Conv2d(inputs, channels, 1))
        self.position = nn.Parameter(torch.randn(2, channels, FEATURE_SIDE, FEATURE_SIDE) * 0.02)
        self.lgblock = lgblock
        self.extractor = extractor

    def forward(
        self, image_features: Tensor, early: list[Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """F (B,C,S,S) and the early maps -> what later boxes read, and what is predicted:

        features F_h (B,2,c,S,S), adapted F*_h (B,2,A,S,S), joint_features F_J (B,2,21,c), joint_maps that
        these were sampled from (B,2,c,.,.);
        joints_img J (B,2,21,3) in pixels and metres, heatmap (B,2,21,Z,Y,X) logits.
        """
        features = self.separate(image_features)  # F_R, F_L
        adapted = self.lgblock(features)  # F*_R, F*_L
        joints, sampled = self.extractor(adapted, early)
        return {"features": features, "adapted": adapted, **sampled}, joints

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
        self.heatmap = PerHand(lambda: nn.Conv2d(inputs, NUM_JOINTS * grid.bins, 1))
        self.feature = feature

    def forward(self, adapted: Tensor, early: list[Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """F*_h (B,2,A,S,S) -> {joints_img (B,2,21,3), heatmap (B,2,21,Z,Y,X)},
        {joint_features F_J (B,2,21,c), joint_maps (B,2,c,S,S)}."""
        joints, index = self.read(adapted)
        return joints, self.sample(self.feature(adapted), index)

    def read(self, maps: Tensor, sharpness: float = 1.0) -> tuple[dict[str, Tensor], Tensor]:
        """Maps (B,2,.,Y,X) -> joints_img and heatmap, and the joints' heat-map indices (B,2,21,3)."""
        with torch.autocast(maps.device.type, enabled=False):  # joints in float32
            volume = self.heatmap(maps.float()).unflatten(2, (NUM_JOINTS, self.grid.bins))
            index = soft_argmax(sharpness * volume)
        return {"joints_img": self.grid.to_joints(index), "heatmap": volume}, index

    def sample(self, maps: Tensor, index: Tensor) -> dict[str, Tensor]:
        """The feature maps (B,2,c,S,S), and F_J (B,2,21,c) at heat-map indices (B,2,21,3)."""
        if self.detach_joints:
            index = index.detach()
        places = self.grid.cell_centres(index)
        sampled = sample_at(maps.flatten(0, 1), places.flatten(0, 1)).unflatten(0, maps.shape[:2])
        return {"joint_features": sampled, "joint_maps": maps}
