"""Coordinates of 2.5-D joints: heat-map indices, crop pixels and metres, and samples of maps at them.

Shapes: ... any leading axes, S cells a side and depth bins, B batch, N places.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from common.utils.geometry import IMAGE_SIZE, crop_to_unit

CENTRE, CORNER = 0.5, 0.0  # where in its cell an index points: LGNet's map, EANet's map


@dataclass(frozen=True)
class HeatmapGrid:
    """The map between indices of a heat-map volume and 2.5-D joints (u, v in crop pixels, z in metres).

    An index is (x, y, z); with 8 cells of 32 pixels, index g is pixel 32 g + 15.5 at CENTRE, 32 g at CORNER.
    """

    side: int = 8  # cells across the crop
    margin: int = 0  # cells beyond each border of the crop
    bins: int = 8  # of depth
    depth_range: float = 0.4  # metres, all depth bins together; the wrist of the hand is in the middle
    point: float = CENTRE

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bins and cells of a volume: z, y, x."""
        across = self.side + 2 * self.margin
        return self.bins, across, across

    def to_joints(self, grid: Tensor) -> Tensor:
        """Indices (..., 3) -> u, v, z (..., 3)."""
        pixels = (grid[..., :2] - self.margin + self.point) * (IMAGE_SIZE / self.side) - self.point
        depth = ((grid[..., 2:] + self.point) / self.bins - 0.5) * self.depth_range
        return torch.cat([pixels, depth], -1)

    def to_grid(self, joints_img: Tensor) -> Tensor:
        """Inverse of `to_joints`."""
        pixels = (joints_img[..., :2] + self.point) * (self.side / IMAGE_SIZE) - self.point + self.margin
        depth = (joints_img[..., 2:] / self.depth_range + 0.5) * self.bins - self.point
        return torch.cat([pixels, depth], -1)

    def cell_centres(self, grid: Tensor) -> Tensor:
        """Crop pixels (..., 2) where `sample_at` finds the cells of indices (..., 3), whatever `point` is."""
        return (grid[..., :2] - self.margin + CENTRE) * (IMAGE_SIZE / self.side) - CENTRE

    def last_index(self, like: Tensor) -> Tensor:
        """Of the last cells and the last bin, for indices (..., 3): x, y, z."""
        # filled on the device, which a copy from the host would have to wait for
        return torch.cat([torch.full_like(like[..., :1], count - 1) for count in reversed(self.shape)], -1)

    def reachable(self, joints_img: Tensor) -> Tensor:
        """Which joints (..., 3) a soft-argmax can give at all: (..., 1), 1 or 0.

        An expected index lies between the first and the last cell, so that half a cell at each border of
        the volume, and what is deeper than the bins, is out of reach.
        """
        grid = self.to_grid(joints_img)
        return ((grid >= 0) & (grid <= self.last_index(grid))).all(-1, keepdim=True).to(joints_img.dtype)

    def normalise(self, joints_img: Tensor) -> Tensor:
        """u, v, z (..., 3) -> about [-1, 1]: the crop, and the range of the depth bins."""
        pixels = crop_to_unit(joints_img[..., :2])
        return torch.cat([pixels, joints_img[..., 2:] * (2 / self.depth_range)], -1)


def soft_argmax(volume: Tensor) -> Tensor:
    """Logits (..., Z, Y, X) -> expected index (..., 3) as x, y, z, float32."""
    probability = volume.float().flatten(-3).softmax(-1).unflatten(-1, volume.shape[-3:])
    index = [torch.arange(n, device=volume.device, dtype=torch.float32) for n in volume.shape[-3:]]
    z = (probability.sum((-1, -2)) * index[0]).sum(-1)
    y = (probability.sum((-1, -3)) * index[1]).sum(-1)
    x = (probability.sum((-2, -3)) * index[2]).sum(-1)
    return torch.stack([x, y, z], -1)


def sample_at(maps: Tensor, pixels: Tensor) -> Tensor:
    """Bilinear samples of maps (B,C,H,W) of the whole crop at crop pixels (B,N,2) -> (B,N,C)."""
    places = crop_to_unit(pixels[:, None])  # (B,1,N,2), align_corners=False
    sampled = F.grid_sample(maps.float(), places.float(), align_corners=False)
    return sampled.squeeze(2).transpose(1, 2)
