"""The joint head of ours: finer heat maps that also reach past the border of the crop.

The paper reads its volumes off F*_h by one linear layer. Here F*_h meets the backbone's early maps, as in a
feature pyramid (Lin et al. 2017), and convolutions stand before the volumes.
Shapes: B batch, 2 hands, S cells of F*_h, s cells of the finest map; Z, Y, X of the heat maps (heatmap.py).
"""

from torch import Tensor, nn
from torch.nn import functional as F

from common.nets.heatmap import HeatmapGrid
from common.nets.joint_stage import FEATURE_SIDE, JointFeatureExtractor
from common.nets.layers import PerHand

# The mean over all places that a volume holds possible draws an unsure hand towards its middle, and small
# (measured: 0.85 of its true spread, sharpened 0.99, with joints about as far off).
SHARPNESS = 4.0


class Pyramid(nn.Module):
    """F*_h (B,2,A,S,S) and the early maps -> a map (B,2,c,s,s) of each hand.

    early: channels of the early maps, shallow first; the last of them is twice as fine as F*_h.
    """

    def __init__(self, inputs: int, channels: int, side: int, early: tuple[int, ...]):
        super().__init__()
        self.reduce = PerHand(lambda: conv_block(inputs, channels))
        steps = (side // FEATURE_SIDE).bit_length() - 1  # 8 cells: none, 16: one, 32: two
        deep_first = early[::-1][:steps]
        self.laterals = nn.ModuleList([nn.Conv2d(count, channels, 1) for count in deep_first])
        self.smooth = nn.ModuleList([PerHand(lambda: conv_block(channels, channels)) for _ in deep_first])

    def forward(self, adapted: Tensor, early: list[Tensor]) -> Tensor:
        maps = self.reduce(adapted)
        deep_first = early[::-1][: len(self.laterals)]
        for lateral, smooth, finer in zip(self.laterals, self.smooth, deep_first, strict=True):
            up = F.interpolate(maps.flatten(0, 1), scale_factor=2, mode="bilinear").unflatten(
                0, maps.shape[:2]
            )
            maps = smooth(up + lateral(finer)[:, None])  # the picture's map belongs to both hands
        return maps


class PyramidExtractor(JointFeatureExtractor):
    """Volumes, soft-argmax and joint features from the pyramid's map.

    feature: the Pyramid. Its map is continued past the borders of the crop by the grid's margin.
    """

    def __init__(self, channels: int, grid: HeatmapGrid, feature: Pyramid, detach_joints: bool):
        super().__init__(channels, grid, feature, detach_joints)
        self.before = PerHand(lambda: conv_block(channels, channels))

    def forward(self, adapted: Tensor, early: list[Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """F*_h and the early maps -> as JointFeatureExtractor; joint_maps (B,2,c,s,s)."""
        maps = self.feature(adapted, early)
        wide = F.pad(maps.flatten(0, 1), (self.grid.margin,) * 4, mode="replicate")
        joints, index = self.read(self.before(wide.unflatten(0, maps.shape[:2])), SHARPNESS)
        return joints, self.sample(maps, index)


def conv_block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )
