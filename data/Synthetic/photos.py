"""An atlas of real pictures, free of rights: photos.txt names every one.

Legend: N places. Colours are display values in [0,1].
"""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from common.utils.image import read_image

ATLAS_FILE = Path(__file__).with_name("photos.jpg")
TILE, ACROSS = 256, 4  # pixels a side of a tile; tiles in a row and in a column
TILES = ACROSS * ACROSS
FACE, WOOD, TEXT = 1, 8, 15  # tiles with uses of their own
FACE_MIDDLE, FACE_WIDTH = (0.45, 0.44), 0.42  # of its tile: between the eyes, from cheek to cheek
EDGE = 2 / TILE  # of a tile, left out so that its neighbours do not shine in


class Photos:
    """The atlas, ready to be read at any place."""

    def __init__(self, device: torch.device):
        pixels = torch.from_numpy(read_image(ATLAS_FILE)).to(device)
        self.atlas = pixels.permute(2, 0, 1)[None].float() / 255  # (1,3,H,W)

    def __call__(self, tile: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Colours (3,N) of tile (N,) at u, v (N,): 0 to 1 across it, mirrored again and again beyond."""
        row = tile.div(ACROSS, rounding_mode="floor")
        across = (tile - row * ACROSS + _mirrored(u)) / ACROSS
        down = (row + _mirrored(v)) / ACROSS
        grid = torch.stack((across, down), -1)[None, None] * 2 - 1
        return grid_sample(self.atlas, grid, mode="bilinear", align_corners=False)[0, :, 0]


def _mirrored(place: Tensor) -> Tensor:
    """Any number -> EDGE to 1 - EDGE, back and forth."""
    return EDGE + (1 - 2 * EDGE) * (place.remainder(2) - 1).abs()
