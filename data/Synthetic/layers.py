"""Pictures put together from flat shapes of cloth, skin, wood and photographs, back to front.

Legend: B samples, K layers, M fields of a material, N = B WORK WORK pixels. x, y run from -1 to 1 across the
picture; a, b are a shape's own coordinates, -1 to 1 across it. Colours are display values in [0,1].
"""

from typing import NamedTuple

import torch
from torch import Tensor

from data.Synthetic.photos import Photos

WORK = 128  # pixels a side while a picture is put together
AWAY = 1e4  # where shapes stand that are not in the picture


class Material(NamedTuple):
    """What fills shapes (B,K) each; colours (B,K,3). Zeros everywhere are plain black."""

    color: Tensor
    second: Tensor  # the other colour of a pattern
    across: Tensor  # strength of stripes along b, then their number per unit of x
    down: Tensor  # the same the other way
    stripes: Tensor
    photo: Tensor  # share of the photograph's own colours
    detail: Tensor  # how much its brightness modulates the colour
    tile: Tensor
    zoom: Tensor  # tiles per unit of x
    u: Tensor  # where the photograph begins
    v: Tensor
    fold: Tensor  # strength of folds and stains
    round: Tensor  # darkening towards the rim
    soft: Tensor  # share of the out-of-focus picture

    def table(self) -> Tensor:
        """(B,K,M), the colours first."""
        columns = [field if field.dim() == 3 else field[..., None] for field in self]
        return torch.cat(columns, -1)


class Layers(NamedTuple):
    """Shapes in a picture, the first one at the back."""

    centre: Tensor  # (B,K,2)
    half: Tensor  # (B,K,2) half their size
    angle: Tensor  # (B,K) radians
    taper: Tensor  # (B,K) how much wider they are at b = 1 than at b = 0
    shown: Tensor  # (B,K) 0 or 1
    material: Material
    boxes: tuple[bool, ...]  # K: a box with round corners, or an ellipse


def choose(first: Tensor, one: Material, other: Material) -> Material:
    """`one` where first (B,K) is 1, else `other`; both (B,K)."""
    return Material(
        *[
            torch.where(first[..., None] > 0 if a.dim() == 3 else first > 0, a, b)
            for a, b in zip(one, other, strict=True)
        ]
    )


def joined(materials: list[Material]) -> Material:
    """Materials (B,K) of several groups as one."""
    return Material(*[torch.cat(fields, 1) for fields in zip(*materials, strict=True)])


def stack(groups: list[Layers]) -> Layers:
    """All layers of several groups, the last ones in front."""
    fields = [torch.cat(values, 1) for values in zip(*[group[:5] for group in groups], strict=True)]
    boxes = sum((group.boxes for group in groups), ())
    return Layers(*fields, joined([group.material for group in groups]), boxes)


def owners(layers: Layers) -> tuple[Tensor, Tensor]:
    """The foremost layer (B,WORK,WORK) int64 of each pixel; frames (B,K,2,3) from x, y, 1 to a, b.

    The first layer is the ground, which covers everything.
    """
    frames = _frames(layers)
    axis = torch.linspace(-1, 1, WORK, device=frames.device)
    along_x = frames[..., 0, None] * axis  # (B,K,2,WORK)
    along_y = frames[..., 1, None] * axis + frames[..., 2, None]
    owner = torch.zeros(len(frames), WORK, WORK, dtype=torch.int32, device=frames.device)
    drawn, tapered = (layers.shown > 0).any(0).tolist(), (layers.taper != 0).any(0).tolist()
    for k in range(1, frames.shape[1]):
        if not drawn[k]:
            continue
        a = along_x[:, k, 0, None, :] + along_y[:, k, 0, :, None]
        b = along_x[:, k, 1, None, :] + along_y[:, k, 1, :, None]
        if tapered[k]:
            a /= (1 + layers.taper[:, k, None, None] * b).clamp_(min=0.1)
        a, b = a.square_(), b.square_()
        if layers.boxes[k]:
            a, b = a.square_(), b.square_()
        owner.masked_fill_(a.add_(b) < 1, k)
    return owner.long(), frames


def paint(layers: Layers, photos: Photos, folds: Tensor, behind: int) -> tuple[Tensor, Tensor]:
    """The picture (B,3,WORK,WORK), and 1 where one of the first `behind` layers is seen (B,1,WORK,WORK).

    folds (B,WORK,WORK) is smooth noise of unit size.
    """
    owner, frames = owners(layers)
    batch, count = owner.shape[0], layers.centre.shape[1]
    rows = (owner + count * torch.arange(batch, device=owner.device)[:, None, None]).flatten()  # (N,)
    table = torch.cat((frames.flatten(2), layers.half, layers.material.table()), -1).flatten(0, 1)
    fields = table.t().contiguous().index_select(1, rows)  # (8+M,N)
    axis = torch.linspace(-1, 1, WORK, device=owner.device)
    x = axis.expand(batch, WORK, WORK).reshape(-1)
    y = axis[:, None].expand(batch, WORK, WORK).reshape(-1)
    a = fields[0] * x + fields[1] * y + fields[2]
    b = fields[3] * x + fields[4] * y + fields[5]
    picture = _fill(fields[6:8], fields[8:], a, b, photos, folds.flatten())
    soft = fields[-1].view(batch, 1, WORK, WORK)
    picture = picture.view(3, batch, WORK, WORK).transpose(0, 1)
    picture = torch.lerp(picture, _out_of_focus(picture), soft).clamp_(0, 1)
    return picture, (owner < behind)[:, None].float()


def _frames(layers: Layers) -> Tensor:
    """(B,K,2,3): x, y, 1 -> a, b."""
    cos, sin = layers.angle.cos(), layers.angle.sin()
    axes = torch.stack((torch.stack((cos, sin), -1), torch.stack((-sin, cos), -1)), 2)
    axes = axes / layers.half[..., None]
    centre = torch.where(layers.shown[..., None] > 0, layers.centre, AWAY)
    return torch.cat((axes, -(axes @ centre[..., None])), -1)


def _fill(half: Tensor, fields: Tensor, a: Tensor, b: Tensor, photos: Photos, folds: Tensor) -> Tensor:
    """Colours (3,N) of materials (M,N) at a, b (N,)."""
    color, second = fields[:3], fields[3:6]
    across, down, stripes, photo, detail, tile, zoom, u, v, fold, edge = fields[6:17]
    x, y = a * half[0], b * half[1]
    wave = across * (stripes * x).sin() + down * (stripes * y).sin()
    share = (0.5 + 2 * wave).clamp_(0, 1) * (across + down > 0)
    color = torch.lerp(color, second, share)
    seen = photos(tile.long(), x * zoom + u, y * zoom + v)
    color = torch.lerp(color, seen, photo)
    light = 1 + detail * (2 * seen.mean(0) - 1) + fold * folds
    return color * (light - edge * (a * a + b * b).clamp_(max=1)).clamp_(min=0)


def _out_of_focus(picture: Tensor) -> Tensor:
    """A strongly blurred copy of (B,3,H,W)."""
    small = torch.nn.functional.avg_pool2d(picture, 4)
    small = torch.nn.functional.avg_pool2d(small, 3, stride=1, padding=1, count_include_pad=False)
    return torch.nn.functional.interpolate(small, size=picture.shape[-2:], mode="bilinear")
