"""A forearm behind each hand, so that nobody looks into the open wrist.

Legend: B samples, 2 hands, V 778 hand vertices, N edges of the wrist's border (16), R rings,
U vertices of hand and arm.
"""

import torch
from torch import Tensor
from torch.nn import functional

from data.Synthetic.draws import Draws

# Distance of the rings behind the wrist (metres) and their size relative to the wrist's border;
# by eye, the elbow side widest.
DISTANCES = (0.015, 0.04, 0.075, 0.12, 0.22, 0.45)
SIZES = (0.98, 0.97, 1.04, 1.15, 1.28, 1.35)
RINGS = len(DISTANCES)
SLEEVE = 1.13  # a sleeve is that much wider than the arm


class Forearm:
    """Adds a capped tube to both hands; `faces` (2,F,3) are those of hand and arm together."""

    def __init__(self, hand_faces: Tensor, vertices: int = 778):
        device = hand_faces.device
        self.loops = torch.tensor([border(faces) for faces in hand_faces], device=device)  # (2,N)
        self.faces = torch.cat((hand_faces, _tubes(self.loops, vertices)), 1)
        hand = torch.arange(vertices, device=device).expand(2, -1)
        # (2,U) hand vertex that a vertex goes on from, (U,) its ring, -1 on the hand
        self.origin = torch.cat((hand, self.loops.repeat(1, RINGS), self.loops[:, :1]), 1)
        rings = [ring for ring in range(RINGS) for _ in self.loops[0]]
        self.ring = torch.tensor([-1] * vertices + rings + rings[-1:], device=device)

    def dressed(self, sleeve: Tensor) -> Tensor:
        """(B,2,U) bool: vertices in a sleeve that begins at ring `sleeve` (B,2)."""
        return self.ring >= sleeve[..., None]

    def extend(self, verts: Tensor, bend: Tensor, sleeve: Tensor) -> Tensor:
        """Hands (B,2,V,3) -> hands with arms (B,2,U,3), metres.

        bend (B,2,3): sideways lean of the arm per unit of length; sleeve (B,2): ring from which the
        arm is dressed, R or more for a bare one.
        """
        loop = verts.gather(2, self.loops[None, ..., None].expand(len(verts), -1, -1, 3))  # (B,2,N,3)
        centre = loop.mean(2, keepdim=True)
        spokes = loop - centre
        normal = torch.linalg.cross(spokes, spokes.roll(-1, 2)).sum(2)  # (B,2,3) of the border's plane
        outward = (normal * (centre[:, :, 0] - verts.mean(2))).sum(-1, keepdim=True).sign()
        axis = functional.normalize(normal * outward, dim=-1)
        distance, size = verts.new_tensor(DISTANCES), verts.new_tensor(SIZES)
        dressed = torch.arange(RINGS, device=verts.device) >= sleeve[..., None]  # (B,2,R)
        size = size * torch.where(dressed, SLEEVE, 1.0)
        lean = bend[:, :, None] * (distance / (distance + 0.05))[:, None]  # joins without a kink
        middle = centre + (axis[:, :, None] + lean) * distance[:, None]  # (B,2,R,3)
        rings = middle[..., None, :] + spokes[:, :, None] * size[..., None, None]
        return torch.cat((verts, rings.flatten(2, 3), middle[:, :, -1:]), 2)


def draw_sleeve(draws: Draws) -> Tensor:
    """First dressed ring (B,2), the same for both arms; RINGS and more stand for bare arms."""
    first = 1 + draws.one_of(4)
    return torch.where(draws.chance(0.5) > 0, first, RINGS + 1)[:, None].expand(-1, 2)


def border(faces: Tensor) -> list[int]:
    """The one border loop of a mesh (F,3), vertices in the order of the faces' own winding."""
    edges = {(face[i - 1], face[i]) for face in faces.tolist() for i in range(3)}
    following = {a: b for a, b in edges if (b, a) not in edges}
    loop = [min(following)]
    while following[loop[-1]] != loop[0]:
        loop.append(following[loop[-1]])
    if len(loop) != len(following):
        raise ValueError(f"Expected one border of {len(following)} edges, not {len(loop)}.")
    return loop


def _tubes(loops: Tensor, vertices: int) -> Tensor:
    """Faces (2,F,3) of the rings behind the borders (2,N) and of the caps, wound like the hand's."""
    count = loops.shape[1]
    added = torch.arange(vertices, vertices + RINGS * count, device=loops.device).view(RINGS, count)
    rings = torch.cat((loops[:, None], added.expand(2, -1, -1)), 1)  # (2,R+1,N)
    following = rings.roll(-1, 2)
    a, b, c, d = rings[:, :-1], following[:, :-1], rings[:, 1:], following[:, 1:]
    halves = torch.stack((torch.stack((b, a, c), -1), torch.stack((b, c, d), -1)), 2)  # (2,R,2,N,3)
    end = torch.full_like(loops, vertices + RINGS * count)
    return torch.cat((halves.flatten(1, 3), torch.stack((d[:, -1], c[:, -1], end), -1)), 1)
