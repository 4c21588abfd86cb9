"""Skin: tone, palms, nails, red knuckles, mottling and pores; and the cloth of sleeves.

Every number here is by eye.

Legend: B samples, 2 hands, V 778 hand vertices, U vertices of hand and arm, P pixels.
"""

import torch
from torch import Tensor

from common.hand.joints import JOINT_NAMES, TIPS
from common.utils.render import vertex_normals
from data.Synthetic.draws import Draws
from data.Synthetic.forearm import DISTANCES, Forearm
from data.Synthetic.layers import Material
from data.Synthetic.poses import PALM
from data.Synthetic.stuff import SKINS

PALM_TONE = (0.90, 0.66, 0.56)
PORES, PORE = 256, 0.0005  # texels of the skin's fine texture, metres per texel


class Skin:
    """Colours of hands, from maps made once on the resting ones."""

    def __init__(self, rest: Tensor, joints: Tensor, hand_faces: Tensor, arm: Forearm):
        """rest (2,V,3), joints (2,21,3) of the flat hands, metres; hand_faces (2,F,3)."""
        inward = rest.new_tensor(PALM)
        palm = (vertex_normals(rest, hand_faces) * inward).sum(-1)  # (2,V)
        ends, last = joints[:, list(TIPS)], joints[:, [tip - 1 for tip in TIPS]]
        knuckles = [i for i, name in enumerate(JOINT_NAMES) if name[-1] in "123"]
        self.palm = torch.sigmoid(6 * palm)
        self.tip = _near(rest, ends, 0.012)
        self.knuckle = _near(rest, joints[:, knuckles], 0.008) * (palm < 0.2)
        self.nail = _near(rest, torch.lerp(ends, last, 0.22) - 0.006 * inward, 0.0055) ** 2 * (palm < 0.1)
        self.rest, self.arm = rest, arm
        place = rest[..., [0, 2]] + rest[..., 1:2] * rest.new_tensor((0.6, 0.8))
        self.place = self._extend(place[None])  # (1,2,U,2) metres on the texture
        self.place[..., 0] += rest.new_tensor((0.0, *DISTANCES))[arm.ring + 1]
        self.pores = _texture(PORES).to(rest.device)

    def coat(self, draws: Draws, tone: Tensor, dressed: Tensor) -> Tensor:
        """Per vertex (B,2,U,6): linear albedo, place on the texture, dressed (B,2,U) or not.

        tone (B,2,3): display colours of the hands.
        """
        albedo = self._extend(self._hand(draws, tone).clamp(0.01, 1).square())
        return torch.cat((albedo, self.place + draws.uniform(2, 1, 2), dressed[..., None].float()), -1)

    def _extend(self, values: Tensor) -> Tensor:
        """(B,2,V,C) -> (B,2,U,C): the arm goes on with the values at the wrist's border."""
        return torch.stack([values[:, hand, row] for hand, row in enumerate(self.arm.origin)], 1)

    def _hand(self, draws: Draws, skin: Tensor) -> Tensor:
        """Display colours (B,2,V,3) of the hands' vertices; skin (B,2,3)."""
        wave, phase = draws.normal(3, 6, std=110.0), draws.uniform(2, 1, 6, high=6.283)  # radians (per metre)
        at = (self.rest.flatten(0, 1) @ wave).unflatten(1, (2, -1))  # (B,2,V,6)
        mottle = (at + phase).sin().mean(-1) * 2.4  # smooth noise on the surface
        hand = skin[:, :, None] * (1 + 0.06 * mottle[..., None])
        lighter = torch.lerp(skin, skin.new_tensor(PALM_TONE), 0.35)[:, :, None]
        hand = torch.lerp(hand, lighter, 0.8 * self.palm[None, ..., None])
        red = draws.uniform(1, 1, low=0.2, high=1.0) * (0.7 * self.tip + 0.6 * self.knuckle)
        hand = hand * (1 - red[..., None] * hand.new_tensor((0.03, 0.17, 0.15)))
        nail = (0.45 * skin + hand.new_tensor((0.50, 0.40, 0.38)))[:, :, None]
        return torch.lerp(hand, nail, self.nail[None, ..., None] * draws.uniform(1, 1, 1, high=0.7))

    def tone(self, draws: Draws) -> Tensor:
        """(B,2,3): one person's two hands, from light to dark."""
        table = draws.tensor(SKINS)
        tone = draws.uniform(1, high=len(SKINS) - 1.001)
        low = tone.long()
        skin = torch.lerp(table[low[:, 0]], table[low[:, 0] + 1], tone - low)[:, None]
        return skin * (1 + draws.normal(2, 3, std=0.02)) * (1 + draws.normal(1, 3, std=0.04))

    def cover(self, draws: Draws, sleeve: Material, unit: Tensor) -> Tensor:
        """(B,2,10): the sleeve's two display colours and stripes, and the roughness of the skin.

        unit (B,1): how much of `sleeve`'s x one metre is.
        """
        stripes = torch.stack((sleeve.across, sleeve.down, sleeve.stripes * unit), -1)
        rough = draws.uniform(1, 1) ** 2 * 0.08 + 0.01
        return torch.cat((sleeve.color, sleeve.second, stripes, rough), -1).expand(-1, 2, -1)

    def albedo(self, coat: Tensor, cover: Tensor, hand: Tensor) -> Tensor:
        """Linear albedo (P,3) of pixels with interpolated coat (P,6); cover (2B,10), hand (P,)."""
        skin, place, dressed = coat.split((3, 2, 1), -1)
        cover = cover.index_select(0, hand)
        first, second, across, down, stripes, rough = cover.split((3, 3, 1, 1, 1, 1), -1)
        column, row = (place / PORE).long().remainder(PORES).unbind(-1)
        fine = self.pores.index_select(0, row * PORES + column)[:, None]
        wave = (stripes * place).sin()
        share = (0.5 + 4 * (across * wave[:, :1] + down * wave[:, 1:])).clamp(0, 1) * (across + down > 0)
        cloth = torch.lerp(first, second, share) * (1 + 0.15 * fine)
        return torch.where(dressed > 0.5, cloth.clamp(0, 1).square(), skin * (1 + rough * fine).clamp(min=0))


def _texture(size: int) -> Tensor:
    """(size*size,) periodic noise of unit variance at several scales, the same on every run."""
    generator = torch.Generator().manual_seed(1)
    white = torch.fft.rfft2(torch.randn(size, size, generator=generator))
    down, across = torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)[None]
    noise = torch.fft.irfft2(white / (down.square() + across.square() + 0.001).sqrt() ** 0.8)
    return ((noise - noise.mean()) / noise.std()).flatten()


def _near(points: Tensor, centres: Tensor, reach: float) -> Tensor:
    """(2,V): 1 on one of the centres (2,C,3), falling with the distance as a Gaussian."""
    return torch.exp(-torch.cdist(points, centres).amin(-1).square() / (2 * reach**2))
