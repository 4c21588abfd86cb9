"""Coordinates of 2.5-D joints: heat-map indices, crop pixels and metres, and samples of maps at them.

Shapes: ... any leading axes, S cells a side and depth bins, B batch, N places.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from common.utils.geometry import IMAGE_SIZE

DEPTH_RANGE = 0.3  # metres, joints lie within half of it of their wrist
CENTRE, CORNER = 0.5, 0.0  # where in its cell a heat-map index points: LGNet's map, EANet's map


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
