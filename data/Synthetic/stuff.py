"""Materials drawn at random: cloth, skin, and whatever stands in a room.

Every number here is by eye.

Legend: B samples, K shapes.
"""

import torch
from torch import Tensor

from data.Synthetic.draws import Draws
from data.Synthetic.layers import Material
from data.Synthetic.photos import TEXT, TILES

# From light to dark; skin.py mixes neighbours.
SKINS = ((0.95, 0.79, 0.71), (0.90, 0.69, 0.58), (0.81, 0.58, 0.45), (0.63, 0.43, 0.31),
         (0.43, 0.28, 0.20), (0.24, 0.15, 0.115))  # fmt: skip


def colors(draws: Draws, count: int) -> Tensor:
    """(B,count,3): grays, vivid colours and, now and then, the colours of skin and wood."""
    value = draws.uniform(count, 1)
    vivid = draws.uniform(count, 3) * draws.uniform(count, 1) ** 0.5
    color = torch.lerp(value.expand(-1, -1, 3), vivid, draws.uniform(count, 1))
    skin = draws.tensor(SKINS)[draws.one_of(len(SKINS), count)]
    skin = skin * draws.uniform(count, 1, low=0.5, high=1.0)
    return torch.where(draws.chance(0.25, count, 1) > 0, skin, color)


def plain(color: Tensor) -> Material:
    """One colour (B,K,3), nothing on it."""
    zero = torch.zeros_like(color[..., 0])
    return Material(color, color, *[zero] * 12)


def clutter(draws: Draws, count: int) -> Material:
    """Whatever stands in a room: walls, things, pictures, patterns (B,count)."""
    pictured = draws.chance(0.5, count)
    patterned = draws.chance(0.15, count)
    return plain(colors(draws, count))._replace(
        second=colors(draws, count),
        across=patterned * draws.chance(0.7, count),
        down=patterned * draws.chance(0.5, count),
        stripes=torch.exp(draws.uniform(count, low=2.0, high=4.5)),
        photo=pictured * draws.uniform(count, low=0.3, high=1.3).clamp(max=1),
        detail=draws.uniform(count, low=-0.3, high=0.8),
        tile=draws.one_of(TILES, count).float(),
        zoom=torch.exp(draws.uniform(count, low=-1.2, high=0.9)),
        u=draws.uniform(count, high=2.0),
        v=draws.uniform(count, high=2.0),
        fold=draws.uniform(count, high=0.12),
        round=draws.chance(0.3, count) * draws.uniform(count, high=0.5),
        soft=draws.uniform(1, low=-0.6, high=1.3).clamp(0, 1).expand(-1, count),
    )


def cloth(draws: Draws, count: int) -> Material:
    """Garments (B,count): dark, white or coloured; plain, striped, checked or printed."""
    vivid = draws.uniform(count, 3) * draws.uniform(count, 1, low=0.3)
    kind = draws.pick(draws.tensor((0.4, 0.2, 0.4)), count, 1)
    dark = 0.03 + 0.15 * vivid
    light = 0.7 + 0.25 * vivid
    color = torch.where(kind == 0, dark, torch.where(kind == 1, light, vivid))
    gray = draws.uniform(count, 1, high=1.2).clamp(max=1)
    color = torch.lerp(color, color.mean(-1, keepdim=True), gray * 0.8)
    pattern = draws.pick(draws.tensor((0.7, 0.08, 0.08, 0.14)), count)
    tone = draws.uniform(count, 1, low=0.4, high=1.6)
    return plain(color)._replace(
        second=torch.where(draws.chance(0.6, count, 1) > 0, color * tone, colors(draws, count)).clamp(0, 1),
        across=(pattern == 1).float() + 0.25 * (pattern == 3),
        down=(pattern == 2).float() + 0.25 * (pattern == 3),
        stripes=torch.exp(draws.uniform(count, low=2.6, high=4.4)),
        detail=draws.chance(0.25, count) * draws.uniform(count, high=0.5),
        tile=draws.one_of(TILES, count).float(),
        zoom=torch.exp(draws.uniform(count, low=-0.5, high=1.0)),
        u=draws.uniform(count, high=2.0),
        v=draws.uniform(count, high=2.0),
        fold=draws.uniform(count, low=0.05, high=0.25),
        round=draws.uniform(count, low=0.1, high=0.45),
    )


def printed(draws: Draws, ground: Tensor) -> Material:
    """A print or badge on cloth of colour `ground` (B,1,3): letters or a picture."""
    letters = draws.chance(0.5, 1)
    ink = torch.where(ground.mean(-1, keepdim=True) < 0.4, 0.85, 0.12) + draws.normal(1, 3, std=0.1)
    return plain(torch.lerp(ground, ink, draws.uniform(1, 1, low=0.3)).clamp(0, 1))._replace(
        photo=(1 - letters) * draws.uniform(1),
        detail=draws.uniform(1, low=0.5, high=1.5),
        tile=torch.where(letters > 0, TEXT, draws.one_of(TILES, 1)).float(),
        zoom=draws.uniform(1, low=0.4, high=1.5),
        u=draws.uniform(1, high=2.0),
        v=draws.uniform(1, high=2.0),
        fold=draws.uniform(1, low=0.05, high=0.25),
    )
