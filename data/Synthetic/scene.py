"""From two placed hands to a picture: geometry, light, background, camera.

Legend: B samples, 2 hands, V hand vertices, U vertices of hand and arm, O vertices of a thing in the hand,
P covered pixels. Bodies are the right hand, the left hand and the thing.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from common.hand.joints import WRIST
from common.utils import render
from common.utils.geometry import IMAGE_SIZE, project
from data.Synthetic.background import background
from data.Synthetic.contrast import CONTRAST, Contrast, draw_contrast
from data.Synthetic.draws import Draws
from data.Synthetic.forearm import RINGS, Forearm, draw_sleeve
from data.Synthetic.labels import Placed
from data.Synthetic.layers import Material, choose
from data.Synthetic.light import Lamps, crevices, draw_lamps, occlusion, shine
from data.Synthetic.objects import Thing, Things, thing_albedo
from data.Synthetic.people import Body
from data.Synthetic.photos import Photos
from data.Synthetic.placement import SHADING
from data.Synthetic.poses import VIEWS
from data.Synthetic.sensor import Sensor
from data.Synthetic.skin import PLACE, Skin
from data.Synthetic.stuff import cloth

# What can be left out of the pictures, to learn what it is worth.
GROUPS = ("people", "photos", "objects", "skin", "light", "sensor", CONTRAST)
THING = 2  # number of the thing among the bodies
DOWNWARD = ("own", "above")  # views in which a lap or a table is behind the hands
BEHIND = 0.25  # metres from the hands back to the person's body
ALONE = 48  # pixels a side when a hand is drawn alone to measure its silhouette


class Drawing(NamedTuple):
    """Hands with their arms, and a thing, on the picture plane."""

    verts: Tensor  # (B,2,U,3)
    points: Tensor  # (B,2,U,3) u, v, depth
    sleeve: Tensor  # (B,2) ring of the arm from which it is dressed
    thing: Thing
    fragments: render.Fragments


class Person(NamedTuple):
    """Whose hands these are."""

    tone: Tensor  # (B,2,3) display colours of the hands
    sleeve: Material  # (B,1)
    body: Body


class Cover(NamedTuple):
    """The covered pixels."""

    pixel: Tensor  # (P,) among all B H W
    face: Tensor  # (P,) among those of all bodies
    picture: Tensor  # (P,)
    body: Tensor  # (P,) 0, 1 or THING


class Shown(NamedTuple):
    """What the covered pixels show."""

    normal: Tensor  # (3,P)
    light: Tensor  # (2,P) visible share of the sky and of the lamp
    coat: Tensor  # (7,P) as of Skin.coat
    depth: Tensor  # (P,) metres


class Painter:
    """Draws pairs of hands; holds what is the same in every picture."""

    def __init__(
        self, rest: Tensor, joints: Tensor, hand_faces: Tensor, radii: Tensor, without: frozenset[str]
    ):
        """rest (2,V,3), joints (2,21,3): the flat hands; radii (S,) of spheres; without: some of GROUPS."""
        self.without = without
        self.count, self.hand_faces = rest.shape[1], hand_faces
        self.arm = Forearm(hand_faces, self.count)
        self.skin = Skin(rest, joints, hand_faces, self.arm)
        self.things, self.photos, self.sensor = Things(rest.device), Photos(rest.device), Sensor(rest.device)
        arms = render.join_meshes(self.skin.place, self.arm.faces)[1]
        self.faces = torch.cat((arms, self.things.faces + 2 * self.skin.place.shape[2]))
        self.blockers = torch.tensor(SHADING, device=rest.device)
        self.radii = radii[self.blockers]

    def __call__(self, draws: Draws, later: Draws, hands: Placed, K: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures (B,3,H,W) in [0,1] and the visible share (B,2) of each hand's silhouette.

        later: numbers for the contrast, which came last and moves nothing that is drawn for the looks.
        """
        contrast = draw_contrast(later, self._strength(CONTRAST))
        drawing = self.draw(draws, hands, K)
        cover = self._cover(drawing)
        person = self._person(draws, hands, drawing, K, contrast.flush)
        color = self._paint(draws, hands, drawing, person, cover, contrast)
        mask = drawing.fragments.mask
        canvas = background(draws, self.photos, person.body, mask, self.without, IMAGE_SIZE)
        canvas = canvas.reshape(-1, 3).index_copy_(0, cover.pixel, color.t()).view(-1, IMAGE_SIZE**2, 3)
        return self.sensor(draws, canvas, self._strength("sensor"), contrast), self._visible(drawing, cover)

    def draw(self, draws: Draws, hands: Placed, K: Tensor) -> Drawing:
        """Add the arms and a thing, project and rasterise; what does not exist leaves no pixel."""
        sleeve = draw_sleeve(draws)
        verts = self.arm.extend(hands.verts, draws.normal(2, 3, std=0.2, limit=2), sleeve)
        thing = self.things(draws, hands, self._strength("objects"))
        points = torch.cat((project(verts, K[:, None]), verts[..., 2:]), -1)
        points = torch.where(hands.exists[..., None, None] > 0, points, torch.nan)
        near = torch.cat((project(thing.verts, K), thing.verts[..., 2:]), -1)
        near = torch.where(thing.exists[:, None, None] > 0, near, torch.nan)
        everything = torch.cat((points.flatten(1, 2), near), 1)
        fragments = render.rasterize(everything, self.faces, (IMAGE_SIZE, IMAGE_SIZE), closed=True)
        return Drawing(verts, points, sleeve, thing, fragments)

    def _strength(self, group: str) -> float:
        return float(group not in self.without)

    def _cover(self, drawing: Drawing) -> Cover:
        pixel = drawing.fragments.mask.view(-1).nonzero().squeeze(1)
        face = drawing.fragments.face.view(-1).index_select(0, pixel)
        picture = pixel.div(IMAGE_SIZE**2, rounding_mode="floor")
        with_arm = self.arm.faces.shape[1]
        return Cover(pixel, face, picture, (face >= with_arm).long() + (face >= 2 * with_arm))

    def _person(self, draws: Draws, hands: Placed, drawing: Drawing, K: Tensor, flush: Tensor) -> Person:
        """Whose hands these are: skin, clothes, and where the body is in the picture."""
        tone = self.skin.tone(draws) * flush
        garment = cloth(draws, 1)
        sleeve = choose(draws.chance(0.75, 1), garment, cloth(draws, 1))
        ends = torch.stack((hands.joints[:, :, WRIST], drawing.verts[:, :, -1]), 2)  # (B,2,2,3)
        places = project(ends, K[:, None]) * (2 / IMAGE_SIZE) - 1
        there = hands.exists[..., None, None] > 0
        places = torch.where(there, places, places.flip(1)).clamp(-6, 6)
        seen = torch.where(hands.exists.any(1, keepdim=True), hands.exists, 1)
        depth = (hands.pivot[..., 2] * seen).sum(1) / seen.sum(1)
        unit = K[:, 0, 0] * (2 / IMAGE_SIZE) / (depth + BEHIND)
        sleeved = (drawing.sleeve[:, 0] < RINGS).float()
        down = sum((hands.view == list(VIEWS).index(name)).float() for name in DOWNWARD)
        body = Body(places[:, :, 0], places[:, :, 1], unit[:, None], down, tone[:, 0], sleeved, garment)
        return Person(tone, sleeve, body)

    def _paint(
        self, draws: Draws, hands: Placed, drawing: Drawing, person: Person, cover: Cover, contrast: Contrast
    ) -> Tensor:
        """Display colours (3,P) of the covered pixels."""
        lamps = draw_lamps(draws, self._strength("light"), contrast)
        shown = self._shown(draws, hands, drawing, person, lamps)
        dark = contrast.crevice[cover.picture] * crevices(shown.depth, cover.pixel, drawing.fragments.mask)
        lit = torch.cat((shown.normal, shown.light * (1 - dark)))
        albedo = self._albedo(draws, drawing, person, cover, shown.coat)
        return shine(lit, albedo, lamps, 3 * cover.picture + cover.body)

    def _shown(self, draws: Draws, hands: Placed, drawing: Drawing, person: Person, lamps: Lamps) -> Shown:
        """What is known of every vertex, at the covered pixels."""
        verts = torch.cat((drawing.verts.flatten(1, 2), drawing.thing.verts), 1)
        normals = render.vertex_normals(verts, self.faces)
        radii = (self.radii * hands.exists[..., None]).flatten(1)
        centres = hands.centres[:, :, self.blockers].flatten(1, 2)
        light = occlusion(verts, normals, centres, radii, self._per_vertex(lamps.direction))
        dressed = self.arm.dressed(drawing.sleeve)
        coat = self.skin.coat(draws, person.tone, dressed, self._strength("skin")).flatten(1, 2)
        place = drawing.thing.place
        own = torch.cat((coat.new_zeros(*place.shape[:2], 3), place, coat.new_zeros(*place.shape[:2], 2)), -1)
        surface = torch.cat((normals, light, torch.cat((coat, own), 1), verts[..., 2:]), -1)
        values = render.at_pixels(drawing.fragments, self.faces, surface)[1].t().contiguous()
        normal, light, coat, depth = values.split((3, 2, coat.shape[-1], 1))
        return Shown(normal, light, coat, depth[0])

    def _albedo(self, draws: Draws, drawing: Drawing, person: Person, cover: Cover, coat: Tensor) -> Tensor:
        """Linear colours (3,P) of skin, sleeves and the thing."""
        strength, unit = self._strength("skin"), person.body.unit
        layer = self.skin.cover(draws, person.sleeve, unit, drawing.sleeve, strength).flatten(0, 1)
        albedo = self.skin.albedo(coat, layer, 2 * cover.picture + cover.body.clamp(max=1))
        held = (cover.body == THING).nonzero().squeeze(1)
        color = thing_albedo(drawing.thing, self.photos, coat[PLACE, held], cover.picture[held])
        return albedo.index_copy_(1, held, color)

    def _per_vertex(self, values: Tensor) -> Tensor:
        """(B,3,C) of the bodies -> (B,2U+O,C) of their vertices."""
        arms = self.skin.place.shape[2]
        counts = (arms, arms, self.things.count)
        return torch.cat([values[:, k, None].expand(-1, n, -1) for k, n in enumerate(counts)], 1)

    def _visible(self, drawing: Drawing, cover: Cover) -> Tensor:
        """(B,2): pixels of each hand in the picture / pixels of the hand alone in the open."""
        uv, depth = drawing.points[:, :, : self.count].split((2, 1), -1)
        local = cover.face - cover.body * self.arm.faces.shape[1]
        on_hand = (local < self.hand_faces.shape[1]) & (cover.body != THING)
        row = 2 * cover.picture + cover.body.clamp(max=1)
        shown = torch.zeros(2 * len(uv), device=row.device).index_add(0, row, on_hand.float()).view(-1, 2)
        low = uv.amin(2, keepdim=True)
        scale = (ALONE - 1) / (uv - low).flatten(2).amax(-1)[..., None, None]
        placed = torch.cat(((uv - low) * scale, depth), -1)
        alone = render.silhouettes(placed, self.hand_faces, (ALONE, ALONE)).flatten(2).sum(-1)
        return torch.where(alone > 0, shown * scale[..., 0, 0].square() / alone.clamp(min=1), 0)
