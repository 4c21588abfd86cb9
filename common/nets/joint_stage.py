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
CENTRE, CORNER = 0.5, 0.0  # where in its cell a heat-map index points: LGNet's map, EANet's map


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


def soft_argmax(volume: Tensor) -> Tensor:
    """Logits (..., Z, Y, X) -> expected index (..., 3) as x, y, z, float32."""
    probability = volume.float().flatten(-3).softmax(-1).unflatten(-1, volume.shape[-3:])
    index = [torch.arange(n, device=volume.device, dtype=torch.float32) for n in volume.shape[-3:]]
    z = (probability.sum((-1, -2)) * index[0]).sum(-1)
    y = (probability.sum((-1, -3)) * index[1]).sum(-1)
    x = (probability.sum((-2, -3)) * index[2]).sum(-1)
    return torch.stack([x, y, z], -1)


def grid_to_joints(grid: Tensor, side: int, point: float = CENTRE) -> Tensor:
    """Heat-map index (..., 3) -> (u, v) in crop pixels and z in metres; 32 g + 15.5 at cell centres,
    32 g at CORNER."""
    pixels = (grid[..., :2] + point) * (IMAGE_SIZE / side) - point
    depth = ((grid[..., 2:] + point) / side - 0.5) * DEPTH_RANGE
    return torch.cat([pixels, depth], -1)


def joints_to_grid(joints_img: Tensor, side: int, point: float = CENTRE) -> Tensor:
    """Inverse of `grid_to_joints`."""
    pixels = (joints_img[..., :2] + point) * (side / IMAGE_SIZE) - point
    depth = (joints_img[..., 2:] / DEPTH_RANGE + 0.5) * side - point
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
