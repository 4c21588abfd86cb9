"""Skin: tone, palms, nails, red knuckles, creases, mottling, pores and hair; rings, watches, gloves, sleeves.

Every number here is by eye.

Legend: B samples, 2 hands, V 778 hand vertices, U vertices of hand and arm, P pixels.
"""

import torch
from torch import Tensor

from common.hand.joints import FINGERS, JOINT_NAMES, TIPS
from common.utils.render import vertex_normals
from data.Synthetic.draws import Draws
from data.Synthetic.forearm import DISTANCES, Forearm
from data.Synthetic.layers import Material
from data.Synthetic.poses import PALM
from data.Synthetic.stuff import SKINS

PALM_TONE = (0.90, 0.66, 0.56)
PORES, PORE = 256, 0.0005  # texels of the skin's fine texture, a power of two; metres per texel
CUFF = 0.02  # metres
METALS = ((0.85, 0.7, 0.35), (0.75, 0.75, 0.77), (0.07, 0.07, 0.08), (0.3, 0.18, 0.1))
WATCHES, RINGS, GLOVES, HAIRY = 0.12, 0.08, 0.02, 0.25  # shares of people
PLACE = slice(3, 5)  # the place on the texture, in a coat
SMOOTH = 0.4  # where on the fingers' measure no crease is


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
        finger, measure = _along_fingers(rest, joints)
        # where a ring sits; on the thumb that would be its ball
        band = torch.exp(-((measure - 0.5) / 0.12).square()) * (finger > 0)
        self.ring = band[..., None] * (finger[..., None] == torch.arange(len(FINGERS), device=rest.device))
        self.rest, self.arm = rest, arm
        behind = rest.new_tensor((0.0, *DISTANCES))[arm.ring + 1]  # (U,) metres behind the wrist
        place = rest[..., [0, 2]] + rest[..., 1:2] * rest.new_tensor((0.6, 0.8))
        place = self._extend(place[None])  # (1,2,U,2) metres on the texture
        place[..., 0] += behind
        measure = self._extend(measure.clamp(min=SMOOTH)[None, ..., None])
        self.place = place
        self.measure = torch.where(behind[:, None] > 0, -behind[:, None], measure)  # (1,2,U,1)
        self.pores = _texture(PORES).to(rest.device)

    def coat(self, draws: Draws, tone: Tensor, dressed: Tensor, strength: float) -> Tensor:
        """Per vertex (B,2,U,7): linear albedo, place on the texture, dressed (B,2,U) or not, and a measure:
        joints of the fingers passed, or minus the metres behind the wrist.

        tone (B,2,3): display colours of the hands; strength 0: no gloves and no rings.
        """
        albedo = self._extend(self._hand(draws, tone, strength).clamp(0.01, 1).square())
        place = self.place + draws.uniform(2, 1, 2)
        measure = self.measure.expand(len(tone), -1, -1, -1)
        return torch.cat((albedo, place, dressed[..., None].float(), measure), -1)

    def _extend(self, values: Tensor) -> Tensor:
        """(B,2,V,C) -> (B,2,U,C): the arm goes on with the values at the wrist's border."""
        return torch.stack([values[:, hand, row] for hand, row in enumerate(self.arm.origin)], 1)

    def _hand(self, draws: Draws, skin: Tensor, strength: float) -> Tensor:
        """Display colours (B,2,V,3) of the hands' vertices; skin (B,2,3)."""
        wave, phase = draws.normal(3, 6, std=110.0), draws.uniform(2, 1, 6, high=6.283)  # radians (per metre)
        at = (self.rest.flatten(0, 1) @ wave).unflatten(1, (2, -1))  # (B,2,V,6)
        mottle = (at + phase).sin().mean(-1) * 2.4  # smooth noise on the surface
        hand = skin[:, :, None] * (1 + 0.05 * mottle[..., None])
        lighter = torch.lerp(skin, skin.new_tensor(PALM_TONE), 0.35)[:, :, None]
        hand = torch.lerp(hand, lighter, 0.8 * self.palm[None, ..., None])
        red = draws.uniform(1, 1, low=0.2, high=1.3) * (0.8 * self.tip + 0.6 * self.knuckle)
        hand = hand * (1 - red[..., None] * hand.new_tensor((0.03, 0.17, 0.15)))
        nail = (0.45 * skin + hand.new_tensor((0.50, 0.40, 0.38)))[:, :, None]
        hand = torch.lerp(hand, nail, self.nail[None, ..., None] * draws.uniform(1, 1, 1, high=0.7))
        worn = strength * draws.chance(RINGS, 2, 1) * draws.uniform(2, len(FINGERS)).gt(0.7)  # (B,2,5)
        ring = (self.ring[None] * worn[:, :, None]).sum(-1, keepdim=True).clamp(max=1)
        hand = torch.lerp(hand, draws.tensor(METALS)[draws.one_of(2)][:, None, None], ring)
        glove = draws.uniform(1, 1, 3, low=0.02, high=0.9)
        gloved = strength * draws.chance(GLOVES, 1, 1, 1)
        return torch.lerp(hand, glove * (1 + 0.04 * mottle[..., None]), gloved)

    def tone(self, draws: Draws) -> Tensor:
        """(B,2,3): one person's two hands, from light to dark."""
        table = draws.tensor(SKINS)
        tone = draws.uniform(1, high=len(SKINS) - 1.001)
        ruddy = draws.normal(1, 1, std=0.04)  # red to yellow
        hue = torch.cat((1 + 0.4 * ruddy, 1 - ruddy, 1 - 0.5 * ruddy), -1)
        low = tone.long()
        skin = torch.lerp(table[low[:, 0]], table[low[:, 0] + 1], tone - low)[:, None]
        return skin * hue * (1 + draws.normal(2, 3, std=0.02)) * (1 + draws.normal(1, 3, std=0.03))

    def cover(self, draws: Draws, sleeve: Material, unit: Tensor, first: Tensor, strength: float) -> Tensor:
        """(B,2,19) for `albedo`: the sleeve's two display colours, stripes and cuff; skin; watch.

        unit (B,1): how much of `sleeve`'s x one metre is; first (B,2): the sleeve's first ring.
        """
        stripes = torch.stack((sleeve.across, sleeve.down, sleeve.stripes * unit), -1).expand(-1, 2, -1)
        rings = sleeve.color.new_tensor((0.0, *DISTANCES, 9.0, 9.0))
        edge = ((rings[first] + rings[first + 1]) / 2)[..., None]  # where it begins, metres behind the wrist
        shade = strength * draws.chance(0.7, 1, 1) * draws.uniform(1, 1, low=-0.3, high=0.3)
        rough = draws.uniform(1, 1) ** 2 * 0.08 + 0.01
        crease = strength * draws.uniform(1, 1, low=0.05, high=0.25)
        hairy = strength * draws.chance(HAIRY, 1, 1) * draws.uniform(1, 1, low=0.1, high=0.4)
        start = draws.uniform(2, 1, low=0.012, high=0.05)
        width = strength * draws.chance(WATCHES, 2, 1) * draws.uniform(1, 1, low=0.01, high=0.025)
        band = draws.tensor(METALS)[draws.one_of(len(METALS))][:, None]
        colors = torch.cat((sleeve.color, sleeve.second, band), -1).expand(-1, 2, -1)
        shared = torch.cat((shade, rough, crease, hairy), -1).expand(-1, 2, -1)
        return torch.cat((colors, stripes, shared, edge, start, start + width), -1)

    def albedo(self, coat: Tensor, cover: Tensor, hand: Tensor) -> Tensor:
        """Linear albedo (3,P) of pixels with interpolated coat (7,P); cover (2B,19), hand (P,)."""
        place, measure = coat[PLACE], coat[6]
        cover = cover.t().contiguous()
        rough, crease = cover[13:15].index_select(1, hand)
        texel = (place / PORE).long().bitwise_and_(PORES - 1)  # (2,P) column, row
        fine = self.pores.index_select(0, texel[1] * PORES + texel[0])
        # the skin next to a joint's middle is darker; one finger bone is some 24 mm long
        joint = ((measure - measure.round()) * 24).square_()
        joint = joint.masked_fill_(
            (measure - 1.5).abs_() > 1, torch.inf
        )  # neither at the knuckles nor at the tips
        lines = torch.exp(-1.2 * joint) * crease * (1 + 0.5 * fine)
        albedo = coat[:3] * (rough * fine - lines).add_(1).clamp_(min=0.05)
        arm = (measure < 0).nonzero().squeeze(1)
        strand = self.pores.index_select(0, texel[1, arm] * PORES + texel[0, arm].bitwise_right_shift(2))
        on_arm = self._arm(albedo[:, arm], coat[3:, arm], cover.index_select(1, hand[arm]), fine[arm], strand)
        return albedo.index_copy_(1, arm, on_arm)

    def _arm(self, skin: Tensor, coat: Tensor, cover: Tensor, fine: Tensor, strand: Tensor) -> Tensor:
        """Linear albedo (3,P) behind the wrist: hair, watch and sleeve on skin (3,P).

        coat (4,P), cover (19,P); fine and strand (P,): noise of skin and of hair.
        """
        across, down, stripes, shade, _, _, hairy, edge, start, end = cover[9:]
        place, dressed, behind = coat[:2], coat[2], -coat[3]
        hair = hairy * (12 * behind).clamp(max=1) * (strand > 0.6)
        near_edge = torch.exp(-((edge - behind) / 0.008).clamp_(min=0))  # the sleeve's shadow
        skin = skin * ((1 - hair) * (1 - 0.45 * near_edge))
        worn = (behind > start) & (behind < end)
        skin = torch.where(worn, cover[6:9].square() * (1 + 0.3 * fine).clamp_(min=0), skin)
        wave = across * (stripes * place[0]).sin() + down * (stripes * place[1]).sin()
        share = (0.5 + 4 * wave).clamp_(0, 1) * (across + down > 0)
        cuff = 1 + shade * (behind < edge + CUFF)
        cloth = torch.lerp(cover[:3], cover[3:6], share) * (cuff * (1 + 0.08 * fine))
        return torch.where(dressed > 0.5, cloth.clamp_(0, 1).square_(), skin)


def _along_fingers(rest: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest finger (2,V) and how many of its joints after the knuckle a vertex lies behind, with parts.

    0 at the knuckle or before, 1 and 2 at the next joints, 3 at the tip.
    """
    names = [[JOINT_NAMES.index(f"{finger}{k}") for k in range(1, 5)] for finger in FINGERS]
    chains = joints[:, torch.tensor(names, device=joints.device)]  # (2,5,4,3)
    start, bone = chains[:, :, :-1], chains.diff(dim=2)  # (2,5,3,3)
    share = ((rest[:, :, None, None] - start[:, None]) * bone[:, None]).sum(-1)
    share = (share / bone.square().sum(-1)[:, None]).clamp(0, 1)  # (2,V,5,3)
    foot = start[:, None] + share[..., None] * bone[:, None]
    finger = (rest[:, :, None, None] - foot).norm(dim=-1).amin(-1).argmin(-1)  # (2,V)
    measure = share.sum(-1).gather(2, finger[..., None])[..., 0]
    return finger, measure


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
