"""What a camera makes of the light: colours, blur, resolution, noise, blocks of a JPEG file.

Every number here is by eye.

Legend: B samples, H x W pixels, N samples chosen for an effect. Display values in [0,1].
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from common.utils.geometry import IMAGE_SIZE
from data.Synthetic.contrast import Contrast, sharpened, tone_curve
from data.Synthetic.draws import Draws

GRAINS = 24  # different pictures of white noise
# Pixels a side at which pictures are taken, from half the full number down, and weights.
SIDES = {IMAGE_SIZE: 0.62, 128: 0.12, 110: 0.13, 85: 0.09, 64: 0.04}
MOVED = 0.08  # share of pictures with motion blur
BLOCKS = 0.2  # share of pictures with the blocks of a JPEG file
BLOCK = 8


class Sensor:
    """Holds the noise and the tables that are the same in every picture."""

    def __init__(self, device: torch.device):
        generator = torch.Generator().manual_seed(0)
        grain = torch.randn(GRAINS, 3, IMAGE_SIZE, IMAGE_SIZE, generator=generator)
        self.grain = (grain * 0.6 + grain.mean(1, keepdim=True) * 0.8).to(device)
        axis = torch.linspace(-1, 1, IMAGE_SIZE, device=device).square()
        self.rim = (axis + axis[:, None]) / 2  # (H,W) 1 in the corners
        self.cosines = _cosines().to(device)

    def __call__(self, draws: Draws, canvas: Tensor, strength: float, contrast: Contrast) -> Tensor:
        """Display colours (B,HW,3) -> pictures (B,3,H,W); strength 0 leaves only colours, blur and noise."""
        picture = tone_curve(contrast, self._colors(draws, canvas, strength))
        picture = sharpened(contrast, _blur(picture, draws.uniform(low=0.3, high=1.0)))
        picture = _moved(draws, picture, strength)
        picture = _coarse(draws, picture, strength)
        grain = self.grain[draws.one_of(GRAINS)]
        noise = 0.04 * draws.uniform(1, 1, 1) ** 2 + 0.003
        picture = picture.addcmul_(grain, noise).clamp_(0, 1)
        return self._blocks(draws, picture, strength)

    def _colors(self, draws: Draws, canvas: Tensor, strength: float) -> Tensor:
        """White balance, saturation, contrast, gray pictures, dark corners."""
        eye = torch.eye(3, device=canvas.device)
        gray = canvas.new_tensor((0.3, 0.59, 0.11)).expand(3, 3)
        mono = draws.chance(0.12, 1, 1)
        fade = mono + (1 - mono) * draws.uniform(1, 1, low=-0.25, high=0.25)
        warm = draws.normal(1, std=0.06)
        balance = torch.cat((1 + warm, 1 + draws.normal(1, std=0.03), 1 - warm), 1)[..., None]
        gain = torch.exp(draws.normal(1, 1, std=0.1)) * torch.lerp(balance, torch.ones_like(balance), mono)
        matrix = gain * (eye + fade * (gray - eye))  # (B,3,3)
        lift = draws.normal(1, 1, std=0.03)
        picture = torch.baddbmm(lift, matrix, canvas.transpose(1, 2)).view(-1, 3, IMAGE_SIZE, IMAGE_SIZE)
        dark = strength * draws.chance(0.3, 1, 1) * draws.uniform(1, 1, high=0.5)
        return picture.mul_((1 - dark * self.rim)[:, None])

    def _blocks(self, draws: Draws, picture: Tensor, strength: float) -> Tensor:
        """Rounding of each channel's cosines, as a JPEG file does, in a share of the pictures."""
        coarse = torch.exp(draws.uniform(low=-1.2, high=0.6))  # of the rounding
        chosen = (draws.chance(BLOCKS) * strength).nonzero().squeeze(1)
        if len(chosen) == 0:
            return picture
        some = picture.index_select(0, chosen) - 0.5
        parts = _of_blocks(some, self.cosines)
        order = torch.arange(BLOCK, device=picture.device)
        table = 0.05 + 0.035 * (order + order[:, None])
        step = table[:, None, :] * coarse.index_select(0, chosen)[:, None, None, None, None, None]
        parts = parts.view(-1, 3, IMAGE_SIZE // BLOCK, BLOCK, IMAGE_SIZE // BLOCK, BLOCK) / step
        # a smooth staircase: true rounding would turn the last bit of a sum into a whole step
        parts = (parts - (2 * math.pi * parts).sin() / (2 * math.pi)) * step
        some = _of_blocks(parts, self.cosines.t()) + 0.5
        some = some.view(-1, 3, IMAGE_SIZE, IMAGE_SIZE).clamp_(0, 1)
        return picture.index_copy_(0, chosen, some)


def _of_blocks(picture: Tensor, matrix: Tensor) -> Tensor:
    """matrix X matrix^T of each block X of pictures (N,3,H,W); matrix (8,8)."""
    across = picture.reshape(-1, BLOCK) @ matrix.t()
    return (matrix @ across.view(-1, BLOCK, IMAGE_SIZE)).view(-1, 3, IMAGE_SIZE, IMAGE_SIZE)


def _cosines() -> Tensor:
    """(8,8): the orthonormal cosines of a block's rows."""
    place = torch.arange(BLOCK)
    wave = torch.cos(math.pi / BLOCK * (place + 0.5) * place[:, None]) * math.sqrt(2 / BLOCK)
    wave[0] /= math.sqrt(2)
    return wave


def _blur(picture: Tensor, sigma: Tensor) -> Tensor:
    """Three-tap blur of (B,3,H,W) in both directions, its width drawn per sample (B,) pixels."""
    side = torch.exp(-0.5 / sigma.square())[:, None, None, None]
    centre = 1 / (1 + 2 * side)
    picture = functional.pad(picture, (1, 1, 1, 1), mode="replicate")
    for dim in (2, 3):
        before, here, after = (picture.narrow(dim, k, picture.shape[dim] - 2) for k in range(3))
        picture = (here * centre).addcmul_(before, side * centre).addcmul_(after, side * centre)
    return picture


def _moved(draws: Draws, picture: Tensor, strength: float, steps: int = 7) -> Tensor:
    """Motion blur of a share of the pictures: the mean of copies moved along a line."""
    far = draws.uniform(high=7.0)  # pixels either way
    angle = draws.uniform(high=math.pi)
    shift = torch.stack((angle.sin(), angle.cos()), -1) * far[:, None]  # (B,2) rows, columns
    moved = (draws.chance(MOVED) * strength).tolist()
    offsets = torch.linspace(-1, 1, steps, device=picture.device)[:, None] * shift[:, None]  # (B,steps,2)
    for sample, (chosen, places) in enumerate(zip(moved, offsets.round().long().tolist(), strict=True)):
        if chosen:
            wide = functional.pad(picture[sample : sample + 1], (7, 7, 7, 7), mode="replicate")
            copies = [wide[0, :, 7 + y : 7 + y + IMAGE_SIZE, 7 + x : 7 + x + IMAGE_SIZE] for y, x in places]
            picture[sample] = torch.stack(copies).mean(0)
    return picture


def _coarse(draws: Draws, picture: Tensor, strength: float) -> Tensor:
    """Fewer pixels, then enlarged again."""
    drawn = draws.pick(draws.tensor(list(SIDES.values())))
    for number, side in enumerate(SIDES):
        chosen = (drawn == number).nonzero().squeeze(1)
        if side == IMAGE_SIZE or len(chosen) == 0 or strength == 0:
            continue
        small = functional.avg_pool2d(picture.index_select(0, chosen), 2)
        small = functional.interpolate(small, size=(side, side), mode="bilinear")
        large = functional.interpolate(small, size=(IMAGE_SIZE, IMAGE_SIZE), mode="bilinear")
        picture = picture.index_copy_(0, chosen, large)
    return picture
