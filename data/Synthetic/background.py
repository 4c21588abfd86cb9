"""What lies behind the hands: dark studio, plain walls, photographs, cluttered rooms, and the person.

Every number here is by eye.

Legend: B samples, H x W pixels; colours are display values in [0,1].
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample, interpolate

from data.Synthetic.draws import Draws
from data.Synthetic.layers import WORK, Layers, paint, stack
from data.Synthetic.people import Body, people
from data.Synthetic.photos import Photos
from data.Synthetic.stuff import clutter

MOST_SHAPES = 12  # things that stand about in one picture
# By kind (studio, plain, photograph, clutter): weight, lowest and highest brightness, share of the
# photograph in the ground, strength of stains, highest number of shapes.
# fmt: off
KINDS = ((0.22, 0.0, 0.14, 0.0, 0.02, 1.5), (0.13, 0.15, 0.95, 0.0, 0.06, 2.0),
         (0.3, 0.1, 0.9, 1.0, 0.05, 3.0), (0.35, 0.1, 0.9, 0.4, 0.12, MOST_SHAPES))
# fmt: on
STUDIO = 0


def background(
    draws: Draws, photos: Photos, body: Body, mask: Tensor, without: frozenset[str], size: int
) -> Tensor:
    """Pictures (B,size,size,3); without "people" or "photos" there are none.

    mask (B,H,W): where the hands are, which may throw a soft shadow.
    """
    kinds = draws.tensor(KINDS)
    kind = draws.pick(kinds[:, 0])
    _, low, high, photo, stain, number = kinds[kind].unbind(-1)  # (B,) each
    ground = _ground(draws, low + (high - low) * draws.uniform(), photo, stain)
    things = _things(draws, number * draws.uniform())
    pictured = float("photos" not in without)
    layers = stack([ground, things, people(draws, body, float("people" not in without), pictured)])
    if not pictured:
        nothing = torch.zeros_like(layers.angle)
        layers = layers._replace(material=layers.material._replace(photo=nothing, detail=nothing))
    picture, behind = paint(layers, photos, _folds(draws), 1)
    stars = _stars(draws, (kind == STUDIO).float() * draws.chance(0.5))
    picture = (picture * _gradient(draws) * _shadow(draws, mask)).addcmul_(stars, behind).clamp_(0, 1)
    for dim in (2, 3, 2, 3):  # a small blur: edges are hard until here
        end = picture.shape[dim] - 1
        picture = picture.narrow(dim, 0, end) + picture.narrow(dim, 1, end)
    picture = (picture / 16).contiguous(memory_format=torch.channels_last)
    return interpolate(picture, size=(size, size), mode="bilinear").permute(0, 2, 3, 1)


def _shadow(draws: Draws, mask: Tensor) -> Tensor:
    """Light (B,1,WORK,WORK) that the hands (B,H,W) leave on what is behind them; often all of it."""
    small = avg_pool2d(mask[:, None].float(), mask.shape[-1] // 32)
    for _ in range(2):
        small = avg_pool2d(small, 5, stride=1, padding=2)
    theta = torch.eye(2, 3, device=mask.device).repeat(len(mask), 1, 1)
    theta[:, :, 2] = draws.uniform(2, low=-0.3, high=0.3)
    grid = affine_grid(theta, list(small.shape), align_corners=False)
    small = grid_sample(small, grid, align_corners=False)
    dark = draws.chance(0.5, 1, 1, 1) * draws.uniform(1, 1, 1, low=0.2, high=0.7)
    return interpolate(1 - dark * small, size=(WORK, WORK), mode="bilinear")


def _ground(draws: Draws, value: Tensor, photo: Tensor, stain: Tensor) -> Layers:
    """One layer (B,1) that covers everything; value (B,) is its brightness."""
    tint = 1 + draws.normal(1, 3, std=0.3) * draws.uniform(1, 1) ** 2
    material = clutter(draws, 1)
    plain = 1 - (photo > 0).float()[:, None]
    material = material._replace(
        color=(value[:, None, None] * tint).clamp(0, 1),
        across=material.across * (1 - plain),
        down=material.down * (1 - plain),
        photo=torch.maximum(photo[:, None] * draws.uniform(1, low=0.6), 0 * plain),
        detail=material.detail * (1 - plain),
        zoom=draws.uniform(1, low=0.2, high=0.6),
        fold=(stain * draws.uniform(low=0.2, high=1.5))[:, None],
        round=0 * plain,
        soft=draws.uniform(1, low=-0.6, high=1.3).clamp(0, 1),
    )
    centre = draws.normal(1, 2, std=0.3)
    angle = draws.normal(1, std=0.3)
    return Layers(centre, 1 + 0 * centre, angle, 0 * angle, 1 + 0 * angle, material, (True,))


def _things(draws: Draws, number: Tensor) -> Layers:
    """Up to MOST_SHAPES boxes and ellipses, the larger ones at the back."""
    centre = draws.uniform(MOST_SHAPES, 2, low=-1.1, high=1.1)
    order = torch.linspace(1.3, 0.5, MOST_SHAPES, device=draws.device)[:, None]
    half = order * draws.uniform(MOST_SHAPES, 2, low=0.05, high=0.6)
    turned = draws.chance(0.4, MOST_SHAPES)  # most things stand upright
    angle = draws.normal(MOST_SHAPES, std=0.06) + turned * draws.uniform(MOST_SHAPES, high=math.pi)
    shown = (torch.arange(MOST_SHAPES, device=draws.device) < number[:, None]).float()
    boxes = tuple(k % 3 > 0 for k in range(MOST_SHAPES))
    return Layers(centre, half, angle, 0 * angle, shown, clutter(draws, MOST_SHAPES), boxes)


def _folds(draws: Draws) -> Tensor:
    """Smooth noise (B,WORK,WORK) of about unit size at several scales."""
    total, size, weight = draws.normal(1, 4, 4), 4, 1.0
    while size < 32:
        size, weight = 2 * size, 0.5 * weight
        total = interpolate(total, scale_factor=2, mode="bilinear") + weight * draws.normal(1, size, size)
    return interpolate(0.75 * total, size=(WORK, WORK), mode="bicubic")[:, 0]


def _gradient(draws: Draws) -> Tensor:
    """Uneven light (B,3,WORK,WORK) across the picture."""
    angle = draws.uniform(1, 1, high=2 * math.pi)
    axis = torch.linspace(-1, 1, WORK, device=draws.device)
    share = axis * angle.cos() + axis[:, None] * angle.sin()  # (B,WORK,WORK)
    slope = draws.normal(3, std=0.05) + draws.normal(1, std=0.2)
    return 1 + slope[..., None, None] * share[:, None]


def _stars(draws: Draws, shown: Tensor) -> Tensor:
    """Light (B,3,WORK,WORK) of lamps that face the camera, on a loose grid, with rays."""
    pitch, size = draws.uniform(1, 1, low=0.35, high=0.9), draws.uniform(1, 1, low=0.02, high=0.045)
    turn, shift = draws.normal(1, 1, std=0.3), draws.uniform(2, 1, 1)
    warm = 1 + draws.normal(3, 1, 1, std=0.1)
    light = torch.zeros(draws.batch, 3, WORK, WORK, device=draws.device)
    chosen = shown.nonzero().squeeze(1)  # few pictures have any
    pitch, size, turn, shift, warm = (values[chosen] for values in (pitch, size, turn, shift, warm))
    axis = torch.linspace(-1, 1, WORK, device=draws.device)
    x = (axis * turn.cos() - axis[:, None] * turn.sin()) / pitch + shift[:, 0]
    y = (axis * turn.sin() + axis[:, None] * turn.cos()) / pitch + shift[:, 1]
    jitter = 0.5 + 0.25 * torch.stack(((3.1 * y.floor()).sin(), (5.3 * x.floor()).sin()))
    dx, dy = ((x - x.floor() - jitter[0]) * pitch).abs(), ((y - y.floor() - jitter[1]) * pitch).abs()
    disc = (2 - (dx * dx + dy * dy).sqrt() / size * 1.6).clamp(0, 1)
    rays = torch.exp(-dx / (3 * size) - dy / (0.25 * size)) + torch.exp(-dy / (3 * size) - dx / (0.25 * size))
    return light.index_copy_(0, chosen, (disc + 0.6 * rays)[:, None] * warm)
