"""Lamps, what reaches the surface past the hands' own fingers, and how skin returns it.

Every number here is by eye: a picture shall look like skin in a room, not be physically exact.

Legend: B samples, 3 bodies (right hand, left hand, thing), V vertices of all of them, S spheres, P pixels.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, normalize

from data.Synthetic.contrast import Contrast
from data.Synthetic.draws import Draws

SCATTER = (0.35, 0.2, 0.12)  # how far light of each colour creeps past the terminator of skin, by eye
NEARBY = 9  # pixels a side
ROUND, DEEP = 0.003, 0.012  # metres: a finger curves away by as much; from where on it is dark
# By kind of light (room, hard from the side, soft): weight, spread to the sides, least and most share of sky.
KINDS = ((0.5, 0.7, 0.25, 0.65), (0.25, 1.6, 0.1, 0.3), (0.25, 0.7, 0.6, 0.85))


class Lamps(NamedTuple):
    """Two lamps for each body, a little different from body to body: (B,3,3) each but the gloss (B,3,1)."""

    direction: Tensor  # to the lamp that throws shadows
    color: Tensor
    second: Tensor  # direction to the other one
    second_color: Tensor
    sky: Tensor
    gloss: Tensor
    shadow: Tensor  # factors of the light that shadows take


def draw_lamps(draws: Draws, strength: float, contrast: Contrast) -> Lamps:
    """Lamps on the camera's side, mostly from above; strength 0 leaves one lamp in a room."""
    kinds = draws.tensor(KINDS)
    kind = draws.pick(kinds[:, 0]) * int(strength)
    _, spread, least, most = kinds[kind][:, None, :, None].unbind(2)  # (B,1,1) each
    side = draws.normal(1, 1) * spread
    up = -draws.uniform(1, 1, low=-0.2, high=1.0)
    front = -draws.uniform(1, 1, low=0.25)
    direction = normalize(torch.cat((side, up, front), -1) + draws.normal(3, 3, std=0.15), dim=-1)
    exposure = torch.exp(draws.normal(1, 1, std=0.2) - 0.05 + draws.normal(3, 1, std=0.08))
    share = least + (most - least) * draws.uniform(1, 1)
    share = share * (1 - contrast.hard)
    color, sky = 1.4 * exposure * (1 - share) * _warmth(draws), 1.2 * exposure * share * _warmth(draws)
    other = torch.cat((draws.normal(1, 2), draws.uniform(1, 1, low=-0.6, high=1.0)), -1)
    second = normalize(other, dim=-1).expand(-1, 3, -1)  # from anywhere, also from behind
    power = strength * draws.chance(0.4, 1, 1) * draws.uniform(1, 1, low=0.1, high=0.6)
    gloss = draws.uniform(1, 1, high=0.15).expand(-1, 3, -1)
    second_color = exposure * power * _warmth(draws)
    return Lamps(direction, color, second, second_color, sky, gloss, contrast.shadow.expand(-1, 3, -1))


def _warmth(draws: Draws) -> Tensor:
    """Colour (B,1,3) of a lamp, from warm to cold."""
    red = draws.normal(1, 1, std=0.1)
    return torch.cat((1 + red, torch.ones_like(red), 1 - red), -1) * (1 + draws.normal(1, 3, std=0.03))


def shine(values: Tensor, albedo: Tensor, lamps: Lamps, body: Tensor) -> Tensor:
    """Display colours (3,P) from normal, visible sky and lamp (5,P) and linear albedo (3,P).

    body (P,): row of the pixel's lamp among the 3 B.
    """
    rows = torch.cat(lamps, -1).flatten(0, 1).t().contiguous().index_select(1, body)
    lamp, color, second, second_color, sky, gloss, shadow = rows.split((3, 3, 3, 3, 3, 1, 3))
    normal = values[:3] * _dot(values[:3], values[:3]).clamp(min=1e-12).rsqrt()
    # by colour (3,P)
    sky_seen = (1 - (1 - values[3]) * shadow).clamp_(min=0)
    lamp_seen = (1 - (1 - values[4]) * shadow).clamp_(min=0)
    scatter = values.new_tensor(SCATTER)[:, None]
    facing = _dot(normal, lamp)
    diffuse = ((facing + scatter) / (1 + scatter)).clamp_(min=0).mul_(lamp_seen)
    dome = sky_seen * (0.75 - 0.25 * normal[1])  # more light from above
    light = (color * diffuse).addcmul_(sky, dome)
    light.addcmul_(second_color, _dot(normal, second).clamp_(min=0) * sky_seen)
    half = lamp - lamp.new_tensor((0.0, 0.0, 1.0))[:, None]
    glint = (_dot(normal, half) * _dot(half, half).clamp(min=1e-12).rsqrt()).clamp_(min=0)
    for _ in range(4):
        glint = glint.square_()
    linear = (albedo * light).addcmul_(color, glint * gloss[0] * lamp_seen)
    # A film's shoulder instead of clipping: light skin keeps its shape in strong light.
    return (linear / (0.75 + 0.5 * linear)).clamp_(0, 1).sqrt_()


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """(3,P), (3,P) -> (P,)."""
    return (a[0] * b[0]).addcmul_(a[1], b[1]).addcmul_(a[2], b[2])


def crevices(depth: Tensor, pixel: Tensor, mask: Tensor) -> Tensor:
    """How far each covered pixel (P,) lies behind the mean of those around it: 0 to ROUND, 1 from DEEP on.

    depth (P,) metres; pixel (P,) among those of mask (B,H,W). Occlusion in the picture: it finds the gaps
    between fingers, which are finer than the spheres.
    """
    covered = mask.float()
    depths = torch.zeros_like(covered).view(-1).index_copy_(0, pixel, depth).view_as(covered)
    around = avg_pool2d(torch.stack((depths, covered), 1), NEARBY, stride=1, padding=NEARBY // 2)
    mean = (around[:, 0] / around[:, 1].clamp(min=1e-6)).view(-1).index_select(0, pixel)
    return ((depth - mean - ROUND) / (DEEP - ROUND)).clamp_(0, 1)


def occlusion(verts: Tensor, normals: Tensor, centres: Tensor, radii: Tensor, light: Tensor) -> Tensor:
    """Share of sky and of lamp that vertices see past the spheres of both hands: (B,V,2).

    verts, normals (B,V,3); light (B,V,3), the direction to each vertex's lamp; centres (B,2S,3);
    radii (B,2S), 0 for spheres that are not there.
    """
    target = centres.transpose(1, 2)
    square = verts.square().sum(-1, keepdim=True) + centres.square().sum(-1)[:, None]
    square = square.baddbmm_(verts, target, alpha=-2).clamp_(min=1e-6)  # (B,V,2S)
    toward = (normals @ target).sub_((normals * verts).sum(-1, keepdim=True)).clamp_(min=0)
    size = radii.square()[:, None]
    covered = toward.mul_(square.rsqrt()).mul_((size / square).clamp_(max=1)).sum(-1)
    along = (light @ target).sub_((light * verts).sum(-1, keepdim=True))  # distance along the ray
    miss = square.addcmul_(along, along, value=-1).clamp_(min=0).sqrt_()
    soft = 1 / (0.5 * radii[:, None] + 1e-6)
    blocked = (1.25 * radii[:, None] * soft - miss.mul_(soft)).clamp_(0, 1)
    blocked = blocked.mul_(along > 1.1 * radii[:, None]).amax(-1)
    sky = 1 - (0.7 * covered).clamp(max=0.85)
    return torch.stack((sky, 1 - 0.9 * blocked), -1)
