"""Joint stage: per-hand features, LGBlock, joint feature extractor (figure, left box).

Shapes: B batch, 2 hands, S = 8 cells a side and depth bins, C backbone channels, c channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.hand.joints import NUM_JOINTS
from common.nets.layers import PerHand
from common.nets.lgblock import LGBlock
from common.utils.geometry import IMAGE_SIZE

DEPTH_RANGE = 0.3  # metres, joints lie within half of it of their wrist


class JointStage(nn.Module):
    """F -> F_h, F*_h, 2.5-D joints J and joint features F_J."""

    def __init__(
        self, inputs: int, channels: int, side: int, attention: str, local_graph: str, detach_joints: bool
    ):
        super().__init__()
        self.fc = PerHand(lambda: nn.Conv2d(inputs, channels, 1))
        self.position = nn.Parameter(torch.randn(2, channels, side, side) * 0.02)
        self.lgblock = LGBlock(channels, side, attention, local_graph)
        self.extractor = JointFeatureExtractor(channels + channels // 4, channels, side, detach_joints)

    def forward(self, image_features: Tensor) -> dict[str, Tensor]:  # (B,C,S,S)
        both = image_features[:, None].expand(-1, 2, -1, -1, -1)
        features = self.fc(both) + self.position  # F_R, F_L (B,2,c,S,S)
        adapted = self.lgblock(features)  # F*_R, F*_L (B,2,c+c/4,S,S)
        heatmap, joints_img, joint_features = self.extractor(adapted)
        return {
            "features": features,
            "adapted": adapted,
            "heatmap": heatmap,  # (B,2,21,S,S,S) logits, axes z, y, x
            "joints_img": joints_img,  # (B,2,21,3)
            "joint_features": joint_features,  # (B,2,21,c)
        }


class JointFeatureExtractor(nn.Module):
    """Heat-map volumes, soft-argmax, features sampled at the joints (Hand4Whole, EANet)."""

    def __init__(self, inputs: int, channels: int, depth: int, detach_joints: bool):
        super().__init__()
        self.depth, self.detach_joints = depth, detach_joints
        self.heatmap = PerHand(lambda: nn.Conv2d(inputs, NUM_JOINTS * depth, 1))
        self.feature = PerHand(lambda: nn.Conv2d(inputs, channels, 1))

    def forward(self, adapted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with torch.autocast(adapted.device.type, enabled=False):  # logits in float32
            volume = self.heatmap(adapted.float()).unflatten(2, (NUM_JOINTS, self.depth))
        joints = grid_to_joints(soft_argmax(volume), volume.shape[-1])  # (B,2,21,3)
        at = joints.detach() if self.detach_joints else joints
        sampled = sample_at(self.feature(adapted).flatten(0, 1), at[..., :2].flatten(0, 1))
        return volume, joints, sampled.unflatten(0, adapted.shape[:2])


def soft_argmax(volume: Tensor) -> Tensor:
    """Logits (..., Z, Y, X) -> expected index (..., 3) as x, y, z, float32."""
    probability = volume.float().flatten(-3).softmax(-1).unflatten(-1, volume.shape[-3:])
    index = [torch.arange(n, device=volume.device, dtype=torch.float32) for n in volume.shape[-3:]]
    z = (probability.sum((-1, -2)) * index[0]).sum(-1)
    y = (probability.sum((-1, -3)) * index[1]).sum(-1)
    x = (probability.sum((-2, -3)) * index[2]).sum(-1)
    return torch.stack([x, y, z], -1)


def grid_to_joints(grid: Tensor, side: int) -> Tensor:
    """Heat-map index (..., 3) -> (u, v) in crop pixels and z in metres; cell centres at 32 g + 15.5."""
    pixels = (grid[..., :2] + 0.5) * (IMAGE_SIZE / side) - 0.5
    depth = ((grid[..., 2:] + 0.5) / side - 0.5) * DEPTH_RANGE
    return torch.cat([pixels, depth], -1)


def joints_to_grid(joints_img: Tensor, side: int) -> Tensor:
    """Inverse of `grid_to_joints`."""
    pixels = (joints_img[..., :2] + 0.5) * (side / IMAGE_SIZE) - 0.5
    depth = (joints_img[..., 2:] / DEPTH_RANGE + 0.5) * side - 0.5
    return torch.cat([pixels, depth], -1)


def normalise_joints(joints_img: Tensor) -> Tensor:
    """(..., 3) u, v pixels and z metres -> about [-1, 1]."""
    pixels = (2 * joints_img[..., :2] + 1) / IMAGE_SIZE - 1
    return torch.cat([pixels, joints_img[..., 2:] * (2 / DEPTH_RANGE)], -1)


def sample_at(maps: Tensor, pixels: Tensor) -> Tensor:
    """Bilinear samples of maps (B,C,H,W) of the whole crop at crop pixels (B,N,2) -> (B,N,C)."""
    grid = (2 * pixels[:, None] + 1) / IMAGE_SIZE - 1  # (B,1,N,2), align_corners=False
    sampled = F.grid_sample(maps.float(), grid.float(), align_corners=False)
    return sampled.squeeze(2).transpose(1, 2)
