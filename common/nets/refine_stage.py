"""Refine stage: per-vertex offsets from early image features by a graph network (figure, bottom box).

Follows HandAR's three-stage design, which LGNet takes over. Shapes: B batch, 2 hands, V = 778 vertices.
"""

import torch
from torch import Tensor, nn

from common.hand.joints import NUM_JOINTS, RIGHT, WRIST
from common.hand.mano import ManoLayer
from common.hand.mirror import MIRROR_POINT
from common.nets.graph import GraphStack, mesh_graph
from common.nets.heatmap import HeatmapGrid, sample_at
from common.nets.layers import fold_hands
from common.nets.mesh_stage import PIXELS_PER_METRE
from common.utils.geometry import crop_to_unit, weak_perspective

REACH = 0.1  # metres; vertex positions enter the graph divided by it


class RefineStage(nn.Module):
    """M_r, early maps, F_h, F*_h and J -> M_f = M_r + dM. One graph net serves both hands: the left
    hand's coordinates are mirrored on the way in and its offsets on the way out.

    early: channels of the early maps to look at, which are the shallowest of those that `forward` is given.
    misfit: whether the graph is also told where each vertex falls in the crop, the camera, and by how much J
    and the rough joints disagree there; the paper names none of these.
    """

    def __init__(
        self,
        early: tuple[int, ...],
        features: int,
        adapted: int,
        hidden: int,
        refine_graph: str,
        misfit: bool,
        grid: HeatmapGrid,
        mano: ManoLayer,
    ):
        super().__init__()
        self.grid, self.mano, self.maps, self.misfit = grid, mano, len(early), misfit
        as_right = torch.stack([torch.ones(3), torch.as_tensor(MIRROR_POINT)])  # (2,3) of each hand
        self.register_buffer("mirror", as_right[:, None], persistent=False)
        self.reduce = nn.Conv2d(features + adapted, hidden, 1)  # F_h and F*_h, before sampling
        self.broadcast = nn.Linear(adapted, hidden)  # "global broadcast"
        inputs = 3 + sum(early) + 3 + hidden + hidden + 3 * NUM_JOINTS  # as node_features lays them
        if misfit:
            inputs += 2 + 3 + 2 * NUM_JOINTS
        self.padding = -inputs % 8  # odd widths fall on slow matrix kernels
        graph = mesh_graph(mano.faces[RIGHT])
        self.graph = GraphStack(refine_graph, graph, inputs + self.padding, hidden, 3, steady_tail=True)
        self.start_at_rough()

    def start_at_rough(self) -> None:
        """Training starts from M_r: the last layer gives dM = 0."""
        linears = [module for module in self.graph[-1].modules() if isinstance(module, nn.Linear)]
        nn.init.zeros_(linears[-1].weight)
        nn.init.zeros_(linears[-1].bias)

    def forward(
        self,
        image: Tensor,
        early: list[Tensor],
        hands: dict[str, Tensor],
        joints_img: Tensor,
        rough: dict[str, Tensor],
    ) -> dict[str, Tensor]:
        """Normalised picture, early maps, the joint stage's features and J, the mesh stage's prediction ->
        verts (B,2,V,3), joints (B,2,21,3), each hand about its own wrist, metres."""
        verts = rough["verts_rough"]
        cam = rough["cam"].detach()
        local = self.local_projection(image, early, hands, verts.detach(), cam)
        whole = self.global_broadcast(hands, joints_img.detach())
        if self.misfit:
            local.append(self.crop_places(weak_perspective(verts.detach(), cam)))
            whole += self.disagreement(joints_img.detach(), rough["joints_rough"].detach(), cam)
        nodes = self.node_features(local, whole)
        offsets = fold_hands(self.graph, nodes).float() * self.mirror * REACH  # dM (B,2,V,3)
        refined = verts + offsets
        joints = self.mano.joints(refined)
        wrist = joints[:, :, WRIST : WRIST + 1]
        return {"verts": refined - wrist, "joints": joints - wrist}

    def local_projection(
        self, image: Tensor, early: list[Tensor], hands: dict[str, Tensor], verts: Tensor, cam: Tensor
    ) -> list[Tensor]:
        """What each vertex sees where it falls in the picture, and where it is: (B,2,V,.) each."""
        pixels = weak_perspective(verts, cam)  # (B,2,V,2)
        of_both = pixels.flatten(1, 2)  # the picture and the early maps belong to both hands
        maps = (image, *early[: self.maps])
        shallow = [sample_at(m, of_both).unflatten(1, pixels.shape[1:3]) for m in maps]
        deep = fold_hands(self.reduce, torch.cat([hands["features"], hands["adapted"]], 2))
        deep = sample_at(deep.flatten(0, 1), pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])
        return [*shallow, verts * self.mirror / REACH, deep]

    def global_broadcast(self, hands: dict[str, Tensor], joints_img: Tensor) -> list[Tensor]:
        """What all vertices of a hand are told: pooled F*_h (B,2,hidden) and J (B,2,63)."""
        pooled = self.broadcast(hands["adapted"].mean((-2, -1)))
        joints = self.grid.normalise(joints_img) * self.mirror
        return [pooled, joints.flatten(2)]

    def crop_places(self, pixels: Tensor) -> Tensor:
        """Crop pixels (B,2,N,2) -> about [-1,1], as the right hand would see them."""
        return crop_to_unit(pixels) * self.mirror[..., :2]

    def disagreement(self, joints_img: Tensor, joints_rough: Tensor, cam: Tensor) -> list[Tensor]:
        """The camera (B,2,3), and J minus the rough joints as it draws them, (B,2,42)."""
        drawn = self.crop_places(weak_perspective(joints_rough, cam))
        off = 4 * (self.crop_places(joints_img[..., :2]) - drawn)
        scale = cam[..., :1] / PIXELS_PER_METRE
        return [torch.cat([scale, self.crop_places(cam[..., None, 1:])[..., 0, :]], -1), off.flatten(2)]

    def node_features(self, local: list[Tensor], whole: list[Tensor]) -> Tensor:
        """Side by side in float32, padded: (B,2,V,inputs)."""
        batch, hands, count = local[0].shape[:3]
        whole = [x[:, :, None].expand(-1, -1, count, -1) for x in whole]
        padding = local[0].new_zeros(batch, hands, count, self.padding)
        return torch.cat([x.float() for x in (*local, *whole, padding)], -1)
