"""From two placed hands to a picture: geometry, light, background, camera.

Legend: B samples, 2 hands, V hand vertices, U vertices of hand and arm, P covered pixels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from common.hand.mano import ManoLayer
from common.utils.geometry import project
from common.utils.render import (
    Fragments,
    at_pixels,
    join_meshes,
    rasterize,
    silhouettes,
    vertex_normals,
    visible_masks,
)
from data.Synthetic.background import WORK, background
from data.Synthetic.draws import Draws
from data.Synthetic.forearm import Forearm, draw_sleeve
from data.Synthetic.light import draw_lamps, occlusion, shine
from data.Synthetic.placement import SHADING
from data.Synthetic.skin import Skin

GRAINS = 24  # different pictures of white noise
OWN = 48  # pixels a side when a hand is drawn alone to measure its silhouette


@dataclass(frozen=True)
class Pair:
    """Hands in the camera: verts (B,2,V,3), sphere centres (B,2,S,3), exists (B,2); K (B,3,3)."""

    verts: Tensor
    centres: Tensor
    exists: Tensor
    K: Tensor


@dataclass(frozen=True)
class Drawing:
    """A pair with its arms on the picture plane; verts, points (B,2,U,3), dressed (B,2,U)."""

    verts: Tensor
    points: Tensor
    dressed: Tensor
    fragments: Fragments


class Painter:
    """Draws pairs of hands; holds what is the same in every picture."""

    def __init__(self, layer: ManoLayer, rest: Tensor, joints: Tensor, radii: Tensor, size: int):
        """rest (2,V,3), joints (2,21,3): the flat hands; radii (S,) of spheres; size: H = W."""
        device = rest.device
        self.size, self.count = size, rest.shape[1]
        self.hand_faces = layer.faces
        self.arm = Forearm(layer.faces, self.count)
        self.faces = join_meshes(rest.new_empty(1, 2, self.arm.vertices, 3), self.arm.faces)[1]
        self.skin = Skin(rest, joints, layer.faces, self.arm)
        self.blockers = torch.tensor(SHADING, device=device)
        self.radii = radii[self.blockers]
        generator = torch.Generator().manual_seed(0)
        grain = torch.randn(GRAINS, 3, size, size, generator=generator)
        self.grain = (grain * 0.6 + grain.mean(1, keepdim=True) * 0.8).to(device)

    def __call__(self, draws: Draws, pair: Pair) -> tuple[Tensor, Tensor]:
        """Pictures (B,3,H,W) in [0,1] and the visible share (B,2) of each hand's silhouette."""
        drawing = self.draw(draws, pair)
        pixel, color = self.paint(draws, pair, drawing)
        canvas = self._behind(draws, drawing.fragments.mask).permute(0, 2, 3, 1)
        canvas = canvas.reshape(-1, 3).index_copy(0, pixel, color).view(-1, self.size**2, 3)
        return self._develop(draws, canvas), self._visible(drawing)

    def draw(self, draws: Draws, pair: Pair) -> Drawing:
        """Add the arms, project and rasterise; a hand that does not exist leaves no pixel."""
        sleeve = draw_sleeve(draws)
        verts = self.arm.extend(pair.verts, draws.normal(2, 3, std=0.2, limit=2), sleeve)
        points = torch.cat((project(verts, pair.K[:, None]), verts[..., 2:]), -1)
        points = torch.where(pair.exists[..., None, None] > 0, points, torch.nan)
        fragments = rasterize(points.flatten(1, 2), self.faces, (self.size, self.size), closed=True)
        return Drawing(verts, points, self.arm.dressed(sleeve), fragments)

    def paint(self, draws: Draws, pair: Pair, drawing: Drawing) -> tuple[Tensor, Tensor]:
        """Covered pixels (P,) and their display colours (P,3)."""
        normals = vertex_normals(drawing.verts.flatten(1, 2), self.faces).view_as(drawing.verts)
        lamps = draw_lamps(draws)
        radii = (self.radii * pair.exists[..., None]).flatten(1)
        centres = pair.centres[:, :, self.blockers].flatten(1, 2)
        seen = occlusion(drawing.verts, normals, centres, radii, lamps.direction)
        coat = self.skin.coat(draws, drawing.dressed)  # (B,2,U,6)
        surface = torch.cat((normals, seen, coat), -1).flatten(1, 2)
        pixel, values = at_pixels(drawing.fragments, self.faces, surface)
        face = drawing.fragments.face.view(-1).index_select(0, pixel)
        picture = pixel.div(self.size**2, rounding_mode="floor")
        hand = 2 * picture + face.div(self.arm.faces.shape[1], rounding_mode="floor")
        albedo = self.skin.albedo(values[:, 5:], self.skin.cloth(draws).flatten(0, 1), hand)
        return pixel, shine(values[:, :5], albedo, lamps, hand)

    def _behind(self, draws: Draws, mask: Tensor) -> Tensor:
        """Background (B,3,H,W), sometimes with the hands' soft shadow on it."""
        index = draws.pick(torch.ones(GRAINS, device=mask.device))
        picture = background(draws, self.grain[index, :, :WORK, :WORK], self.size)
        small = functional.avg_pool2d(mask[:, None].float(), self.size // 32)
        for _ in range(2):
            small = functional.avg_pool2d(small, 5, stride=1, padding=2)
        theta = torch.eye(2, 3, device=mask.device).repeat(mask.shape[0], 1, 1)
        theta[:, :, 2] = draws.uniform(2, low=-0.3, high=0.3)
        grid = functional.affine_grid(theta, list(small.shape), align_corners=False)
        small = functional.grid_sample(small, grid, align_corners=False)
        dark = draws.chance(0.4, 1, 1, 1) * draws.uniform(1, 1, 1, low=0.2, high=0.7)
        shadow = functional.interpolate(1 - dark * small, size=mask.shape[1:], mode="bilinear")
        return picture * shadow

    def _develop(self, draws: Draws, canvas: Tensor) -> Tensor:
        """Colour cast, contrast, monochrome, blur and noise of a camera: (B,HW,3) -> (B,3,H,W)."""
        eye = torch.eye(3, device=canvas.device)
        gray = canvas.new_tensor((0.3, 0.59, 0.11)).expand(3, 3)
        mono = draws.chance(0.12, 1, 1)
        fade = mono + (1 - mono) * draws.uniform(1, 1, low=-0.15, high=0.35)
        gain = torch.exp(draws.normal(1, 1, std=0.12) + draws.normal(3, 1, std=0.05) * (1 - mono))
        matrix = gain * (eye + fade * (gray - eye))  # (B,3,3)
        bias = draws.normal(1, 1, std=0.03)
        picture = torch.baddbmm(bias, matrix, canvas.transpose(1, 2))
        picture = _blur(picture.view(-1, 3, self.size, self.size), draws.uniform(low=0.1, high=0.9))
        index = draws.pick(torch.ones(GRAINS, device=canvas.device))
        sigma = 0.045 * draws.uniform(1, 1, 1) ** 2 + 0.004
        return picture.addcmul_(self.grain[index], sigma).clamp_(0, 1)

    def _visible(self, drawing: Drawing) -> Tensor:
        """(B,2): pixels of each hand in the picture / pixels of the hand alone in the open."""
        face, with_arm = drawing.fragments.face, self.arm.faces.shape[1]
        on_hand = torch.where(face % with_arm < self.hand_faces.shape[1], face, -1)
        shown = visible_masks(on_hand, with_arm, 2).flatten(2).sum(-1)
        uv, depth = drawing.points[:, :, : self.count].split((2, 1), -1)
        low = uv.amin(2, keepdim=True)
        scale = (OWN - 1) / (uv - low).flatten(2).amax(-1)[..., None, None]
        own = torch.cat(((uv - low) * scale, depth), -1)
        alone = silhouettes(own, self.hand_faces, (OWN, OWN)).flatten(2).sum(-1)
        share = shown * scale[..., 0, 0].square() / alone.clamp(min=1)
        return torch.where(alone > 0, share, 0)


def _blur(picture: Tensor, sigma: Tensor) -> Tensor:
    """Three-tap blur of (B,3,H,W) in both directions, its width drawn per sample (B,) pixels."""
    side = torch.exp(-0.5 / sigma.square())[:, None, None, None]
    centre = 1 / (1 + 2 * side)
    picture = functional.pad(picture, (1, 1, 1, 1), mode="replicate")
    for dim in (2, 3):
        size = picture.shape[dim] - 2
        blurred = picture.narrow(dim, 1, size) * centre
        blurred.addcmul_(picture.narrow(dim, 0, size), side * centre)
        picture = blurred.addcmul_(picture.narrow(dim, 2, size), side * centre)
    return picture
