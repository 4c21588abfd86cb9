"""Losses as pure functions without reduction, and the criterion that masks, reduces and names them.

Shapes: B batch, 2 hands, V vertices, F faces, E edges. Lengths in metres.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.hand.joints import WRIST
from common.nets.graph import mesh_graph
from common.nets.heatmap import HeatmapGrid
from common.utils.dist import mean_over_ranks
from common.utils.errors import UserError
from common.utils.geometry import IMAGE_SIZE, weak_perspective

# 2.5-D errors are counted in units of EANet's grid: 32 pixels, and 8 units in 0.3 m of depth.
PIXELS_PER_UNIT, METRES_PER_UNIT = IMAGE_SIZE / 8, 0.3 / 8

Batch = Mapping[str, Tensor]
Errors = dict[str, tuple[Tensor, Tensor]]  # by name: values, and which of them count (1 or 0; broadcasts)

# The predictions that a term reads: without the first of them it cannot be had.
READS = {
    "joints_img": ("joints_img",),
    "mano_joints_img": ("joints_img",),
    "heatmap": ("heatmap",),
    "joints_proj": ("cam", "joints_rough"),
    "rotmat": ("rotmat",),
    "wrist": ("rotmat",),
    "shape": ("shape",),
    "joints_cam": ("joints", "joints_rough"),
    "mano_joints_cam": ("joints", "joints_rough"),
    "verts": ("verts", "verts_rough"),
    "rel_trans": ("rel_trans",),
    "present": ("present",),
    "normal": ("verts",),
    "edge": ("verts",),
    "laplacian": ("verts",),
}


def grid_units(joints_img: Tensor) -> Tensor:
    """u, v (pixels) and, where there is one, z (metres) -> units of the loss (..., 2 or 3)."""
    pixels, depth = joints_img[..., :2], joints_img[..., 2:]
    return torch.cat([pixels / PIXELS_PER_UNIT, depth / METRES_PER_UNIT], -1)


def l1(predicted: Tensor, true: Tensor) -> Tensor:
    return (predicted - true).abs()


def corner_edges(verts: Tensor, faces: Tensor) -> Tensor:
    """The three directed edges of every face: (B,2,V,3), (2,F,3) -> (B,2,F,3 edges,3)."""
    corners = torch.stack([verts[:, h][:, f] for h, f in enumerate(faces)], 1)
    return corners.roll(-1, dims=3) - corners


def normal_loss(edges: Tensor, true_edges: Tensor) -> Tensor:
    """|cosine| between predicted edges and the true face normal: (B,2,F,3,3) -> (B,2,F,3)."""
    normal = torch.linalg.cross(true_edges[..., 0, :], true_edges[..., 1, :], dim=-1)
    normal = F.normalize(normal, dim=-1)[..., None, :]
    return (F.normalize(edges, dim=-1, eps=1e-8) * normal).sum(-1).abs()


def edge_loss(edges: Tensor, true_edges: Tensor) -> Tensor:
    """Difference of edge lengths in metres: (B,2,F,3,3) -> (B,2,F,3)."""
    return l1(lengths(edges), lengths(true_edges))


def lengths(edges: Tensor) -> Tensor:
    return (edges.square().sum(-1) + 1e-12).sqrt()  # a collapsed edge has a finite gradient


def heatmap_loss(logits: Tensor, joints_img: Tensor, grid: HeatmapGrid) -> Tensor:
    """Divergence (Kullback-Leibler) of a volume (...,Z,Y,X) from the joint (...,3) spread trilinearly over
    the eight cells around it -> (...,1). It learns faster than soft-argmax alone."""
    index = grid.to_grid(joints_img)
    index = index.clamp_min(0).minimum(grid.last_index(index))
    x, y, z = (
        (1 - (place[..., None] - torch.arange(count, device=place.device)).abs()).clamp_min(0)
        for place, count in zip(index.unbind(-1), reversed(grid.shape), strict=True)
    )
    target = z[..., :, None, None] * y[..., None, :, None] * x[..., None, None, :]
    divergence = F.kl_div(logits.flatten(-3).log_softmax(-1), target.flatten(-3), reduction="none")
    return divergence.sum(-1, keepdim=True)


def masked_means(
    errors: Errors, counts: dict[str, Tensor] | None = None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Mean of the values that count and how many did, by name; 0 of none.

    The mean is that of the whole batch, also where several processes have a part of it each: a process
    divides its own sum by the mean number over processes, and what is averaged over processes afterwards,
    as gradients are, is the sum of all by the number of all. counts: of a larger batch, of which this one is
    a part; the means of all parts then add up to those of the larger batch.
    """
    sums = torch.stack([(values * valid).sum() for values, valid in errors.values()])
    if counts is None:
        own = torch.stack([valid.expand_as(values).sum() for values, valid in errors.values()])
        counts = dict(zip(errors, mean_over_ranks(own).unbind(), strict=True))
    numbers = torch.stack([counts[name] for name in errors])
    means = torch.where(numbers > 0, sums / numbers.clamp_min(1e-9), 0)
    return dict(zip(errors, means.unbind(), strict=True)), counts


