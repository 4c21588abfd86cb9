"""Losses as pure functions without reduction, and the criterion that masks, reduces and names them.

Shapes: B batch, 2 hands, V vertices, F faces, E edges. Lengths in metres.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.nets.graph import mesh_graph
from common.nets.heatmap import CENTRE, CORNER, DEPTH_RANGE, joints_to_grid
from common.utils.geometry import IMAGE_SIZE, weak_perspective

GRID = 8  # 2.5-D errors are counted in cells of this grid: 32 pixels, 0.3 m / 8 in depth
HEATMAPS = {"heatmap": CENTRE, "heatmap_corner": CORNER}  # prediction: where in its cell an index points


def grid_units(joints_img: Tensor) -> Tensor:
    """u, v (pixels) and, where there is one, z (metres) -> 8-grid units (EANet's loss units)."""
    scale = [GRID / IMAGE_SIZE, GRID / IMAGE_SIZE, GRID / DEPTH_RANGE][: joints_img.shape[-1]]
    return torch.stack([x * s for x, s in zip(joints_img.unbind(-1), scale, strict=True)], -1)


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


def heatmap_loss(logits: Tensor, joints_img: Tensor, point: float = CENTRE) -> Tensor:
    """Divergence (Kullback-Leibler) of a volume (...,S,S,S), axes z, y, x, from the joint (...,3) spread
    trilinearly over the eight cells around it -> (...,1). It learns faster than soft-argmax alone."""
    side = logits.shape[-1]
    cells = torch.arange(side, device=logits.device, dtype=torch.float32)
    grid = joints_to_grid(joints_img, side, point).clamp(0, side - 1)[..., None]  # (...,3,1) x, y, z
    x, y, z = (1 - (grid - cells).abs()).clamp_min(0).unbind(-2)
    target = z[..., :, None, None] * y[..., None, :, None] * x[..., None, None, :]
    divergence = F.kl_div(logits.flatten(-3).log_softmax(-1), target.flatten(-3), reduction="none")
    return divergence.sum(-1, keepdim=True)


def masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    """Mean over the valid entries; 0 where nothing is valid. `valid` broadcasts over `values`."""
    valid = valid.expand_as(values)
    return (values * valid).sum() / valid.sum().clamp_min(1)


class Criterion(nn.Module):
    """All named, unweighted terms of one batch; `total` weighs them. The keyword arguments are the
    weights (main/config.py, Loss); a term of weight 0, or whose prediction is absent, is left out."""

    def __init__(self, faces: Tensor, **weights: float):
        super().__init__()
        self.weights = {name: weight for name, weight in weights.items() if weight}
        self.register_buffer("faces", faces, persistent=False)  # (2,F,3)
        self.graph = mesh_graph(faces[0])  # both hands join the same vertices
        known: dict[str, Callable[[dict, dict], Tensor | None]] = {
            name: getattr(self, f"_{name}") for name in weights
        }
        self.terms = {name: known[name] for name in self.weights}

    def forward(self, pred: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        terms = {name: term(pred, batch) for name, term in self.terms.items()}
        return {name: value for name, value in terms.items() if value is not None}

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        return torch.stack([self.weights[name] * value for name, value in terms.items()]).sum()

    def _joints_img(self, pred, batch):
        return self._image_joints(pred["joints_img"], batch, "joints_img")

    def _mano_joints_img(self, pred, batch):
        return self._image_joints(pred["joints_img"], batch, "mano_joints_img")

    def _heatmap(self, pred, batch):
        for key, point in HEATMAPS.items():
            if key in pred:
                error = heatmap_loss(pred[key], batch["mano_joints_img"], point)
                return masked_mean(error, batch["mano_joints_img_valid"])
        return None

    @staticmethod
    def _image_joints(joints, batch, key):
        return masked_mean(l1(grid_units(joints), grid_units(batch[key])), batch[f"{key}_valid"])

    def _joints_proj(self, pred, batch):
        projected = weak_perspective(pred.get("joints_rough", pred["joints"]), pred["cam"])
        error = l1(grid_units(projected), grid_units(batch["mano_joints_img"][..., :2]))
        return masked_mean(error, batch["pose_valid"])

    def _rotmat(self, pred, batch):
        return masked_mean(l1(pred["rotmat"], batch["rotmat"]), batch["pose_valid"][..., None])

    def _shape(self, pred, batch):
        return masked_mean(l1(pred["shape"], batch["shape"]), batch["shape_valid"])

    def _joints_cam(self, pred, batch):
        return self._rough_and_refined(pred, "joints", batch["joints_cam"], batch["joints_cam_valid"])

    def _mano_joints_cam(self, pred, batch):
        return self._rough_and_refined(pred, "joints", batch["mano_joints_cam"], batch["pose_valid"])

    def _verts(self, pred, batch):
        return self._rough_and_refined(pred, "verts", batch["verts_cam"], batch["pose_valid"])

    @staticmethod
    def _rough_and_refined(pred, key, true, valid):
        names = {f"{key}_rough", key} & pred.keys()
        return torch.stack([masked_mean(l1(pred[name], true), valid) for name in sorted(names)]).sum()

    def _rel_trans(self, pred, batch):
        return masked_mean(l1(pred["rel_trans"], batch["rel_trans"]), batch["rel_trans_valid"])

    def _present(self, pred, batch):
        if "present" not in pred:
            return None
        return F.binary_cross_entropy_with_logits(pred["present"].float(), batch["present"])

    def _normal(self, pred, batch):
        edges, true_edges = self._edges(pred, batch)
        return masked_mean(normal_loss(edges, true_edges), batch["pose_valid"])

    def _edge(self, pred, batch):
        edges, true_edges = self._edges(pred, batch)
        return masked_mean(edge_loss(edges, true_edges), batch["pose_valid"])

    def _laplacian(self, pred, batch):
        error = l1(self._uniform_laplacian(pred["verts"]), self._uniform_laplacian(batch["verts_cam"]))
        return masked_mean(error, batch["pose_valid"])

    def _edges(self, pred, batch):
        return corner_edges(pred["verts"], self.faces), corner_edges(batch["verts_cam"], self.faces)

    def _uniform_laplacian(self, verts: Tensor) -> Tensor:
        """Each vertex minus the mean of its neighbours: (B,2,V,3) -> (B,2,V,3)."""
        flat = verts.flatten(0, 1)
        return (flat - self.graph.inverse_root.square() * self.graph.sum(flat)).unflatten(0, verts.shape[:2])
