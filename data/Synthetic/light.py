"""Lamps, what reaches the surface past the hands' own fingers, and how skin returns it.

Every number here is by eye: a picture shall look like skin in a room, not be physically exact.

Legend: B samples, 2 hands, U vertices of hand and arm, S spheres of a hand, P pixels.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from data.Synthetic.draws import Draws

SCATTER = (0.35, 0.2, 0.12)  # how far light of each colour creeps past the terminator of skin, by eye


class Lamps(NamedTuple):
    """A lamp per hand: direction to it, its colour and that of the sky (B,2,3), gloss (B,2,1)."""

    direction: Tensor
    color: Tensor
    sky: Tensor
    gloss: Tensor


def draw_lamps(draws: Draws) -> Lamps:
    """Lamps on the camera's side, mostly from above, a little different for each hand."""
    side = draws.normal(1, 1, std=0.7)
    up = -draws.uniform(1, 1, low=-0.2, high=1.0)
    front = -draws.uniform(1, 1, low=0.25)
    direction = normalize(torch.cat((side, up, front), -1) + draws.normal(2, 3, std=0.2), dim=-1)
    exposure = torch.exp(draws.normal(1, 1, std=0.25) + draws.normal(2, 1, std=0.1))
    share = draws.uniform(1, 1, low=0.2, high=0.65)
    warm = 1 + draws.normal(1, 3, std=0.06)
    color, sky = 1.4 * exposure * (1 - share) * warm, 1.2 * exposure * share * (2 - warm)
    return Lamps(direction, color, sky, draws.uniform(1, 1, high=0.1).expand(-1, 2, -1))


def shine(values: Tensor, albedo: Tensor, lamps: Lamps, hand: Tensor) -> Tensor:
    """Display colours (P,3) from normal, visible sky and lamp (P,5) and linear albedo (P,3).

    hand (P,): row of the pixel's lamp among the 2 B.
    """
    normal, sky_seen, lamp_seen = values.split((3, 1, 1), -1)
    rows = torch.cat(lamps, -1).flatten(0, 1)
    lamp, color, sky, gloss = rows.index_select(0, hand).split((3, 3, 3, 1), -1)
    normal = normalize(normal, dim=-1)
    scatter = values.new_tensor(SCATTER)
    facing = (normal * lamp).sum(-1, keepdim=True)
    diffuse = ((facing + scatter) / (1 + scatter)).clamp(min=0) * lamp_seen
    dome = sky_seen * (0.75 - 0.25 * normal[:, 1:2])  # more light from above
    half = normalize(lamp - lamp.new_tensor((0.0, 0.0, 1.0)), dim=-1)
    glint = (normal * half).sum(-1, keepdim=True).clamp(min=0) ** 16 * gloss * lamp_seen
    linear = albedo * (color * diffuse + sky * dome) + glint * color
    # A film's shoulder instead of clipping: light skin keeps its shape in strong light.
    return (linear / (0.75 + 0.5 * linear)).clamp(0, 1).sqrt()


def occlusion(verts: Tensor, normals: Tensor, centres: Tensor, radii: Tensor, light: Tensor) -> Tensor:
    """Share of sky and of lamp that vertices see past the spheres of both hands: (B,2,U,2).

    verts, normals (B,2,U,3); light (B,2,3), the direction to each hand's lamp; centres (B,2S,3);
    radii (B,2S), 0 for spheres that are not there.
    """
    flat, normal = verts.flatten(1, 2), normals.flatten(1, 2)  # (B,2U,3)
    target = centres.transpose(1, 2)
    square = flat.square().sum(-1, keepdim=True) + centres.square().sum(-1)[:, None]
    square = square.baddbmm_(flat, target, alpha=-2).clamp_(min=1e-6)  # (B,2U,2S)
    toward = (normal @ target).sub_((normal * flat).sum(-1, keepdim=True)).clamp_(min=0)
    size = radii.square()[:, None]
    covered = toward.mul_(square.rsqrt()).mul_((size / square).clamp_(max=1)).sum(-1)
    lamp = light[:, :, None].expand_as(verts).flatten(1, 2)
    along = (lamp @ target).sub_((lamp * flat).sum(-1, keepdim=True))  # distance along the ray
    miss = square.addcmul_(along, along, value=-1).clamp_(min=0).sqrt_()
    soft = 1 / (0.5 * radii[:, None] + 1e-6)
    blocked = (1.25 * radii[:, None] * soft - miss.mul_(soft)).clamp_(0, 1)
    blocked = blocked.mul_(along > 1.1 * radii[:, None]).amax(-1)
    sky = 1 - (0.6 * covered).clamp(max=0.85)
    return torch.stack((sky, 1 - 0.9 * blocked), -1).unflatten(1, verts.shape[1:3])
