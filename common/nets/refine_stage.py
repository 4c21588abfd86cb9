"""Refine stage: per-vertex offsets from early image features by a graph network (figure, bottom box).

Follows HandAR's three-stage design, which LGNet takes over. Shapes: B batch, 2 hands, 778 vertices.
"""

import torch
from torch import Tensor, nn

from common.hand.joints import NUM_JOINTS, RIGHT, WRIST
from common.hand.mano import ManoLayer
from common.nets.graph import GraphStack, mesh_graph
from common.nets.heatmap import normalise_joints, sample_at
from common.nets.layers import fold_hands
from common.utils.geometry import weak_perspective

REACH = 0.1  # metres; vertex positions enter the graph divided by it


class RefineStage(nn.Module):
    """M_r, early maps, F_h, F*_h and J -> M_f = M_r + dM. One graph net serves both hands: the left
    hand's coordinates are mirrored on the way in and its offsets on the way out.

    early: channels of the early maps to look at, which are the shallowest of those that `forward` is given.
    """

    def __init__(
        self,
        early: tuple[int, ...],
        features: int,
        adapted: int,
        hidden: int,
        refine_graph: str,
        mano: ManoLayer,
    ):
        super().__init__()
        self.mano, self.maps = mano, len(early)
        self.register_buffer("mirror", torch.tensor([[1.0, 1, 1], [-1, 1, 1]]), persistent=False)
        self.reduce = nn.Conv2d(features + adapted, hidden, 1)  # F_h and F*_h, before sampling
        self.broadcast = nn.Linear(adapted, hidden)  # "global broadcast"
        inputs = 3 + sum(early) + 2 * hidden + 3 + 3 * NUM_JOINTS
        self.padding = -inputs % 8  # odd widths fall on slow matrix kernels
        graph = mesh_graph(mano.faces[RIGHT])
        self.graph = GraphStack(refine_graph, graph, inputs + self.padding, hidden, 3)
        last = [m for m in self.graph[-1].modules() if isinstance(m, nn.Linear)][-1]
        nn.init.zeros_(last.weight)  # training starts from M_r
        nn.init.zeros_(last.bias)

    def forward(
        self, image: Tensor, early: list[Tensor], stage: dict[str, Tensor], rough: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        verts = rough["verts_rough"]
        nodes = self.node_features(image, early, stage, verts.detach(), rough["cam"].detach())
        offsets = fold_hands(self.graph, nodes)  # (B,2,778,3)
        refined = verts + offsets.float() * self.mirror[:, None] * REACH
        joints = self.mano.joints(refined)
        wrist = joints[:, :, WRIST : WRIST + 1]
        return {"verts": refined - wrist, "joints": joints - wrist}

    def node_features(
        self, image: Tensor, early: list[Tensor], stage: dict[str, Tensor], verts: Tensor, cam: Tensor
    ) -> Tensor:
        """What each vertex sees at its projection and knows of the whole hand: (B,2,778,inputs)."""
        batch, hands, count = verts.shape[:3]
        pixels = weak_perspective(verts, cam)  # (B,2,778,2)
        seen = (image, *early[: self.maps])
        local = [sample_at(m, pixels.flatten(1, 2)).unflatten(1, (hands, count)) for m in seen]
        deep = torch.cat([stage["features"], stage["adapted"]], 2)
        deep = sample_at(fold_hands(self.reduce, deep).flatten(0, 1), pixels.flatten(0, 1))
        pooled = self.broadcast(stage["adapted"].mean((-2, -1)))[:, :, None]
        joints = normalise_joints(stage["joints_img"].detach()) * self.mirror[:, None]
        own = [verts * self.mirror[:, None] / REACH, deep.unflatten(0, (batch, hands))]
        whole = [pooled, joints.flatten(2)[:, :, None]]
        parts = [*local, *own, *(x.expand(-1, -1, count, -1) for x in whole)]
        parts.append(verts.new_zeros(batch, hands, count, self.padding))
        return torch.cat([x.to(deep.dtype) for x in parts], -1)
