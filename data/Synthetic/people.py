"""The person behind the hands: torso, head and arms seen from ahead, lap and desk seen from above.

Sizes are of adults, by eye, in metres; `unit` turns them into the picture's x and y.

Legend: B samples, 2 hands, K shapes.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from data.Synthetic.draws import Draws
from data.Synthetic.layers import Layers, Material, choose, joined, stack
from data.Synthetic.photos import FACE, FACE_MIDDLE, FACE_WIDTH, WOOD
from data.Synthetic.stuff import cloth, clutter, plain, printed

AHEAD, OPPOSITE = 0.85, 0.15  # how often somebody is seen behind hands from ahead, behind one's own hands
MASK, PORTRAIT = 9, 8  # layers of a face
ARM = 0.05  # half the width of an upper arm
MASKS = ((0.62, 0.77, 0.86), (0.9, 0.9, 0.9), (0.06, 0.06, 0.07), (0.75, 0.85, 0.75))
HAIRS = ((0.05, 0.04, 0.04), (0.12, 0.08, 0.06), (0.3, 0.2, 0.12), (0.6, 0.45, 0.25), (0.6, 0.6, 0.6))


class Body(NamedTuple):
    """Where the person's hands are in the picture, and what they wear."""

    hands: Tensor  # (B,2,2) x, y of the wrists
    elbows: Tensor  # (B,2,2)
    unit: Tensor  # (B,1) of x per metre, at the body
    down: Tensor  # (B,) 1 where somebody looks down on the hands
    skin: Tensor  # (B,3) display colour
    sleeved: Tensor  # (B,) 1 where the forearm is dressed
    garment: Material  # (B,1)


def people(draws: Draws, body: Body, strength: float, pictured: float) -> Layers:
    """Everything of the person but the hands and forearms; strength 0 leaves them out, pictured 0
    the photographs of faces."""
    ahead = 1 - body.down
    shown = strength * (draws.uniform() < torch.where(ahead > 0, AHEAD, OPPOSITE))
    angle = draws.normal(std=0.15)  # (B,)
    middle = body.hands.mean(1) + draws.normal(2, std=0.06) * body.unit
    middle[:, 1] -= draws.uniform(low=-0.12, high=0.3) * body.unit[:, 0]  # of the shoulders
    width = draws.uniform(low=0.17, high=0.23)
    place = _Place(middle, angle, body.unit, shown)
    parts = [_head_behind(draws, place, body), _torso(draws, place, body, width)]
    parts += [_upper_arms(draws, place, body, width), _face(draws, place, body, pictured)]
    own = strength * (1 - ahead)
    return stack([_lap(draws, body, own), *parts, _desk(draws, body, own + shown * draws.chance(0.3))])


class _Place(NamedTuple):
    """Where the shoulders' middle is, how the body leans, its scale, and whether it is there."""

    middle: Tensor  # (B,2)
    angle: Tensor  # (B,)
    unit: Tensor  # (B,1)
    shown: Tensor  # (B,)

    def at(self, x: Tensor, y: Tensor) -> Tensor:
        """Metres right of and below the shoulders (B,K) -> (B,K,2)."""
        cos, sin = self.angle.cos()[:, None], self.angle.sin()[:, None]
        offset = torch.stack((x * cos - y * sin, x * sin + y * cos), -1)
        return self.middle[:, None] + offset * self.unit[:, None]


def _parts(
    place: _Place, spots: Tensor, material: Material, shown: Tensor, boxes: tuple[bool, ...]
) -> Layers:
    """Shapes upright on the body: spots (B,K,5) of x, y, half width, half height, taper in metres."""
    centre = place.at(spots[..., 0], spots[..., 1])
    angle = place.angle[:, None].expand(-1, spots.shape[1])
    half = spots[..., 2:4] * place.unit[:, None]
    return Layers(centre, half, angle, spots[..., 4], shown * place.shown[:, None], material, boxes)


def _spots(draws: Draws, rows: tuple[tuple[float, ...], ...]) -> Tensor:
    """(B,K,5) with sizes that differ a little from person to person."""
    spots = draws.tensor(rows).expand(draws.batch, -1, -1).clone()
    spots[..., :4] *= draws.uniform(1, 4, low=0.9, high=1.12)
    return spots


def _repeat(material: Material, count: int) -> Material:
    """(B,1) -> (B,count) the same."""
    fields = [field.expand(-1, count, *field.shape[2:]) for field in material]
    return Material(*fields)


