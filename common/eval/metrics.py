"""Metrics: predictions and labels in, batch by batch, named numbers out.

Every sample is measured on the device in float64 and kept under its id, so that the order, the
batch size, the number of processes and a sample seen twice change nothing. reduce.py averages.

Legend: B batch, N samples, 2 hands (right, left), V 778 vertices, J 21 joints. A measure is a pair
(value, valid) of equal shape, (B,), (B,2) or (B,2,J); what is not valid counts nowhere.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.eval.protocols import LGNET, Protocol
from common.eval.reduce import FRAME, JOINT_ERRORS, POSE_DIFFERENCE, Score, summarize
from common.hand.joints import LEFT, RIGHT
from common.hand.mano import ManoLayer
from common.hand.mirror import MIRROR_POINT
from common.utils.errors import UserError
from common.utils.geometry import geodesic_angle, project, similarity_align, weak_perspective

Measures = dict[str, tuple[Tensor, Tensor]]
MILLIMETRES = 1000.0
MEASURED_KEYS = ("joints_img", "rotmat", "cam", "verts", "verts_rough", "rel_trans", "present")


class Metrics:
    """Collects what `update` measures under each protocol; `summary` reduces it."""

    def __init__(self, hands: ManoLayer, protocols: Sequence[Protocol] = (LGNET,)):
        self.hands = hands
        self.protocols = tuple(protocols)
        # per protocol: the shape of each measure without B, and a (2,C) row of each sample
        self.shapes: dict[str, dict[str, tuple[int, ...]]] = {}
        self.rows: dict[str, dict[str, NDArray]] = {p.name: {} for p in self.protocols}

    @torch.no_grad()
    def update(self, pred: Mapping[str, Tensor], batch: Mapping[str, Any]) -> None:
        """Measure one batch (DESIGN's prediction and batch contracts, targets added).

        A second row of an id replaces the first. Raises UserError, naming the sample, on a
        prediction that is not finite.
        """
        _check_finite(pred, batch["id"])
        for protocol in self.protocols:
            measures = measure(protocol, self.hands, pred, batch)
            self.shapes[protocol.name] = {key: tuple(v.shape[1:]) for key, (v, _) in measures.items()}
            values, valid = (
                torch.cat([part.reshape(len(part), -1).double() for part in parts], 1)
                for parts in zip(*measures.values(), strict=True)
            )
            rows = torch.stack([values, valid], 1).cpu().numpy()  # (B,2,C)
            self.rows[protocol.name].update(zip(batch["id"], rows, strict=True))

    def state(self) -> dict[str, Any]:
        """Plain arrays to send to another process; see `merge`."""
        return {"shapes": self.shapes, "rows": self.rows}

    def merge(self, state: Mapping[str, Any]) -> None:
        """Add the `state` of another process."""
        self.shapes = {**state["shapes"], **self.shapes}
        for name, rows in state["rows"].items():
            self.rows[name].update(rows)

    def summary(self) -> dict[str, dict[str, Score]]:
        """{protocol: {metric: Score}}; millimetres, degrees, pixels."""
        return {p.name: summarize(self.measured(p.name)) for p in self.protocols}

    def counts(self) -> dict[str, dict[str, int]]:
        """{protocol: {"samples": seen, "frames": counted under the protocol}}."""
        found = {p.name: self.measured(p.name) for p in self.protocols}
        return {
            name: {"samples": len(self.rows[name]), "frames": int(m[FRAME][0].sum()) if m else 0}
            for name, m in found.items()
        }

    def measured(self, protocol: str) -> dict[str, tuple[NDArray, NDArray]]:
        """All samples of a protocol, sorted by id: {measure: (values, valid)}, (N,...) each."""
        rows = self.rows[protocol]
        if not rows:
            return {}
        table = np.stack([rows[key] for key in sorted(rows)])  # (N,2,C)
        found, start = {}, 0
        for name, shape in self.shapes[protocol].items():
            stop = start + int(np.prod(shape))
            part = table[:, :, start:stop].reshape(len(table), 2, *shape)
            found[name] = (part[:, 0], part[:, 1] > 0)
            start = stop
        return found


def _check_finite(pred: Mapping[str, Tensor], ids: Sequence[str]) -> None:
    for key in (key for key in MEASURED_KEYS if key in pred):
        good = torch.isfinite(pred[key].flatten(1)).all(1)
        if not good.all():
            name = ids[int(good.int().argmin())]
            raise UserError(f"the prediction '{key}' for sample {name} is not finite")


# ---- what is measured on one batch ----


def measure(
    protocol: Protocol, hands: ManoLayer, pred: Mapping[str, Tensor], batch: Mapping[str, Any]
) -> Measures:
    """Every measure of a batch under a protocol; float64, on the device of the batch."""
    frame = select_frames(protocol, batch)  # (B,)
    fitted = (batch["pose_valid"].flatten(1) > 0) & frame[:, None]  # (B,2)
    measures = {FRAME: (frame, frame), **_meshes(protocol, hands, pred, batch, fitted)}
    measures |= _rotations(pred, batch, fitted)
    measures |= _pixels(pred, batch, frame, fitted)
    measures |= _placement(pred, batch, frame)
    if "present" in pred:  # over all samples: among interacting frames it would say little
        right = (pred["present"] > 0) == (batch["present"] > 0.5)
        measures["presence_accuracy"] = (100.0 * right, torch.ones_like(right))
    return measures


def select_frames(protocol: Protocol, batch: Mapping[str, Any]) -> Tensor:
    """(B,) bool: the samples that count under the protocol."""
    fits = batch["pose_valid"].flatten(1) > 0  # (B,2)
    keep = torch.ones_like(fits[:, 0])
    if protocol.frames == "interacting":
        kinds = [kind == "interacting" for kind in batch["hand_type"]]
        keep = keep & torch.tensor(kinds, device=keep.device)
    if protocol.both_fits:
        keep = keep & fits.all(1)
    return keep


def _meshes(
    protocol: Protocol, hands: ManoLayer, pred: Mapping[str, Tensor], batch: Mapping[str, Any], fitted: Tensor
) -> Measures:
    # TF32 in a matrix product would cost 0.1 mm, hence float64 from the regressor on
    regressor = hands.get_buffer(f"regressor_{protocol.tips}").double()
    truth = batch["verts_cam"].double()
    true_joints = regressor @ truth
    measures: Measures = {}
    for key, suffix in (("verts", ""), ("verts_rough", "_rough")):
        if key not in pred:
            continue
        verts = pred[key].double()
        errors = _mesh_errors(protocol, verts, regressor @ verts, truth, true_joints)
        joint_errors = errors.pop(JOINT_ERRORS)
        if not suffix:
            measures[JOINT_ERRORS] = (joint_errors, fitted[..., None].expand_as(joint_errors))
        measures |= {name + suffix: (value, fitted) for name, value in errors.items()}
    return measures


def _mesh_errors(
    protocol: Protocol, verts: Tensor, joints: Tensor, true_verts: Tensor, true_joints: Tensor
) -> dict[str, Tensor]:
    """Errors (B,2) in mm of meshes (B,2,V,3) and joints (B,2,J,3), m; also per joint (B,2,J)."""
    root, true_root = joints[:, :, [protocol.root]], true_joints[:, :, [protocol.root]]
    verts, joints = verts - root, joints - root
    true_verts, true_joints = true_verts - true_root, true_joints - true_root
    scale = torch.ones_like(joints[:, :, :1, :1])
    if protocol.scale_bone is not None:
        true_length = _bone_length(true_joints, protocol.scale_bone)
        scale = true_length / _bone_length(joints, protocol.scale_bone).clamp_min(1e-9)
    joint_errors = _distance(scale * joints, true_joints)
    return {
        JOINT_ERRORS: joint_errors,
        "MPJPE": joint_errors.mean(-1),
        "MPVPE": _distance(scale * verts, true_verts).mean(-1),
        "PA_MPJPE": _distance(similarity_align(joints, true_joints), true_joints).mean(-1),
        "PA_MPVPE": _distance(similarity_align(verts, true_verts), true_verts).mean(-1),
        "MPJPE_unscaled": _distance(joints, true_joints).mean(-1),
        "MPVPE_unscaled": _distance(verts, true_verts).mean(-1),
    }


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return MILLIMETRES * (a - b).norm(dim=-1)


def _bone_length(joints: Tensor, bone: tuple[int, int]) -> Tensor:
    """(B,2,J,3) -> (B,2,1,1)."""
    start, end = bone
    return (joints[:, :, end] - joints[:, :, start]).norm(dim=-1)[..., None, None]


def _rotations(pred: Mapping[str, Tensor], batch: Mapping[str, Any], fitted: Tensor) -> Measures:
    truth = batch["rotmat"].double()
    angle = geodesic_angle(pred["rotmat"].double(), truth).rad2deg()  # (B,2,16)
    both = fitted.all(1)
    return {
        "root_rotation": (angle[..., 0], fitted),
        "local_rotation": (angle[..., 1:].mean(-1), fitted),
        POSE_DIFFERENCE: (pose_difference(truth), both),
    }


def pose_difference(rotmat: Tensor) -> Tensor:
    """How differently the two hands are bent: (B,2,16,3,3) -> (B,) degrees.

    Mean geodesic angle between the 15 finger rotations of the right hand and those of the mirrored
    left hand. LGNet names the quantity without defining it; this definition is ours.
    """
    flip = torch.as_tensor(MIRROR_POINT, dtype=rotmat.dtype, device=rotmat.device)
    mirrored = rotmat[:, LEFT, 1:] * flip[:, None] * flip  # F R F
    return geodesic_angle(rotmat[:, RIGHT, 1:], mirrored).rad2deg().mean(-1)


def _pixels(pred: Mapping[str, Tensor], batch: Mapping[str, Any], frame: Tensor, fitted: Tensor) -> Measures:
    """2-D errors in pixels of the crop: joint stage, and the mesh as its own camera draws it."""
    counted = batch["joints_img_valid"].squeeze(-1).double()  # (B,2,J)
    joint = (pred["joints_img"][..., :2] - batch["joints_img"][..., :2]).double().norm(dim=-1)
    mean = (joint * counted).sum(-1) / counted.sum(-1).clamp_min(1)
    in_camera = (batch["verts_cam"] + batch["mano_root_cam"][:, :, None]).double()
    # a hand without a fit lies at depth 0; its pixels are masked, but must be finite
    in_camera = torch.where(fitted[..., None, None], in_camera, torch.ones_like(in_camera))
    truth = project(in_camera, batch["K"][:, None].double())
    drawn = weak_perspective(pred["verts"].double(), pred["cam"].double())
    return {
        "joint_px": (mean, (counted.sum(-1) > 0) & frame[:, None]),
        "vertex_px": ((drawn - truth).norm(dim=-1).mean(-1), fitted),
    }


def _placement(pred: Mapping[str, Tensor], batch: Mapping[str, Any], frame: Tensor) -> Measures:
    """Left wrist relative to the right one, mm: whole, across the picture and along the depth."""
    error = MILLIMETRES * (pred["rel_trans"] - batch["rel_trans"]).double()  # (B,3)
    valid = (batch["rel_trans_valid"].flatten() > 0) & frame
    return {
        "MRRPE": (error.norm(dim=-1), valid),
        "MRRPE_plane": (error[:, :2].norm(dim=-1), valid),
        "MRRPE_depth": (error[:, 2].abs(), valid),
    }
