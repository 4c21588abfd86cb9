"""What is measured on one batch: predictions and labels in, named columns out, on their device.

A column has one value (or 2, or 2 x 21) per sample; NaN says that there was nothing to measure, and
travels through the arithmetic by itself. Who counts under which protocol is counting.py's business and
averages are reduce.py's, so that protocols share every column in which they agree. Errors are
millimetres, angles degrees, 2-D distances pixels of the crop; float64 from the joint regressor on
(TF32 would cost 0.1 mm).

Legend: B batch, 2 hands (right, left), V 778 vertices, J 21 joints.
"""

import zlib
from collections.abc import Sequence

import torch
from torch import Tensor

from common.eval.alignment import aligned_columns
from common.eval.contact import contact_deviation, penetration, touching_pairs
from common.eval.picture import joint_distance, pixel_columns
from common.eval.placement import MESHES, about_wrists, translations, vertex_columns, wrist_columns
from common.eval.protocols import MIN_BRIGHTNESS, Protocol
from common.eval.truth import Batch, Columns, Prediction, Truth, place, read_truth
from common.hand.joints import HANDS, LEFT, RIGHT
from common.hand.mano import ManoLayer
from common.hand.mirror import mirror_rotation
from common.utils.geometry import geodesic_angle

LARGEST_HAND = 1.0  # metres


@torch.no_grad()
def measure(
    protocols: Sequence[Protocol], mano: ManoLayer, pred: Prediction, batch: Batch, share: float
) -> Columns:
    """All columns of a batch that has its targets (common/targets.py).

    Of `pred` only `verts` is needed, each hand about any root of its own; a hand that is NaN throughout
    is not predicted. share: part of the samples, chosen by their ids, whose penetration is measured.
    """
    pred, broken = _finite(pred)
    truth = read_truth(mano, batch)
    columns = _facts(pred, broken, batch, truth)
    pred = about_wrists(mano, pred)
    translation = translations(pred, batch)
    for wrists in {p.wrists for p in protocols}:
        columns |= wrist_columns(translation, truth, wrists)
    placed = {"_truth": place(truth.verts, truth.rel_trans["fit"])}
    pairs = touching_pairs(placed["_truth"])
    for key, ending in MESHES.items():
        if key in pred:
            placed[ending] = place(pred[key], translation[""])
            of_mesh = aligned_columns(protocols, mano, pred[key], truth)
            for placement in {p.placement for p in protocols}:
                of_mesh |= vertex_columns(pred[key], translation, truth, placement)
            of_mesh |= pixel_columns(key, mano, pred, batch, truth)
            of_mesh["contact_deviation"] = contact_deviation(placed[ending], pairs)
            columns |= {name + ending: column for name, column in of_mesh.items()}
    if share > 0:
        columns |= _penetration(placed, truth, mano, batch["id"], share)
    if "joints_img" in pred:
        columns["joint_px"] = joint_distance(pred, batch)
    return columns | _rotations(pred, batch, truth)


def pose_difference(rotmat: Tensor) -> Tensor:
    """How differently the two hands are bent: (B,2,16,3,3) -> (B,) degrees.

    Mean geodesic angle between the 15 finger rotations of the right hand and those of the mirrored
    left hand. LGNet names the quantity without defining it; this definition is ours.
    """
    right, left = rotmat[:, RIGHT, 1:], rotmat[:, LEFT, 1:]
    return geodesic_angle(right, mirror_rotation(left)).rad2deg().mean(-1)


# ---- facts about samples ----


