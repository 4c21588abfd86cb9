"""What lies behind the hands: dark studio, plain walls, soft textures, clutter.

Legend: B samples, H x W pixels; colours are display values in [0,1].
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from data.Synthetic.draws import Draws

WORK = 128  # pixels a side while a background is put together
MOST_SHAPES = 10  # boxes, ellipses and stripes in one picture
# From light to dark, by eye; skin.py mixes neighbours.
SKINS = ((0.96, 0.82, 0.74), (0.91, 0.72, 0.60), (0.80, 0.58, 0.44), (0.62, 0.42, 0.30),
         (0.43, 0.28, 0.20), (0.27, 0.17, 0.13))  # fmt: skip
# By kind (studio, plain, texture, clutter): weight, lowest and highest brightness, strength of the
# texture, highest number of shapes; by eye.
# fmt: off
KINDS = ((0.35, 0.0, 0.16, 0.02, 1.5), (0.15, 0.15, 0.95, 0.02, 1.5),
         (0.2, 0.1, 0.9, 0.14, 2.5), (0.3, 0.1, 0.9, 0.08, MOST_SHAPES))
# fmt: on


def background(draws: Draws, grain: Tensor, size: int) -> Tensor:
    """Pictures (B,3,size,size); grain (B,3,WORK,WORK) is white noise for the finest octaves."""
    kinds = draws.tensor(KINDS)
    _, low, high, strength, number = kinds[draws.pick(kinds[:, 0])].unbind(-1)  # (B,) each
    picture = _gradient(draws, low[:, None], high[:, None])
    strength = strength * draws.uniform(low=0.3, high=1.5)
    gray = draws.uniform(1, 1, 1) ** 0.35  # mostly one colour, seldom a rainbow
    noise = _octaves(draws, grain)
    noise = noise * (1 - gray) + noise.mean(1, keepdim=True) * 1.7 * gray
    picture = picture + strength[:, None, None, None] * noise
    picture = _shapes(draws, picture, number * draws.uniform())
    return interpolate(picture, size=(size, size), mode="bilinear").clamp_(0, 1)


def _gradient(draws: Draws, low: Tensor, high: Tensor) -> Tensor:
    """(B,3,WORK,WORK) from one colour to another across the picture, their values in (B,1)."""
    value = low + (high - low) * draws.uniform(1)
    tint = draws.normal(3, std=0.3) * draws.uniform(1) ** 2
    first = (value * (1 + tint)).clamp(0, 1)
    second = (first * draws.uniform(1, low=0.4, high=1.4) + draws.normal(3, std=0.04)).clamp(0, 1)
    angle = draws.uniform(1, 1, high=2 * math.pi)
    x, y = _grid(low.device)
    share = (0.5 + 0.5 * (x * angle.cos() + y * angle.sin()))[:, None]
    return first[..., None, None] + (second - first)[..., None, None] * share


def _octaves(draws: Draws, grain: Tensor) -> Tensor:
    """Noise (B,3,WORK,WORK) of about unit size, smooth at several scales."""
    decay = draws.uniform(1, 1, 1, low=0.35, high=0.8)
    total, size, weight, power = draws.normal(3, 4, 4), 4, 1.0, 1.0
    while size < WORK:
        size, weight = 2 * size, weight * decay
        fine = draws.normal(3, size, size) if size <= 32 else grain[..., :size, :size]
        total = interpolate(total, scale_factor=2, mode="bilinear") + weight * fine
        power = power + weight.square()
    return total / power.sqrt()


def _shapes(draws: Draws, picture: Tensor, number: Tensor) -> Tensor:
    """Draw up to MOST_SHAPES boxes, ellipses and stripes, soft or hard, over (B,3,WORK,WORK)."""
    x, y = _grid(picture.device)
    place = draws.uniform(MOST_SHAPES, 2, 1, 1, low=-1.1, high=1.1)
    half = draws.uniform(MOST_SHAPES, 2, 1, 1, low=0.05, high=0.6)
    half = half * draws.uniform(MOST_SHAPES, 1, 1, 1, low=0.4, high=1.6)
    angle = draws.uniform(MOST_SHAPES, 1, 1, high=math.pi)
    ellipse = draws.chance(0.4, MOST_SHAPES, 1, 1)
    color = _colors(draws)[..., None, None]
    sharp = torch.exp(draws.uniform(MOST_SHAPES, 1, 1, low=0.8, high=3.5))
    opaque = draws.uniform(MOST_SHAPES, low=0.4, high=1.0)
    opaque = (opaque * (torch.arange(MOST_SHAPES, device=picture.device) < number[:, None]))[..., None, None]
    for k in range(MOST_SHAPES):
        dx, dy = x - place[:, k, 0], y - place[:, k, 1]
        cos, sin = angle[:, k].cos(), angle[:, k].sin()
        a = (dx * cos + dy * sin).abs_() / half[:, k, 0]
        b = (dy * cos - dx * sin).abs_() / half[:, k, 1]
        reach = torch.where(ellipse[:, k] > 0, (a * a + b * b).sqrt_(), a.maximum(b))
        cover = ((1 - reach) * sharp[:, k] + 0.5).clamp_(0, 1) * opaque[:, k]
        picture = torch.lerp(picture, color[:, k].expand_as(picture), cover[:, None])
    return picture


def _colors(draws: Draws) -> Tensor:
    """(B,MOST_SHAPES,3): grays, vivid colours and, now and then, the colours of skin."""
    value = draws.uniform(MOST_SHAPES, 1)
    vivid = draws.uniform(MOST_SHAPES, 3) * draws.uniform(MOST_SHAPES, 1) ** 0.5
    color = torch.lerp(value.expand(-1, -1, 3), vivid, draws.uniform(MOST_SHAPES, 1))
    skin = draws.tensor(SKINS)[draws.one_of(len(SKINS), MOST_SHAPES)]
    skin = skin * draws.uniform(MOST_SHAPES, 1, low=0.5, high=1.0)
    return torch.where(draws.chance(0.25, MOST_SHAPES, 1) > 0, skin, color)


def _grid(device: torch.device) -> tuple[Tensor, Tensor]:
    """x and y (1,WORK,WORK) from -1 to 1."""
    axis = torch.linspace(-1, 1, WORK, device=device)
    return axis[None, None, :], axis[None, :, None]
