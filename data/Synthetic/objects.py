"""Things that a hand holds: bottles, balls, boxes, cards and pens.

One mesh takes all these shapes: rings along an axis, each with a round or a square section. Sizes by eye.

Legend: B samples, 2 hands, O vertices of the thing, R rings, A vertices in a ring. Metres, camera frame.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from common.hand.joints import JOINT_NAMES
from common.utils.geometry import axis_angle_to_matrix
from data.Synthetic.draws import Draws
from data.Synthetic.interactions import INTERACTIONS
from data.Synthetic.labels import Placed
from data.Synthetic.layers import Material
from data.Synthetic.photos import Photos
from data.Synthetic.stuff import clutter

# Share of pictures with a thing: of hands around one, of others that may stay apart, that touch, of one hand.
AROUND_IT, APART, TOUCHING, ALONE = 0.75, 0.35, 0.08, 0.3
HOLDING = ("bottle", "cup", "phone", "screen", "card")  # of interactions.INTERACTIONS
AROUND = 16
Profile = tuple[tuple[float, float], ...]
# Place along the axis and width of each ring; two rings close to each other make an edge.
CYLINDER: Profile = ((-1, 0), (-1, 0.96), (-0.99, 1), (-0.3, 1), (0.3, 1), (0.99, 1), (1, 0.96), (1, 0))
BOTTLE: Profile = ((-1, 0), (-1, 0.95), (-0.98, 1), (0.3, 1), (0.5, 0.45), (0.95, 0.42), (1, 0.4), (1, 0))
BALL: Profile = tuple((-math.cos(math.pi * k / 7), math.sin(math.pi * k / 7)) for k in range(8))


class Kind(NamedTuple):
    """A sort of thing; smallest and largest half sizes along the fingers, across them, off the palm."""

    weight: float
    profile: Profile
    square: bool
    pinched: bool  # between thumb and index finger instead of in the palm
    smallest: tuple[float, float, float]
    largest: tuple[float, float, float]


KINDS = (
    Kind(0.25, CYLINDER, False, False, (0.018, 0.04, 0.018), (0.038, 0.10, 0.038)),
    Kind(0.15, BOTTLE, False, False, (0.018, 0.05, 0.018), (0.038, 0.11, 0.038)),
    Kind(0.12, BALL, False, False, (0.018, 0.018, 0.018), (0.042, 0.042, 0.042)),
    Kind(0.15, CYLINDER, True, False, (0.012, 0.02, 0.012), (0.04, 0.09, 0.035)),
    Kind(0.18, CYLINDER, True, True, (0.025, 0.04, 0.001), (0.042, 0.08, 0.006)),
    Kind(0.15, CYLINDER, False, True, (0.003, 0.06, 0.003), (0.008, 0.13, 0.008)),
)


class Thing(NamedTuple):
    """One thing in each picture."""

    verts: Tensor  # (B,O,3)
    place: Tensor  # (B,O,2) on its own surface
    exists: Tensor  # (B,) 0 or 1
    material: Material  # (B,1)


class Things:
    """The shared mesh; `faces` (F,3) are wound outward."""

    def __init__(self, device: torch.device):
        self.profiles = torch.tensor([kind.profile for kind in KINDS], device=device)  # (kinds,R,2)
        outlines = torch.stack((_circle(), _square())).to(device)  # (2,A,2)
        self.outlines = outlines[torch.tensor([int(kind.square) for kind in KINDS], device=device)]
        self.faces = _tube(self.profiles.shape[1]).to(device)
        around = [name in HOLDING for name in INTERACTIONS]
        touching = [interaction.touch for interaction in INTERACTIONS.values()]
        self.around = torch.tensor(around, device=device)
        self.likely = torch.where(torch.tensor(touching, device=device), TOUCHING, APART)
        self.likely = torch.where(self.around, AROUND_IT, self.likely)
        self.count = self.profiles.shape[1] * AROUND  # vertices

    def __call__(self, draws: Draws, hands: Placed, strength: float) -> Thing:
        """A thing near the palm or the finger tips of one of the hands; strength 0 leaves it out."""
        kinds = draws.pick(draws.tensor([kind.weight for kind in KINDS]))
        smallest = draws.tensor([kind.smallest for kind in KINDS])[kinds]
        largest = draws.tensor([kind.largest for kind in KINDS])[kinds]
        half = smallest + (largest - smallest) * draws.uniform(3)
        half[:, 2] = torch.where(half[:, 2] > 0.0121, half[:, 0], half[:, 2])
        along, width = self.profiles[kinds].unbind(-1)  # (B,R)
        outline = self.outlines[kinds]  # (B,A,2)
        ring = width[:, :, None, None] * outline[:, None]  # (B,R,A,2)
        axis = along[:, :, None].expand(-1, -1, AROUND)
        local = torch.stack((ring[..., 0], axis, ring[..., 1]), -1).flatten(1, 2) * half[:, None]  # (B,O,3)
        pinched = draws.tensor([kind.pinched for kind in KINDS])[kinds]
        two = hands.exists.amin(1) > 0
        centre, frame = _grip(draws, hands, half[:, 2:], pinched[:, None], two & self.around[hands.kind])
        verts = centre[:, None] + local @ frame.transpose(1, 2)
        likely = torch.where(two, self.likely[hands.kind], ALONE)
        exists = strength * (draws.uniform() < likely) * hands.exists.amax(1)
        return Thing(verts, local[..., :2] + local[..., 2:], exists, clutter(draws, 1))


def thing_albedo(thing: Thing, photos: Photos, place: Tensor, picture: Tensor) -> Tensor:
    """Linear colour (3,P) at places (2,P) on the things of pictures (P,)."""
    fields = thing.material.table()[:, 0].t().index_select(1, picture)  # (M,P)
    color, second, across, down, stripes = fields[:3], fields[3:6], fields[6], fields[7], fields[8]
    photo, detail, tile, zoom, u, v = fields[9:15]
    wave = across * (10 * stripes * place[0]).sin() + down * (10 * stripes * place[1]).sin()
    color = torch.lerp(color, second, (0.5 + 4 * wave).clamp(0, 1) * (across + down > 0))
    seen = photos(tile.long(), place[0] * 8 * zoom + u, place[1] * 8 * zoom + v)
    color = torch.lerp(color, seen, photo) * (1 + detail * (2 * seen.mean(0) - 1))
    return color.clamp(0.01, 1).square()


def _grip(draws: Draws, hands: Placed, thick: Tensor, pinched: Tensor, both: Tensor) -> tuple[Tensor, Tensor]:
    """Centre (B,3) and axes (B,3,3; columns along the fingers, across, off the palm) of a held thing.

    thick (B,1): half of it; pinched (B,1): at the finger tips; both (B,): between the two hands.
    """
    joints = {name: hands.joints[:, :, number] for number, name in enumerate(JOINT_NAMES)}  # (B,2,3) each
    wrist, middle = joints["wrist"], joints["middle1"]
    across = normalize(joints["index1"] - joints["pinky1"], dim=-1)
    mirrored = across.new_tensor((1.0, -1.0))[:, None]
    out = normalize(torch.linalg.cross(across, middle - wrist), dim=-1) * mirrored  # off the palm
    along = torch.linalg.cross(across, out)
    in_palm = torch.lerp(wrist, middle, 0.95) + out * (thick + 0.016)[:, None]
    slip = draws.normal(2, 1, 1, std=0.02)
    at_tips = (joints["thumb4"] + joints["index4"]) / 2 + across * slip[:, 0] + along * slip[:, 1]
    centre = torch.where(pinched[:, None] > 0, at_tips, in_palm)
    row, hand = torch.arange(len(pinched), device=pinched.device), draws.pick(hands.exists + 1e-6)
    centre = torch.where(both[:, None], centre.mean(1), centre[row, hand]) + draws.normal(3, std=0.006)
    turn = axis_angle_to_matrix(draws.normal(3, std=0.3) * (1 + pinched))
    return centre, turn @ torch.stack((along, across, out), -1)[row, hand]


def _circle() -> Tensor:
    """(A,2) around the axis."""
    angle = torch.arange(AROUND) * (2 * math.pi / AROUND)
    return torch.stack((angle.cos(), angle.sin()), -1)


def _square() -> Tensor:
    """(A,2) around the axis, with bevelled corners."""
    side = torch.tensor((-0.94, -0.3, 0.3, 0.94))
    x, y = torch.ones(4), side
    sides = []
    for _ in range(4):
        sides.append(torch.stack((x, y), -1))
        x, y = -y, x
    return torch.cat(sides)


def _tube(rings: int) -> Tensor:
    """Faces (F,3) between neighbouring rings."""
    number = torch.arange(rings * AROUND).view(rings, AROUND)
    following = number.roll(-1, 1)
    a, b, c, d = number[:-1], following[:-1], number[1:], following[1:]
    return torch.cat((torch.stack((a, c, b), -1).flatten(0, 1), torch.stack((b, c, d), -1).flatten(0, 1)))
