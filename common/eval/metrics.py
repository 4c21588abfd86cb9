"""Metrics: predictions and labels in, batch by batch, named numbers out.

Every sample is measured on the device in float64 and kept under its id, so that the order, the
batch size, the number of processes and a sample seen twice change nothing. reduce.py averages.

Legend: B batch, N samples, 2 hands (right, left), V 778 vertices, J 21 joints. A measure is a pair
(value, valid) of equal shape, (B,), (B,2) or (B,2,J); what is not valid counts nowhere.
"""

import math
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

Prediction, Batch = Mapping[str, Tensor], Mapping[str, Any]
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
    def update(self, pred: Prediction, batch: Batch) -> None:
        """Measure one batch (DESIGN's prediction and batch contracts, targets added).

        A second row of an id replaces the first. Raises UserError, naming the sample, on a
        prediction that is not finite.
        """
        _check_finite(pred, batch["id"])
        for protocol in self.protocols:
            measures = measure(protocol, self.hands, pred, batch)
            self.shapes[protocol.name] = {key: tuple(v.shape[1:]) for key, (v, _) in measures.items()}
            parts = zip(*measures.values(), strict=True)  # all values, all validities
            flat = ([m.reshape(len(m), -1).double() for m in part] for part in parts)
            rows = torch.stack([torch.cat(part, 1) for part in flat], 1).cpu().numpy()  # (B,2,C)
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
        none = (np.zeros(0), np.zeros(0))
        frames = {p.name: self.measured(p.name).get(FRAME, none)[0] for p in self.protocols}
        return {name: {"samples": len(frame), "frames": int(frame.sum())} for name, frame in frames.items()}

    def measured(self, protocol: str) -> dict[str, tuple[NDArray, NDArray]]:
        """All samples of a protocol, sorted by id: {measure: (values, valid)}, (N,...) each."""
        rows = self.rows[protocol]
        if not rows:
            return {}
        values, valid = np.stack([rows[key] for key in sorted(rows)], 1)  # (N,C) each
        found, start = {}, 0
        for name, shape in self.shapes[protocol].items():
            part, start = slice(start, start + math.prod(shape)), start + math.prod(shape)
            found[name] = (values[:, part].reshape(-1, *shape), valid[:, part].reshape(-1, *shape) > 0)
        return found


def _check_finite(pred: Prediction, ids: Sequence[str]) -> None:
    for key in (key for key in MEASURED_KEYS if key in pred):
        good = torch.isfinite(pred[key].flatten(1)).all(1)
        if not good.all():
            name = ids[int(good.int().argmin())]
            raise UserError(f"the prediction '{key}' for sample {name} is not finite")


# ---- what is measured on one batch ----


def measure(protocol: Protocol, hands: ManoLayer, pred: Prediction, batch: Batch) -> Measures:
    """Every measure of a batch under a protocol; float64, on the device of the batch."""
    fits = batch["pose_valid"].flatten(1) > 0  # (B,2)
    frame = torch.ones_like(fits[:, 0])  # (B,) the samples that count under the protocol
    if protocol.frames == "interacting":
        frame &= torch.tensor([kind == "interacting" for kind in batch["hand_type"]], device=frame.device)
    if protocol.both_fits:
        frame &= fits.all(1)
    fitted = fits & frame[:, None]
    measures = {FRAME: (frame, frame), **_meshes(protocol, hands, pred, batch, fitted)}
    measures |= _rotations(pred, batch, fitted)
    measures |= _pixels(pred, batch, frame, fitted)
    measures |= _placement(pred, batch, frame)
    if "present" in pred:  # over all samples: among interacting frames it would say little
        right = (pred["present"] > 0) == (batch["present"] > 0.5)
        measures["presence_accuracy"] = (100.0 * right, torch.ones_like(right))
    return measures


def _meshes(protocol: Protocol, hands: ManoLayer, pred: Prediction, batch: Batch, fitted: Tensor) -> Measures:
    """Errors in mm of the mesh and of the joints regressed from it; of the rough one as *_rough."""
    # TF32 in a matrix product would cost 0.1 mm, hence float64 from the regressor on
    regressor = hands.get_buffer(f"regressor_{protocol.tips}").double()
    truth = batch["verts_cam"].double()
    measures: Measures = {}
    for key in ("verts", "verts_rough"):
        if key in pred:
            errors = _mesh_errors(protocol, regressor, pred[key].double(), truth)
            joints = errors.pop(JOINT_ERRORS)
            if key == "verts":
                measures[JOINT_ERRORS] = (joints, fitted[..., None].expand_as(joints))
            measures |= {name + key.removeprefix("verts"): (error, fitted) for name, error in errors.items()}
    return measures


