"""From two placed hands to a picture: geometry, light, background, camera.

Legend: B samples, 2 hands, V hand vertices, U vertices of hand and arm, P covered pixels.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from common.hand.joints import WRIST
from common.utils import render
from common.utils.geometry import IMAGE_SIZE, project
from data.Synthetic.background import background
from data.Synthetic.draws import Draws
from data.Synthetic.forearm import RINGS, Forearm, draw_sleeve
from data.Synthetic.labels import Placed
from data.Synthetic.layers import Material
from data.Synthetic.light import draw_lamps, occlusion, shine
from data.Synthetic.people import Body
from data.Synthetic.photos import Photos
from data.Synthetic.placement import SHADING
from data.Synthetic.skin import Skin
from data.Synthetic.stuff import cloth

GRAINS = 24  # different pictures of white noise
BEHIND = 0.25  # metres from the hands back to the body
# What can be left out of the pictures, to learn what it is worth.
GROUPS = ("people", "photos", "objects", "skin", "light", "sensor")
ALONE = 48  # pixels a side when a hand is drawn alone to measure its silhouette


class Drawing(NamedTuple):
    """Hands with their arms on the picture plane."""

    verts: Tensor  # (B,2,U,3)
    points: Tensor  # (B,2,U,3) u, v, depth
    sleeve: Tensor  # (B,2) ring of the arm from which it is dressed
    fragments: render.Fragments


class Person(NamedTuple):
    """Whose hands these are."""

    tone: Tensor  # (B,2,3) display colours of the hands
    sleeve: Material  # (B,1)
    body: Body


class Painter:
    """Draws pairs of hands; holds what is the same in every picture."""

    def __init__(
        self, rest: Tensor, joints: Tensor, hand_faces: Tensor, radii: Tensor, without: frozenset[str]
    ):
        """rest (2,V,3), joints (2,21,3): the flat hands; radii (S,) of spheres; without: some of GROUPS."""
        self.without, self.photos = without, Photos(rest.device)
        self.count, self.hand_faces = rest.shape[1], hand_faces
        self.arm = Forearm(hand_faces, self.count)
        self.skin = Skin(rest, joints, hand_faces, self.arm)
        self.faces = render.join_meshes(self.skin.place, self.arm.faces)[1]
        self.blockers = torch.tensor(SHADING, device=rest.device)
        self.radii = radii[self.blockers]
        generator = torch.Generator().manual_seed(0)
        grain = torch.randn(GRAINS, 3, IMAGE_SIZE, IMAGE_SIZE, generator=generator)
        self.grain = (grain * 0.6 + grain.mean(1, keepdim=True) * 0.8).to(rest.device)

    def __call__(self, draws: Draws, hands: Placed, K: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures (B,3,H,W) in [0,1] and the visible share (B,2) of each hand's silhouette."""
        drawing = self.draw(draws, hands, K)
        person = self._person(draws, hands, drawing, K)
        pixel, color = self._paint(draws, hands, drawing, person)
        canvas = self._behind(draws, drawing.fragments.mask, person.body).permute(0, 2, 3, 1)
        canvas = canvas.reshape(-1, 3).index_copy(0, pixel, color).view(-1, IMAGE_SIZE**2, 3)
        return self._develop(draws, canvas), self._visible(drawing)

    def draw(self, draws: Draws, hands: Placed, K: Tensor) -> Drawing:
        """Add the arms, project and rasterise; a hand that does not exist leaves no pixel."""
        sleeve = draw_sleeve(draws)
        verts = self.arm.extend(hands.verts, draws.normal(2, 3, std=0.2, limit=2), sleeve)
        points = torch.cat((project(verts, K[:, None]), verts[..., 2:]), -1)
        points = torch.where(hands.exists[..., None, None] > 0, points, torch.nan)
        fragments = render.rasterize(points.flatten(1, 2), self.faces, (IMAGE_SIZE, IMAGE_SIZE), closed=True)
        return Drawing(verts, points, sleeve, fragments)

    def _person(self, draws: Draws, hands: Placed, drawing: Drawing, K: Tensor) -> Person:
        """Whose hands these are: skin, clothes, and where the body is in the picture."""
        tone = self.skin.tone(draws)
        garment, sleeve = cloth(draws, 1), cloth(draws, 1)
        same = draws.chance(0.75, 1)
        sleeve = Material(
            *[
                torch.where(same[..., None] > 0 if a.dim() == 3 else same > 0, a, b)
                for a, b in zip(garment, sleeve, strict=True)
            ]
        )
        ends = torch.stack((hands.joints[:, :, WRIST], drawing.verts[:, :, -1]), 2)  # (B,2,2,3)
        places = project(ends, K[:, None]) * (2 / IMAGE_SIZE) - 1
        there = hands.exists[..., None, None] > 0
        places = torch.where(there, places, places.flip(1)).clamp(-6, 6)
        depth = (hands.pivot[..., 2] * hands.exists).sum(1) / hands.exists.sum(1)
        unit = K[:, 0, 0] * (2 / IMAGE_SIZE) / (depth + BEHIND)
        sleeved = (drawing.sleeve[:, 0] < RINGS).float()
        body = Body(places[:, :, 0], places[:, :, 1], unit[:, None], hands.view, tone[:, 0], sleeved, garment)
        return Person(tone, sleeve, body)

    def _paint(self, draws: Draws, hands: Placed, drawing: Drawing, person: Person) -> tuple[Tensor, Tensor]:
        """Covered pixels (P,) and their display colours (P,3)."""
        normals = render.vertex_normals(drawing.verts.flatten(1, 2), self.faces).view_as(drawing.verts)
        lamps = draw_lamps(draws)
        radii = (self.radii * hands.exists[..., None]).flatten(1)
        centres = hands.centres[:, :, self.blockers].flatten(1, 2)
        seen = occlusion(drawing.verts, normals, centres, radii, lamps.direction)
        coat = self.skin.coat(draws, person.tone, self.arm.dressed(drawing.sleeve))  # (B,2,U,6)
        surface = torch.cat((normals, seen, coat), -1).flatten(1, 2)
        pixel, values = render.at_pixels(drawing.fragments, self.faces, surface)
        face = drawing.fragments.face.view(-1).index_select(0, pixel)
        picture = pixel.div(IMAGE_SIZE**2, rounding_mode="floor")
        hand = 2 * picture + face.div(self.arm.faces.shape[1], rounding_mode="floor")
        cover = self.skin.cover(draws, person.sleeve, person.body.unit).flatten(0, 1)
        albedo = self.skin.albedo(values[:, 5:], cover, hand)
        return pixel, shine(values[:, :5], albedo, lamps, hand)

    def _behind(self, draws: Draws, mask: Tensor, body: Body) -> Tensor:
        """Background (B,3,H,W), sometimes with the hands' soft shadow on it."""
        picture = background(draws, self.photos, body, self.without, IMAGE_SIZE)
        small = functional.avg_pool2d(mask[:, None].float(), IMAGE_SIZE // 32)
        for _ in range(2):
            small = functional.avg_pool2d(small, 5, stride=1, padding=2)
        theta = torch.eye(2, 3, device=mask.device).repeat(draws.batch, 1, 1)
        theta[:, :, 2] = draws.uniform(2, low=-0.3, high=0.3)
        grid = functional.affine_grid(theta, list(small.shape), align_corners=False)
        small = functional.grid_sample(small, grid, align_corners=False)
        dark = draws.chance(0.4, 1, 1, 1) * draws.uniform(1, 1, 1, low=0.2, high=0.7)
        return picture * functional.interpolate(1 - dark * small, size=mask.shape[1:], mode="bilinear")

    def _develop(self, draws: Draws, canvas: Tensor) -> Tensor:
        """Colour cast, contrast, monochrome, blur and noise of a camera: (B,HW,3) -> (B,3,H,W)."""
        eye = torch.eye(3, device=canvas.device)
        gray = canvas.new_tensor((0.3, 0.59, 0.11)).expand(3, 3)
        mono = draws.chance(0.12, 1, 1)
        fade = mono + (1 - mono) * draws.uniform(1, 1, low=-0.15, high=0.35)
        gain = torch.exp(draws.normal(1, 1, std=0.12) + draws.normal(3, 1, std=0.05) * (1 - mono))
        matrix = gain * (eye + fade * (gray - eye))  # (B,3,3)
        picture = torch.baddbmm(draws.normal(1, 1, std=0.03), matrix, canvas.transpose(1, 2))
        picture = _blur(picture.view(-1, 3, IMAGE_SIZE, IMAGE_SIZE), draws.uniform(low=0.1, high=0.9))
        grain = self.grain[draws.one_of(GRAINS)]
        return picture.addcmul_(grain, 0.045 * draws.uniform(1, 1, 1) ** 2 + 0.004).clamp_(0, 1)

    def _visible(self, drawing: Drawing) -> Tensor:
        """(B,2): pixels of each hand in the picture / pixels of the hand alone in the open."""
        face, with_arm = drawing.fragments.face, self.arm.faces.shape[1]
        on_hand = torch.where(face % with_arm < self.hand_faces.shape[1], face, -1)
        shown = render.visible_masks(on_hand, with_arm, 2).flatten(2).sum(-1)
        uv, depth = drawing.points[:, :, : self.count].split((2, 1), -1)
        low = uv.amin(2, keepdim=True)
        scale = (ALONE - 1) / (uv - low).flatten(2).amax(-1)[..., None, None]
        placed = torch.cat(((uv - low) * scale, depth), -1)
        alone = render.silhouettes(placed, self.hand_faces, (ALONE, ALONE)).flatten(2).sum(-1)
        return torch.where(alone > 0, shown * scale[..., 0, 0].square() / alone.clamp(min=1), 0)


def _blur(picture: Tensor, sigma: Tensor) -> Tensor:
    """Three-tap blur of (B,3,H,W) in both directions, its width drawn per sample (B,) pixels."""
    side = torch.exp(-0.5 / sigma.square())[:, None, None, None]
    centre = 1 / (1 + 2 * side)
    picture = functional.pad(picture, (1, 1, 1, 1), mode="replicate")
    for dim in (2, 3):
        before, here, after = (picture.narrow(dim, k, picture.shape[dim] - 2) for k in range(3))
        picture = (here * centre).addcmul_(before, side * centre).addcmul_(after, side * centre)
    return picture
