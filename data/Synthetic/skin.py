"""How the hands' surface looks: skin, nails, sleeves, and what light reaches it.

Legend: B samples, 2 hands, V 778 hand vertices, U vertices of hand and arm, S spheres of a hand.
"""

import torch
from torch import Tensor

from common.hand.joints import JOINT_NAMES, TIPS
from common.utils.render import vertex_normals
from data.Synthetic.background import SKINS
from data.Synthetic.draws import Draws
from data.Synthetic.forearm import RINGS, Forearm
from data.Synthetic.poses import PALM

PALM_TONE = (0.90, 0.66, 0.56)


class Skin:
    """Colours of the vertices, from maps made once on the resting hands."""

    def __init__(self, rest: Tensor, joints: Tensor, hand_faces: Tensor, arm: Forearm):
        """rest (2,V,3), joints (2,21,3) of the flat hands, metres; hand_faces (2,F,3)."""
        normals = torch.cat([vertex_normals(rest[h : h + 1], hand_faces[h]) for h in range(2)])
        palm = (normals * rest.new_tensor(PALM)).sum(-1)  # (2,V)
        ends, last = joints[:, list(TIPS)], joints[:, [tip - 1 for tip in TIPS]]
        knuckles = [i for i, name in enumerate(JOINT_NAMES) if name[-1] in "123"]
        self.palm = torch.sigmoid(6 * palm)
        self.tip = _near(rest, ends, 0.012)
        self.knuckle = _near(rest, joints[:, knuckles], 0.008) * (palm < 0.2)
        nail = torch.lerp(ends, last, 0.22) - 0.006 * rest.new_tensor(PALM)
        self.nail = _near(rest, nail, 0.0055) ** 2 * (palm < 0.1)
        self.rest, self.arm = rest, arm

    def albedo(self, draws: Draws, sleeve: Tensor) -> Tensor:
        """Display colours (B,2,U,3); sleeve (B,2): first ring that is dressed."""
        device = self.rest.device
        tone = draws.uniform(1, low=0.0, high=len(SKINS) - 1.001)
        low = tone.long()
        table = torch.tensor(SKINS, device=device)
        skin = torch.lerp(table[low[:, 0]], table[low[:, 0] + 1], tone - low)
        skin = skin[:, None] * (1 + draws.normal(2, 3, std=0.03)) * (1 + draws.normal(1, 3, std=0.04))
        hand = skin[:, :, None] * (1 + 0.07 * self._mottle(draws)[..., None])  # (B,2,V,3)
        lighter = torch.lerp(skin, skin.new_tensor(PALM_TONE), 0.35)[:, :, None]
        hand = torch.lerp(hand, lighter, 0.8 * self.palm[None, ..., None])
        red = draws.uniform(1, 1, low=0.2, high=1.0) * (0.7 * self.tip + 0.6 * self.knuckle)
        hand = hand * (1 - red[..., None] * hand.new_tensor((0.02, 0.16, 0.14)))
        nail = (0.45 * skin + hand.new_tensor((0.50, 0.40, 0.38)))[:, :, None]
        hand = torch.lerp(hand, nail, self.nail[None, ..., None] * draws.uniform(1, 1, 1))
        return torch.cat((hand, self._arm(draws, skin, sleeve)), 2).clamp(0.01, 1)

    def _mottle(self, draws: Draws) -> Tensor:
        """Smooth noise (B,2,V) on the surface: a few waves of random direction."""
        wave = draws.normal(3, 6, std=110.0)  # radians per metre
        phase = draws.uniform(1, 2, 6, high=6.283)
        at = self.rest.flatten(0, 1) @ wave  # (B,2V,6)
        return (at.unflatten(1, (2, -1)) + phase.transpose(1, 2)).sin().sum(-1) / 6**0.5

    def _arm(self, draws: Draws, skin: Tensor, sleeve: Tensor) -> Tensor:
        """Colours (B,2,U - V,3) of skin or sleeve."""
        ring = self.arm.ring[self.arm.ring >= 0]
        cloth = draws.uniform(1, 3) * draws.uniform(1, 1) ** 0.5
        cloth = torch.lerp(cloth, cloth.mean(-1, keepdim=True), draws.uniform(1, 1))
        stripes = 1 + 0.3 * draws.chance(0.3, 1, 1) * (ring % 2)  # (B,1,U-V)
        cloth = cloth[:, :, None] * stripes[..., None]
        return torch.where((ring >= sleeve[..., None])[..., None], cloth, skin[:, :, None])


def draw_sleeve(draws: Draws) -> Tensor:
    """First dressed ring (B,2), the same for both arms; RINGS and more stand for bare arms."""
    first = 1 + draws.pick(torch.ones(4, device=draws.device))
    return torch.where(draws.chance(0.5) > 0, first, RINGS + 1)[:, None].expand(-1, 2)


def occlusion(verts: Tensor, normals: Tensor, centres: Tensor, radii: Tensor, light: Tensor) -> Tensor:
    """Share of sky and of lamp that vertices see past the spheres of both hands: (B,2,U,2).

    verts, normals, light (the direction to each hand's lamp): (B,2,U,3), (B,2,U,3), (B,2,3);
    centres (B,2S,3); radii (B,2S), 0 for spheres that are not there.
    """
    flat = verts.flatten(1, 2)  # (B,2U,3)
    target = centres.transpose(1, 2)
    square = (flat.square().sum(-1, keepdim=True) + centres.square().sum(-1)[:, None]).baddbmm(
        flat, target, alpha=-2
    ).clamp_(min=1e-6)  # (B,2U,2S)
    normal = normals.flatten(1, 2)
    toward = (normal @ target).sub_((normal * flat).sum(-1, keepdim=True)).clamp_(min=0)
    size = radii.square()[:, None]
    covered = toward.mul_(square.rsqrt()).mul_((size / square).clamp_(max=1)).sum(-1)
    lamp = light[:, :, None].expand_as(verts).flatten(1, 2)
    along = (lamp @ target).sub_((lamp * flat).sum(-1, keepdim=True))  # distance along the ray
    miss = square.addcmul_(along, along, value=-1).clamp_(min=0).sqrt_()
    blocked = ((1.25 * radii[:, None] - miss) / (0.5 * radii[:, None] + 1e-6)).clamp_(0, 1)
    blocked = blocked.mul_(along > 1.1 * radii[:, None]).amax(-1)
    sky = 1 - (0.45 * covered).clamp(max=0.85)
    return torch.stack((sky, 1 - 0.9 * blocked), -1).unflatten(1, verts.shape[1:3])


def _near(points: Tensor, centres: Tensor, reach: float) -> Tensor:
    """(2,V) how near each vertex is to one of the centres (2,C,3): 1 on it, falling as a Gaussian."""
    return torch.exp(-torch.cdist(points, centres).amin(-1).square() / (2 * reach**2))
