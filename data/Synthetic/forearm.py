"""A forearm behind each hand, so that nobody looks into the open wrist.

Legend: B samples, 2 hands, V 778 hand vertices, N edges of the wrist's border (16), R rings,
U vertices of hand and arm.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from data.Synthetic.draws import Draws

# Distance of the rings behind the wrist (metres) and their size relative to the wrist's border.
DISTANCES = (0.015, 0.04, 0.075, 0.12, 0.22, 0.45)
SIZES = (0.98, 0.97, 1.04, 1.15, 1.28, 1.35)
RINGS = len(DISTANCES)
SLEEVE = 1.13  # a sleeve is that much wider than the arm


class Forearm:
    """Adds a capped tube to both hands; `faces` (2,F,3) are those of hand and arm together."""

    def __init__(self, hand_faces: Tensor, vertices: int = 778):
        loops = [border(faces.cpu().numpy()) for faces in hand_faces]
        device = hand_faces.device
        self.loops = torch.as_tensor(np.stack(loops), device=device)  # (2,N)
        tubes = torch.as_tensor(np.stack([_tube(loop, vertices) for loop in loops]), device=device)
        self.faces = torch.cat((hand_faces, tubes), 1)
        self.ring = _ring_of_vertex(len(loops[0]), vertices, device)  # (U,)
        self.vertices = len(self.ring)
        arm = torch.cat((self.loops.repeat(1, RINGS), self.loops[:, :1]), 1)
        hand = torch.arange(vertices, device=device).expand(2, -1)
        self.origin = torch.cat((hand, arm), 1)  # (2,U) hand vertex that an arm vertex goes on from

    def dressed(self, sleeve: Tensor) -> Tensor:
        """(B,2,U) bool: vertices in a sleeve that begins at ring `sleeve` (B,2)."""
        return self.ring >= sleeve[..., None]

    def extend(self, verts: Tensor, bend: Tensor, sleeve: Tensor) -> Tensor:
        """Hands (B,2,V,3) -> hands with arms (B,2,U,3), metres.

        bend (B,2,3): sideways lean of the arm per unit of length; sleeve (B,2): ring from which the
        arm is dressed, R or more for a bare one.
        """
        index = self.loops[None, ..., None].expand(len(verts), -1, -1, 3)
        loop = verts.gather(2, index)  # (B,2,N,3)
        centre = loop.mean(2, keepdim=True)
        axis = self._axis(loop - centre, centre[:, :, 0] - verts.mean(2))
        distance, size = verts.new_tensor(DISTANCES), verts.new_tensor(SIZES)
        dressed = torch.arange(RINGS, device=verts.device) >= sleeve[..., None]  # (B,2,R)
        size = size * torch.where(dressed, SLEEVE, 1.0)
        lean = bend[:, :, None] * (distance / (distance + 0.05))[:, None]  # joins without a kink
        middle = centre + (axis[:, :, None] + lean) * distance[:, None]  # (B,2,R,3)
        rings = middle[..., None, :] + (loop - centre)[:, :, None] * size[..., None, None]
        return torch.cat((verts, rings.flatten(2, 3), middle[:, :, -1:]), 2)

    @staticmethod
    def _axis(spokes: Tensor, outward: Tensor) -> Tensor:
        """Normal (B,2,3) of the border's plane, away from the hand; spokes (B,2,N,3)."""
        normal = torch.linalg.cross(spokes, spokes.roll(-1, 2)).sum(2)
        sign = (normal * outward).sum(-1, keepdim=True).sign()
        return functional.normalize(normal * sign, dim=-1)


def draw_sleeve(draws: Draws) -> Tensor:
    """First dressed ring (B,2), the same for both arms; RINGS and more stand for bare arms."""
    first = 1 + draws.pick(torch.ones(4, device=draws.device))
    return torch.where(draws.chance(0.5) > 0, first, RINGS + 1)[:, None].expand(-1, 2)


def border(faces: NDArray) -> NDArray:
    """The one border loop of a mesh (F,3), vertices in the order of the faces' own winding."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    known = {tuple(edge) for edge in edges.tolist()}
    following = {a: b for a, b in known if (b, a) not in known}
    loop = [next(iter(sorted(following)))]
    while following[loop[-1]] != loop[0]:
        loop.append(following[loop[-1]])
    if len(loop) != len(following):
        raise ValueError(f"Expected one border of {len(following)} edges, not {len(loop)}.")
    return np.array(loop)


def _tube(loop: NDArray, vertices: int) -> NDArray:
    """Faces of the rings behind the border and of the cap, wound like the hand's."""
    count = len(loop)
    rings = [loop, *(vertices + np.arange(count) + r * count for r in range(RINGS))]
    faces = []
    for near, far in zip(rings[:-1], rings[1:], strict=True):
        a, b, c, d = near, np.roll(near, -1), far, np.roll(far, -1)
        faces += [np.stack((b, a, c), 1), np.stack((b, c, d), 1)]
    end = np.full(count, vertices + RINGS * count)
    faces.append(np.stack((np.roll(rings[-1], -1), rings[-1], end), 1))
    return np.concatenate(faces).astype(np.int64)


def _ring_of_vertex(count: int, vertices: int, device: torch.device) -> Tensor:
    """Ring of every vertex, -1 on the hand."""
    rings = torch.arange(RINGS, device=device).repeat_interleave(count)
    hand = torch.full((vertices,), -1, device=device)
    return torch.cat((hand, rings, rings[-1:]))