class Criterion(nn.Module):
    """The named terms of one batch and what they weigh.

    grid: of the network's heat maps. weights: by name, as in main/config.py, Loss; a term of weight 0 is
    left out, and so is one whose prediction the network does not make.
    """

    def __init__(self, faces: Tensor, grid: HeatmapGrid, weights: Mapping[str, float]):
        super().__init__()
        self.grid = grid
        self.register_buffer("faces", faces, persistent=False)  # (2,F,3)
        self.graph = mesh_graph(faces[0])  # both hands join the same vertices
        self.weights = {name: weight for name, weight in weights.items() if weight}
        if not self.weights:
            raise UserError("every weight of the loss is 0: there is nothing to learn")
        self.functions: dict[str, Callable[[Batch, Batch], tuple[Tensor, Tensor]]] = {
            "joints_img": self.joints_img,
            "mano_joints_img": self.mano_joints_img,
            "heatmap": self.heatmap,
            "joints_proj": self.joints_proj,
            "rotmat": self.rotmat,
            "wrist": self.wrist,
            "shape": self.shape,
            "joints_cam": self.joints_cam,
            "mano_joints_cam": self.mano_joints_cam,
            "verts": self.verts,
            "rel_trans": self.rel_trans,
            "present": self.present,
            "normal": self.normal,
            "edge": self.edge,
            "laplacian": self.laplacian,
        }

    def forward(
        self, pred: Batch, batch: Batch, counts: dict[str, Tensor] | None = None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Unweighted terms, and of how many values each is the mean (0: nothing was measured).

        counts: those of the larger batch that this one is a part of.
        """
        names = [name for name in self.weights if READS[name][0] in pred]
        return masked_means({name: self.functions[name](pred, batch) for name in names}, counts)

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([self.weights[name] * value for name, value in terms.items()]).sum()

    def reads(self) -> set[str]:
        """The predictions that some term reads."""
        return {key for name in self.weights for key in READS[name]}

    # ---- in the picture: units of 32 pixels and 0.3 m / 8 ----

    def joints_img(self, pred: Batch, batch: Batch) -> tuple[Tensor, Tensor]:
        return self.image_error(pred, batch["joints_img"], batch["joints_img_valid"])

    def mano_joints_img(self, pred: Batch, batch: Batch) -> tuple[Tensor, Tensor]:
        return self.image_error(pred, batch["mano_joints_img"], batch["mano_joints_img_valid"])

    def image_error(self, pred: Batch, true: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """A label that no soft-argmax reaches would pull for ever at what cannot move."""
        error = l1(grid_units(pred["joints_img"]), grid_units(true))
        return error, valid * self.grid.reachable(true)

    def heatmap(self, pred: Batch, batch: Batch) -> tuple[Tensor, Tensor]:
        true, valid = annotated_else_fit(batch, batch["mano_joints_img_valid"])
        return heatmap_loss(pred["heatmap"], true, self.grid), valid

    def joints_proj(self, pred: Batch, batch: Batch) -> tuple[Tensor, Tensor]:
        true, valid = annotated_else_fit(batch, batch["pose_valid"])
        projected = weak_perspective(pred.get("joints_rough", pred["joints"]), pred["cam"])
        return l1(grid_units(projected), grid_units(true[..., :2])), valid

    # ---- MANO parameters and the relative translation (metres) ----

    def rotmat(self, pred: Batch, batch: Batch) -> tuple[Tensor, Tensor]:
        return l1(pred["rotmat"], batch["rotmat"]), batch["pose_valid"][..., None]

    def wrist(self, pred: Batch, batch: Batch) -> tuple[Tensor, Tensor]:
        """The wrist's alone, which are a sixteenth of all rotations and half of the error."""
        error = l1(pred["rotmat"][:, :, WRIST], batch["rotmat"][:, :, WRIST])
        return error, batch["pose_valid"]

    def shape(self, pred: Batch, batch: Batch) -> tuple[Tensor, Tensor]:
        return l1(pred["shape"], batch["shape"]), batch["shape_valid"]

    def rel_trans(self, pred: Batch, batch: Batch) -> tuple[Tensor, Tensor]:
        return l1(pred["rel_trans"], batch["rel_trans"]), batch["rel_trans_valid"]

    def present(self, pred: Batch, batch: Batch) -> tuple[Tensor, Tensor]:
        error = F.binary_cross_entropy_with_logits(pred["present"], batch["present"], reduction="none")
        return error, torch.ones_like(error)

    # ---- both meshes, rough and refined: metres ----

    def joints_cam(self, pred: Batch, batch: Batch) -> tuple[Tensor, Tensor]:
        return rough_and_refined(pred, "joints", batch["joints_cam"]), batch["joints_cam_valid"]

    def mano_joints_cam(self, pred: Batch, batch: Batch) -> tuple[Tensor, Tensor]:
        return rough_and_refined(pred, "joints", batch["mano_joints_cam"]), batch["pose_valid"]

    def verts(self, pred: Batch, batch: Batch) -> tuple[Tensor, Tensor]:
        return rough_and_refined(pred, "verts", batch["verts_cam"]), batch["pose_valid"]

    # ---- the refined mesh: |cosine|, metres, metres ----

    def normal(self, pred: Batch, batch: Batch) -> tuple[Tensor, Tensor]:
        return normal_loss(*self.edges(pred, batch)), batch["pose_valid"]

    def edge(self, pred: Batch, batch: Batch) -> tuple[Tensor, Tensor]:
        return edge_loss(*self.edges(pred, batch)), batch["pose_valid"]

    def laplacian(self, pred: Batch, batch: Batch) -> tuple[Tensor, Tensor]:
        predicted, true = self.uniform_laplacian(pred["verts"]), self.uniform_laplacian(batch["verts_cam"])
        return l1(predicted, true), batch["pose_valid"]

    def edges(self, pred: Batch, batch: Batch) -> tuple[Tensor, Tensor]:
        return corner_edges(pred["verts"], self.faces), corner_edges(batch["verts_cam"], self.faces)

    def uniform_laplacian(self, verts: Tensor) -> Tensor:
        """Each vertex minus the mean of its neighbours: (B,2,V,3) -> (B,2,V,3)."""
        flat = verts.flatten(0, 1)
        mean = self.graph.inverse_root.square() * self.graph.sum(flat)
        return (flat - mean).unflatten(0, verts.shape[:2])


def annotated_else_fit(batch: Batch, fit_valid: Tensor) -> tuple[Tensor, Tensor]:
    """2.5-D joints (B,2,21,3): the annotated one where there is one, else the fit's; which are either."""
    annotated = batch["joints_img_valid"]
    true = torch.where(annotated > 0, batch["joints_img"], batch["mano_joints_img"])
    return true, torch.maximum(annotated, fit_valid.expand_as(annotated))


def rough_and_refined(pred: Batch, key: str, true: Tensor) -> Tensor:
    """L1 of the refined mesh, plus that of the rough one where the network has one."""
    error = l1(pred[key], true)
    if f"{key}_rough" in pred:
        error = error + l1(pred[f"{key}_rough"], true)
    return error
