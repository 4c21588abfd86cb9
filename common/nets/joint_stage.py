"""Joint stage: per-hand features, LGBlock, joint feature extractor (figure, left box).

Shapes: B batch, 2 hands, S = 8 cells a side and depth bins, C backbone channels, c channels.
"""

import torch
from torch import Tensor, nn

from common.hand.joints import NUM_JOINTS
from common.nets.heatmap import grid_to_joints, sample_at, soft_argmax
from common.nets.layers import PerHand
from common.nets.lgblock import LGBlock


class JointStage(nn.Module):
    """F -> F_h, F*_h, 2.5-D joints J and joint features F_J.

    Ablations: without="hand_features" gives both hands the same F_h; without="lgblock" makes F*_h = F_h;
    LGBlock and JointFeatureExtractor explain theirs.
    """

    def __init__(
        self,
        inputs: int,
        channels: int,
        side: int,
        attention: str,
        local_graph: str,
        detach_joints: bool,
        without: str = "nothing",
    ):
        super().__init__()
        self.own = 1 if without == "hand_features" else 2  # sets of features
        self.fc = PerHand(lambda: nn.Conv2d(inputs, channels, 1), self.own)
        self.position = nn.Parameter(torch.randn(self.own, channels, side, side) * 0.02)
        self.adapted_channels = channels
        self.lgblock = nn.Identity()
        if without != "lgblock":
            self.adapted_channels += channels // 4
            self.lgblock = LGBlock(channels, side, attention, local_graph, without)
        self.extractor = JointFeatureExtractor(self.adapted_channels, channels, side, detach_joints, without)

    def forward(self, image_features: Tensor) -> dict[str, Tensor]:  # (B,C,S,S)
        """features (B,2,c,S,S) · adapted (B,2,A,S,S) · joints_img (B,2,21,3) · joint_features (B,2,21,c)
        · heatmap (B,2,21,S,S,S) logits, axes z, y, x."""
        each = image_features[:, None].expand(-1, self.own, -1, -1, -1)
        features = (self.fc(each) + self.position).expand(-1, 2, -1, -1, -1)  # F_R, F_L
        adapted = self.lgblock(features)  # F*_R, F*_L
        found = self.extractor(adapted)
        joints_img = grid_to_joints(found.pop("grid"), features.shape[-1])
        return {"features": features, "adapted": adapted, "joints_img": joints_img, **found}


class JointFeatureExtractor(nn.Module):
    """Heat-map volumes, soft-argmax, features sampled at the joints (Hand4Whole, EANet).

    Ablations: without="joint_stage" regresses J from the pooled F*_h by an FC layer, so there are no heat
    maps; without="mesh_stage" needs no joint features.
    """

    def __init__(self, inputs: int, channels: int, side: int, detach_joints: bool, without: str = "nothing"):
        super().__init__()
        self.side, self.detach_joints = side, detach_joints
        self.heatmap = self.joints = self.feature = None
        if without == "joint_stage":
            self.joints = PerHand(lambda: nn.Linear(inputs, NUM_JOINTS * 3))
        else:
            self.heatmap = PerHand(lambda: nn.Conv2d(inputs, NUM_JOINTS * side, 1))
        if without != "mesh_stage":
            self.feature = PerHand(lambda: nn.Conv2d(inputs, channels, 1))

    def forward(self, adapted: Tensor) -> dict[str, Tensor]:
        """F*_h (B,2,A,S,S) -> grid (B,2,21,3) heat-map index x, y, z · heatmap · joint_features."""
        with torch.autocast(adapted.device.type, enabled=False):  # joints in float32
            found = self.locate(adapted.float())
        if self.feature is not None:
            grid = found["grid"].detach() if self.detach_joints else found["grid"]
            at = grid_to_joints(grid, self.side)[..., :2].flatten(0, 1)
            sampled = sample_at(self.feature(adapted).flatten(0, 1), at)
            found["joint_features"] = sampled.unflatten(0, adapted.shape[:2])
        return found

    def locate(self, adapted: Tensor) -> dict[str, Tensor]:
        if self.heatmap is None:
            middle = (self.side - 1) / 2
            return {"grid": middle + self.joints(adapted.mean((-2, -1))).unflatten(-1, (NUM_JOINTS, 3))}
        volume = self.heatmap(adapted).unflatten(2, (NUM_JOINTS, self.side))
        return {"heatmap": volume, "grid": soft_argmax(volume)}