def _head_behind(draws: Draws, place: _Place, body: Body) -> Layers:
    """Hair behind the head, and the neck."""
    spots = _spots(draws, ((0, -0.21, 0.088, 0.115, 0), (0, -0.06, 0.055, 0.1, 0)))
    long = draws.chance(0.35)
    spots[:, 0, 1] += 0.07 * long
    spots[:, 0, 3] += 0.08 * long
    hair = draws.tensor(HAIRS)[draws.one_of(len(HAIRS))] * draws.uniform(1, low=0.6, high=1.2)
    material = plain(torch.stack((hair, 0.8 * body.skin), 1))
    fold = torch.full_like(material.fold, 0.25)
    return _parts(place, spots, material._replace(fold=fold), torch.ones_like(fold), (False, True))


def _torso(draws: Draws, place: _Place, body: Body, width: Tensor) -> Layers:
    """Trunk, shoulders, an inner shirt in an open jacket, a print."""
    rows = (
        (0, 0.40, 1, 0.42, 0), (0, 0.1, 1.04, 0.13, 0),
        (0, 0.27, 0.06, 0.33, 0.5), (0, 0.2, 0.1, 0.06, 0),
    )  # fmt: skip
    spots = _spots(draws, rows)
    spots[:, :2, 2] = width[:, None] * spots[:, :2, 2]
    spots[:, 0, 4] = draws.uniform(low=-0.15, high=0.1)
    spots[:, 3] *= draws.uniform(1, low=0.4, high=1.2)
    inner = cloth(draws, 1)
    garment = _repeat(body.garment, 2)
    letters = printed(draws, body.garment.color)
    material = joined([garment, inner, letters])
    open_jacket = draws.chance(0.3)
    shown = torch.stack((torch.ones_like(width), torch.ones_like(width), open_jacket, draws.chance(0.35)), 1)
    return _parts(place, spots, material, shown, (True, False, True, True))


def _upper_arms(draws: Draws, place: _Place, body: Body, width: Tensor) -> Layers:
    """From the shoulders to the elbows: in a sleeve, or bare out of a short one."""
    side = place.shown.new_tensor((-1.0, 1.0))  # the right arm is on the left, seen from ahead
    top = place.at(0.9 * width[:, None] * side, torch.full_like(body.elbows[..., 0], 0.05))
    down = body.elbows - top  # (B,2,2)
    arms = [_limb(body, top, down, ARM), _limb(body, top, 0.45 * down, 1.25 * ARM)]
    centre, half, angle = (torch.cat(values, 1) for values in zip(*arms, strict=True))
    bare = plain(body.skin[:, None].expand(-1, 2, -1))
    bare = bare._replace(round=torch.full_like(bare.round, 0.35))
    sleeve = _repeat(body.garment, 2)
    lower = choose(body.sleeved[:, None], sleeve, bare)
    material = joined([lower, sleeve])
    shown = place.shown[:, None].expand(-1, 4)
    return Layers(centre, half, angle, torch.zeros_like(angle), shown, material, (True, True, True, True))


def _limb(body: Body, start: Tensor, along: Tensor, width: float) -> tuple[Tensor, Tensor, Tensor]:
    """Centre, half size and angle of boxes from `start` (B,2,2) on along (B,2,2)."""
    wide = width * body.unit.expand(-1, 2)
    half = torch.stack((wide, along.norm(dim=-1) / 2 + 0.6 * wide), -1)
    angle = torch.atan2(-along[..., 0], along[..., 1])
    return start + along / 2, half, angle