def _finite(pred: Prediction) -> tuple[dict[str, Tensor], Tensor]:
    """The prediction in float64, a hand's part of it NaN throughout where it was not finite; and which
    hands (B,2) are broken: not finite, without being marked as missing by NaN throughout."""
    finite_pred, broken = {}, torch.zeros_like(pred["verts"][:, :, 0, 0], dtype=torch.bool)
    for key in (*MESHES, "rel_trans", "joints_img", "cam", "rotmat"):
        if key not in pred:
            continue
        values = pred[key].double()
        owners = 1 if key == "rel_trans" else 2  # rel_trans (B,3) belongs to both hands
        parts = values.reshape(len(values), owners, -1)
        finite = torch.isfinite(parts).all(-1)
        broken = broken | (~finite & ~torch.isnan(parts).all(-1))
        finite_pred[key] = torch.where(finite[..., None], parts, torch.nan).view_as(values)
    if "present" in pred:
        finite_pred["present"] = pred["present"]
    return finite_pred, broken


def _facts(pred: Prediction, broken: Tensor, batch: Batch, truth: Truth) -> Columns:
    """What decides which frames, hands and joints can count."""
    labelled = truth.fit | (batch["joints_img_valid"].flatten(2) > 0).any(-1)
    predicted = torch.isfinite(pred["verts"]).flatten(2).all(-1)
    columns = {
        "interacting": truth.interacting,
        "human": torch.tensor(batch["human_annotated"], device=truth.fit.device),
        "clean": (batch["hand_type_valid"] > 0) & (batch["brightness"] >= MIN_BRIGHTNESS),
        "fit": truth.fit,
        "seen": truth.seen,
        "predicted": predicted,
        "missing": labelled & ~predicted & ~broken,
        "broken": broken,
    }
    if "present" in pred:
        columns |= _presence(pred["present"], batch)
    return columns


def _presence(logits: Tensor, batch: Batch) -> Columns:
    """Which hands (B,2), and of which pictures (B,) both, are rightly called present or absent, 100 or 0;
    and, for the calibration, the predicted probabilities beside the truth."""
    shown = batch["present"] > 0.5
    asked = (batch["hand_type_valid"][:, None] > 0) & torch.isfinite(logits)
    right = torch.where(asked, 100.0 * ((logits > 0) == shown), torch.nan)
    pictures = torch.where(asked.all(1), right.amin(1), torch.nan)
    single = torch.tensor([kind in HANDS for kind in batch["hand_type"]], device=logits.device)
    return {
        "presence_accuracy": right,
        "presence_pictures": pictures,
        "presence_single": torch.where(single, pictures, torch.nan),
        "presence_probability": torch.where(asked, logits.double().sigmoid(), torch.nan),
        "presence_truth": shown,
    }


# ---- between the hands; rotations ----


def _penetration(
    placed: dict[str, Tensor], truth: Truth, mano: ManoLayer, ids: Sequence[str], share: float
) -> Columns:
    """Penetration of placed meshes {ending: (B,2,V,3)} in a share of the samples."""
    columns: Columns = {}
    chosen = torch.tensor([zlib.crc32(name.encode()) < share * 2**32 for name in ids])
    chosen = chosen.to(truth.fit.device) & truth.fit.all(1)
    for ending, verts in placed.items():
        size = (verts.amax(2) - verts.amin(2)).amax((1, 2))  # NaN without both hands
        rows = ((size < LARGEST_HAND) & chosen).nonzero().squeeze(1)
        for name, value in penetration(verts[rows], mano.faces).items():
            column = torch.full_like(size, torch.nan)
            column[rows] = value
            columns[f"penetration_{name.removeprefix('depth_')}{ending}"] = column
    return columns


def _rotations(pred: Prediction, batch: Batch, truth: Truth) -> Columns:
    """Angles between predicted and true rotations (B,2), and how differently the true hands are bent."""
    target = torch.where(truth.fit[..., None, None, None], batch["rotmat"].double(), torch.nan)
    columns = {"pose_difference": pose_difference(target)}
    if "rotmat" in pred:
        angle = geodesic_angle(pred["rotmat"], target).rad2deg()  # (B,2,16)
        columns["root_rotation"] = angle[..., 0]
        columns["local_rotation"] = angle[..., 1:].mean(-1)
    return columns