def _mesh_errors(protocol: Protocol, regressor: Tensor, verts: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """Errors (B,2) in mm of meshes (B,2,V,3), m; also per joint (B,2,J)."""
    joints, true_joints = regressor @ verts, regressor @ truth
    root, true_root = joints[:, :, [protocol.root]], true_joints[:, :, [protocol.root]]
    verts, joints = verts - root, joints - root
    truth, true_joints = truth - true_root, true_joints - true_root
    scale = 1.0
    if protocol.scale_bone is not None:
        length, true_length = (_bone_length(j, protocol.scale_bone) for j in (joints, true_joints))
        scale = true_length / length.clamp_min(1e-9)
    joint_errors = _distance(scale * joints, true_joints)
    return {
        JOINT_ERRORS: joint_errors,
        "MPJPE": joint_errors.mean(-1),
        "MPVPE": _distance(scale * verts, truth).mean(-1),
        "PA_MPJPE": _distance(similarity_align(joints, true_joints), true_joints).mean(-1),
        "PA_MPVPE": _distance(similarity_align(verts, truth), truth).mean(-1),
        "MPJPE_unscaled": _distance(joints, true_joints).mean(-1),
        "MPVPE_unscaled": _distance(verts, truth).mean(-1),
    }


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return MILLIMETRES * (a - b).norm(dim=-1)


def _bone_length(joints: Tensor, bone: tuple[int, int]) -> Tensor:
    """(B,2,J,3) -> (B,2,1,1)."""
    start, end = bone
    return (joints[:, :, end] - joints[:, :, start]).norm(dim=-1)[..., None, None]


def _rotations(pred: Prediction, batch: Batch, fitted: Tensor) -> Measures:
    truth = batch["rotmat"].double()
    angle = geodesic_angle(pred["rotmat"].double(), truth).rad2deg()  # (B,2,16)
    return {
        "root_rotation": (angle[..., 0], fitted),
        "local_rotation": (angle[..., 1:].mean(-1), fitted),
        POSE_DIFFERENCE: (pose_difference(truth), fitted.all(1)),
    }


def pose_difference(rotmat: Tensor) -> Tensor:
    """How differently the two hands are bent: (B,2,16,3,3) -> (B,) degrees.

    Mean geodesic angle between the 15 finger rotations of the right hand and those of the mirrored
    left hand. LGNet names the quantity without defining it; this definition is ours.
    """
    flip = torch.as_tensor(MIRROR_POINT, dtype=rotmat.dtype, device=rotmat.device)
    mirrored = rotmat[:, LEFT, 1:] * flip[:, None] * flip  # F R F
    return geodesic_angle(rotmat[:, RIGHT, 1:], mirrored).rad2deg().mean(-1)


def _pixels(pred: Prediction, batch: Batch, frame: Tensor, fitted: Tensor) -> Measures:
    """2-D errors in pixels of the crop: joint stage, and the mesh as its own camera draws it."""
    counted = batch["joints_img_valid"].squeeze(-1).double()  # (B,2,J)
    joint = (pred["joints_img"][..., :2] - batch["joints_img"][..., :2]).double().norm(dim=-1)
    mean = (joint * counted).sum(-1) / counted.sum(-1).clamp_min(1)
    in_camera = (batch["verts_cam"] + batch["mano_root_cam"][:, :, None]).double()
    # a hand without a fit lies at depth 0; its pixels are masked, but must be finite
    in_camera = torch.where(fitted[..., None, None], in_camera, 1.0)
    truth = project(in_camera, batch["K"][:, None].double())
    drawn = weak_perspective(pred["verts"].double(), pred["cam"].double())
    return {
        "joint_px": (mean, (counted.sum(-1) > 0) & frame[:, None]),
        "vertex_px": ((drawn - truth).norm(dim=-1).mean(-1), fitted),
    }


def _placement(pred: Prediction, batch: Batch, frame: Tensor) -> Measures:
    """Left wrist relative to the right one, mm: whole, across the picture and along the depth."""
    error = MILLIMETRES * (pred["rel_trans"] - batch["rel_trans"]).double()  # (B,3)
    valid = (batch["rel_trans_valid"].flatten() > 0) & frame
    parts = {"MRRPE": error, "MRRPE_plane": error[:, :2], "MRRPE_depth": error[:, 2:]}
    return {name: (part.norm(dim=-1), valid) for name, part in parts.items()}