def _face(draws: Draws, place: _Place, body: Body, pictured: float) -> Layers:
    """Head with fringe, eyes, brows, nose, mouth; now and then a mask or glasses."""
    rows = (
        (0, -0.19, 0.075, 0.105, 0), (0, -0.275, 0.07, 0.035, 0), (0, -0.15, 0.012, 0.03, 0),
        (-0.03, -0.2, 0.014, 0.007, 0), (0.03, -0.2, 0.014, 0.007, 0), (-0.03, -0.222, 0.02, 0.005, 0),
        (0.03, -0.222, 0.02, 0.005, 0), (0, -0.125, 0.026, 0.008, 0), (0, -0.2, 0.105, 0.145, 0),
        (0, -0.145, 0.07, 0.056, -0.1),
        (-0.033, -0.2, 0.026, 0.018, 0), (0.033, -0.2, 0.026, 0.018, 0),
    )  # fmt: skip
    spots = _spots(draws, rows)
    turn = draws.normal(1, std=0.012)  # a head that looks aside shifts its features
    spots[:, 2:, 0] += turn
    skin = body.skin * draws.uniform(1, low=0.75, high=1.1)
    hair = draws.tensor(HAIRS)[draws.one_of(len(HAIRS))]
    dark = draws.tensor((0.12, 0.08, 0.07)).expand_as(skin)
    mouth = skin * draws.tensor((0.85, 0.55, 0.55))
    mask = draws.tensor(MASKS)[draws.pick(draws.tensor((0.5, 0.25, 0.15, 0.1)))]
    lens = 0.5 * skin
    tones = (skin, hair, 0.85 * skin, dark, dark, 0.6 * hair, 0.6 * hair, mouth, skin, mask, lens, lens)
    material = plain(torch.stack(tones, 1).clamp(0, 1))
    masked, glasses, fringe = draws.chance(0.4), draws.chance(0.3), draws.chance(0.8)
    rim = torch.zeros_like(material.round)
    rim[:, 0], rim[:, MASK] = 0.35, 0.25
    material = _portrait(draws, material, place.unit)._replace(round=rim, fold=0.05 + 0 * rim)
    always = torch.ones_like(masked)
    real = pictured * draws.chance(0.35)
    shown = torch.stack((always, fringe, *[always] * 6, real, masked, glasses, glasses), 1)
    boxes = (False, False, False, False, False, True, True, False, False, True, True, True)
    return _parts(place, spots, material, shown, boxes)


def _portrait(draws: Draws, material: Material, unit: Tensor) -> Material:
    """Faces out of focus; the photograph of a face on layer PORTRAIT."""
    photo, u, v, zoom, tile = (torch.zeros_like(material.photo) for _ in range(5))
    photo[:, PORTRAIT] = draws.uniform(low=0.5, high=1.0)
    u[:, PORTRAIT], v[:, PORTRAIT] = 1 + FACE_MIDDLE[0], 1 + FACE_MIDDLE[1]
    zoom[:, PORTRAIT] = FACE_WIDTH / (0.15 * unit[:, 0])  # a face is some 15 cm wide
    tile[:, PORTRAIT] = FACE
    soft = draws.uniform(1, high=0.8).expand_as(photo)
    return material._replace(photo=photo, u=u, v=v, zoom=zoom, tile=tile, soft=soft)


def _lap(draws: Draws, body: Body, own: Tensor) -> Layers:
    """Thighs of somebody who looks down on their own hands."""
    seated = own * draws.chance(0.35)
    middle = body.hands.mean(1) + draws.normal(2, std=0.08) * body.unit
    side = draws.tensor((-1.0, 1.0)) * draws.uniform(1, low=0.09, high=0.2)
    unit = body.unit
    centre = torch.stack((middle[:, :1] + side * unit, middle[:, 1:] + 0.15 * unit + 0 * side), -1)
    half = (draws.tensor((0.085, 0.5)) * unit)[:, None].expand(-1, 2, -1)
    angle = side * draws.uniform(1, high=1.5)
    garment = _repeat(cloth(draws, 1), 2)
    shown = seated[:, None].expand(-1, 2)
    return Layers(centre, half, angle, -0.1 + 0 * angle, shown, garment, (True, True))


def _desk(draws: Draws, body: Body, likely: Tensor) -> Layers:
    """The edge of a table below the hands; from the owner's own view it may fill the picture."""
    wood = draws.chance(0.5, 1)
    top = body.hands[..., 1].amax(1) + draws.uniform(low=-0.02, high=0.25) * body.unit[:, 0]
    filled = body.down * draws.chance(0.5)
    top = torch.where(filled > 0, -1.5 + 0 * top, top)
    centre = torch.stack((0 * top, top + 3), -1)[:, None]
    material = clutter(draws, 1)
    material = material._replace(
        tile=torch.where(wood > 0, WOOD, material.tile),
        photo=material.photo * 0.7,
        soft=material.soft * 0.5,
        across=0 * wood,
        down=0 * wood,
    )
    half = draws.tensor((6.0, 3.0)).expand(draws.batch, 1, -1)
    angle = draws.normal(1, std=0.08)
    shown = (likely * draws.chance(0.6))[:, None]
    return Layers(centre, half, angle, 0 * angle, shown, material, (True,))
