"""What is measured on one batch: predictions and labels in, named columns out, on their device.

A column has one value (or 2, or 2 x 21) per sample; NaN says that there was nothing to measure, and
travels through the arithmetic by itself. Averages, masks and frames are reduce.py's business, so
that protocols share every column in which they agree. Errors are millimetres, angles degrees, 2-D
distances pixels of the crop; float64 from the joint regressor on (TF32 would cost 0.1 mm).

Legend: B batch, 2 hands (right, left), V 778 vertices, J 21 joints.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from common.eval.contact import MILLIMETRES, contact_deviation, penetration
from common.eval.protocols import MIN_BRIGHTNESS, Protocol
from common.hand.joints import LEFT, MIDDLE_MCP, RIGHT, WRIST
from common.hand.mano import ManoLayer
from common.hand.mirror import MIRROR_POINT
from common.utils.geometry import (
    IMAGE_SIZE,
    back_project,
    fit_weak_perspective,
    geodesic_angle,
    project,
    similarity_align,
    weak_perspective,
)
from common.utils.render import silhouettes

Prediction, Batch, Columns = Mapping[str, Tensor], Mapping[str, Any], dict[str, Tensor]
MESHES = {"verts": "", "verts_rough": "_rough"}  # prediction key: ending of its columns
CHECKED = (*MESHES, "rel_trans", "joints_img", "cam", "rotmat")
MIN_JOINTS, BOX_SCALE = 4, 1.2
LARGEST_HAND = 1.0  # metres


def mesh_column(root: int, scaled: bool) -> str:
    """Name of a column of vertex errors (B,2)."""
    return f"verts/{root}{'/scaled' * scaled}"


def joint_column(root: int, scaled: bool, truth: str, tips: str) -> str:
    """Name of a column of joint errors (B,2,J)."""
    return f"joints/{root}{'/scaled' * scaled}/{truth}/{tips}"


@torch.no_grad()
def measure(
    protocols: Sequence[Protocol], mano: ManoLayer, pred: Prediction, batch: Batch, share: float
) -> Columns:
    """All columns of a batch (DESIGN's contracts, targets added).

    Of `pred` only `verts` is needed, each hand about any root of its own; a hand that is NaN throughout
    is not predicted. share: part of the samples, chosen by their ids, whose penetration is measured.
    """
    columns, known = _facts(pred, batch)
    pred, truth = about_wrists(mano, known), _truth(mano, batch)
    translations = {"": pred["rel_trans"], "_rootnet": _rootnet_translation(pred, batch)}
    columns |= _wrist_distance(translations, batch, columns["interacting"])
    translations["_gt"] = truth["rel_trans"]
    placed = {}
    for key, ending in MESHES.items():
        if key in pred:
            found = _aligned(protocols, mano, pred[key], truth)
            both = {source: place(pred[key], rel_trans) for source, rel_trans in translations.items()}
            placed[ending] = both[""]
            for source, verts in both.items():
                found[f"RRVE{source}"] = _distance(verts, truth["placed"]).mean((1, 2))
            found |= _pixels(key, mano, pred, truth)
            found["contact_deviation"] = _contact(placed[ending], truth)
            columns |= {name + ending: column for name, column in found.items()}
    if share > 0:
        columns |= _penetration({**placed, "_truth": truth["placed"]}, truth, mano, batch["id"], share)
    if "joints_img" in pred:
        seen = batch["joints_img_valid"].squeeze(-1) > 0
        pixels = (pred["joints_img"][..., :2] - batch["joints_img"][..., :2]).norm(dim=-1)
        columns["joint_px"] = torch.where(seen, pixels, torch.nan)
    return columns | _rotations(pred, batch, truth["fit"])


def about_wrists(mano: ManoLayer, pred: Prediction) -> dict[str, Tensor]:
    """A prediction with each mesh about the wrist regressed from it, the camera moved along, and
    `rel_trans`: where it is absent, both meshes are in one frame."""
    regressor = mano.get_buffer("regressor_interhand").double()[:, WRIST]  # (2,V)
    wrist = {
        key: torch.einsum("hv,bhvc->bhc", regressor, pred[key].double()) for key in MESHES if key in pred
    }
    moved = {key: pred[key].double() - root[:, :, None] for key, root in wrist.items()}
    root = wrist["verts"]
    moved["rel_trans"] = pred["rel_trans"] if "rel_trans" in pred else root[:, LEFT] - root[:, RIGHT]
    if "cam" in pred:
        scale, shift = pred["cam"].double().split([1, 2], -1)
        moved["cam"] = torch.cat([scale, shift + scale * root[..., :2]], -1)
    return {**pred, **moved}


def place(verts: Tensor, rel_trans: Tensor) -> Tensor:
    """Meshes about their own wrists (B,2,V,3) -> both about the right wrist."""
    return torch.stack([verts[:, RIGHT], verts[:, LEFT] + rel_trans[:, None]], 1)


def pose_difference(rotmat: Tensor) -> Tensor:
    """How differently the two hands are bent: (B,2,16,3,3) -> (B,) degrees.

    Mean geodesic angle between the 15 finger rotations of the right hand and those of the mirrored
    left hand. LGNet names the quantity without defining it; this definition is ours.
    """
    flip = torch.as_tensor(MIRROR_POINT, dtype=rotmat.dtype, device=rotmat.device)
    mirrored = rotmat[:, LEFT, 1:] * flip[:, None] * flip  # F R F
    return geodesic_angle(rotmat[:, RIGHT, 1:], mirrored).rad2deg().mean(-1)


# ---- facts about samples, and the truth ----


def _facts(pred: Prediction, batch: Batch) -> tuple[Columns, dict[str, Tensor]]:
    """Which frames and hands can count; the prediction in float64, NaN where a part was not finite."""
    device = batch["pose_valid"].device
    flags = {
        "interacting": [kind == "interacting" for kind in batch["hand_type"]],
        "human": batch["human_annotated"],
    }
    columns = {name: torch.tensor(flag, device=device) for name, flag in flags.items()}
    columns["clean"] = (batch["hand_type_valid"] > 0) & (batch["brightness"] >= MIN_BRIGHTNESS)
    columns["fit"] = batch["pose_valid"].flatten(1) > 0
    columns["seen"] = batch["joints_seen"].squeeze(-1) > 0
    exists = columns["fit"] | (batch["joints_img_valid"].flatten(2) > 0).any(-1)
    known, broken = {}, torch.zeros_like(exists)  # (B,2)
    for key in (key for key in CHECKED if key in pred):
        rows = pred[key].double()
        owners = 1 if key == "rel_trans" else 2  # rel_trans (B,3) belongs to both hands
        parts = rows.reshape(len(rows), owners, -1)
        finite, absent = torch.isfinite(parts).all(-1), torch.isnan(parts).all(-1)
        broken = broken | (~finite & ~absent)
        known[key] = torch.where(finite[..., None], parts, torch.nan).view_as(rows)
    columns["predicted"] = torch.isfinite(known["verts"]).flatten(2).all(-1)
    columns["missing"], columns["broken"] = exists & ~columns["predicted"] & ~broken, broken
    if "present" in pred:
        right = (pred["present"] > 0) == (batch["present"] > 0.5)
        known_type = batch["hand_type_valid"][:, None] > 0
        columns["presence_accuracy"] = torch.where(known_type, 100.0 * right, torch.nan)
    return columns, known


def _truth(mano: ManoLayer, batch: Batch) -> dict[str, Tensor]:
    """The labels in float64, NaN where there is none."""
    fit = batch["pose_valid"].flatten(1) > 0
    verts = torch.where(fit[..., None, None], batch["verts_cam"].double(), torch.nan)
    root = batch["mano_root_cam"].double()  # (B,2,3)
    rel_trans = root[:, LEFT] - root[:, RIGHT]
    in_camera = verts + root[:, :, None]
    pixels = project(in_camera, batch["K"][:, None].double())
    if "silhouette" in batch:
        masks, outlined = batch["silhouette"] > 0, batch["silhouette_valid"] > 0
    else:
        drawn = torch.cat([pixels, in_camera[..., 2:]], -1)
        masks, outlined = silhouettes(drawn, mano.faces, (IMAGE_SIZE,) * 2), fit
    return {
        "fit": fit,
        "verts": verts,
        "joints": torch.where(batch["joints_cam_valid"] > 0, batch["joints_cam"].double(), torch.nan),
        "rel_trans": rel_trans,
        "placed": place(verts, rel_trans),
        "pixels": pixels,
        "masks": masks,
        "outlined": outlined,
    }


# ---- meshes and joints, laid on each other ----


def _aligned(
    protocols: Sequence[Protocol], mano: ManoLayer, verts: Tensor, truth: dict[str, Tensor]
) -> Columns:
    """Errors after each protocol's alignment, without its scale, and after Procrustes' (PA)."""
    columns: Columns = {"PA_MPVPE": _procrustes(verts, truth["verts"])}
    joints_of = {}
    for tips in {p.tips for p in protocols}:
        regressor = mano.get_buffer(f"regressor_{tips}").double()
        joints_of[tips] = regressor @ verts, regressor @ truth["verts"]
    for p in protocols:
        joints, of_mesh = joints_of[p.tips]
        target = of_mesh if p.truth == "mesh" else truth["joints"]
        bone = (of_mesh[:, :, MIDDLE_MCP] - of_mesh[:, :, WRIST]).norm(dim=-1)
        bone = bone / (joints[:, :, MIDDLE_MCP] - joints[:, :, WRIST]).norm(dim=-1).clamp_min(1e-9)
        root = [p.root]
        for scaled in {p.scaled, False}:
            scale = bone[..., None, None] if scaled else 1.0
            if (name := mesh_column(p.root, scaled)) not in columns:
                moved = scale * (verts - joints[:, :, root])
                columns[name] = _distance(moved, truth["verts"] - of_mesh[:, :, root]).mean(-1)
            name = joint_column(p.root, scaled, p.truth, p.tips)
            if name not in columns:
                moved = scale * (joints - joints[:, :, root])
                columns[name] = _distance(moved, target - target[:, :, root])
        if (name := f"PA/{p.truth}/{p.tips}") not in columns:
            columns[name] = _procrustes(joints, target)
    return columns


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return MILLIMETRES * (a - b).norm(dim=-1)


def _procrustes(source: Tensor, target: Tensor) -> Tensor:
    """Mean distance (B,2) in mm after the best similarity transform, over the points that are known."""
    valid = torch.isfinite(target).all(-1) & torch.isfinite(source).all(-1)  # (B,2,N)
    source, target = (torch.where(valid[..., None], points, 0.0) for points in (source, target))
    distance = _distance(similarity_align(source, target, valid.double()), target) * valid
    count = valid.sum(-1)
    return torch.where(count >= MIN_JOINTS, distance.sum(-1) / count.clamp_min(1), torch.nan)


# ---- the place of the left hand ----


def _rootnet_translation(pred: Prediction, batch: Batch) -> Tensor:
    """Left minus right wrist (B,3): the predicted pixels of the wrists at RootNet's depths."""
    if "joints_img" not in pred:
        return torch.full_like(pred["rel_trans"], torch.nan)
    depth = torch.where(batch["root_depth_valid"] > 0, batch["root_depth"].double(), torch.nan)
    pixels = pred["joints_img"][:, :, WRIST, :2]
    wrists = back_project(pixels, depth[..., None], batch["K"].double())
    return wrists[:, LEFT] - wrists[:, RIGHT]


def _wrist_distance(translations: dict[str, Tensor], batch: Batch, interacting: Tensor) -> Columns:
    """MRRPE: left wrist about the right one; whole, and of the network's own the parts of it."""
    valid = (batch["rel_trans_valid"] > 0) & interacting[:, None]
    truth = torch.where(valid, batch["rel_trans"].double(), torch.nan)
    error = {name: MILLIMETRES * (found - truth) for name, found in translations.items()}
    columns = {f"MRRPE{name}": vector.norm(dim=-1) for name, vector in error.items()}
    return columns | {"MRRPE_plane": error[""][:, :2].norm(dim=-1), "MRRPE_depth": error[""][:, 2].abs()}


# ---- in the picture ----


def _pixels(key: str, mano: ManoLayer, pred: Prediction, truth: dict[str, Tensor]) -> Columns:
    """Mesh against picture: vertex error, boxes and silhouettes; {} for predictions without 2-D."""
    verts = pred[key]
    if "cam" in pred:
        cam = pred["cam"]
    elif "joints_img" in pred:
        joints = mano.get_buffer("regressor_interhand").double() @ verts
        cam = fit_weak_perspective(joints, pred["joints_img"][..., :2])
    else:
        return {}
    pixels = weak_perspective(verts, cam)
    drawn = torch.cat([pixels, verts[..., 2:]], -1)
    masks = silhouettes(drawn, mano.faces, (IMAGE_SIZE,) * 2, perspective=False)
    overlap = _mask_overlap(masks, truth["masks"])  # (B,3)
    known = truth["outlined"] & torch.isfinite(pixels).flatten(2).all(-1)
    return {
        "vertex_px": (pixels - truth["pixels"]).norm(dim=-1).mean(-1),
        "box_IoU": _box_overlap(pixels, truth["pixels"]),
        "IoU": torch.where(known, overlap[:, :2], torch.nan),
        "IoU_both": torch.where(known.all(1), overlap[:, 2], torch.nan),
    }


def _mask_overlap(a: Tensor, b: Tensor) -> Tensor:
    """IoU (B,3) of masks (B,2,H,W): of each hand, and of both hands together."""
    # float32 counts up to 2^24 exactly, and sums ten times faster than booleans
    a, b = (torch.cat([m, m.any(1, keepdim=True)], 1).flatten(2).float() for m in (a, b))
    shared = torch.linalg.vecdot(a, b)
    return (shared / (a.sum(-1) + b.sum(-1) - shared).clamp_min(1)).double()


def _box_overlap(a: Tensor, b: Tensor) -> Tensor:
    """IoU (B,2) of 1.2 times the tight boxes of pixels (B,2,V,2); InterWild's."""
    low, high = zip(*(_box(pixels) for pixels in (a, b)), strict=True)
    shared = (torch.minimum(*high) - torch.maximum(*low)).clamp_min(0).prod(-1)
    areas = [(top - bottom).prod(-1) for bottom, top in zip(low, high, strict=True)]
    return shared / (sum(areas) - shared)


def _box(pixels: Tensor) -> tuple[Tensor, Tensor]:
    low, high = pixels.amin(-2), pixels.amax(-2)
    margin = (BOX_SCALE - 1) / 2 * (high - low)
    return low - margin, high + margin


# ---- between the hands; rotations ----


def _contact(verts: Tensor, truth: dict[str, Tensor]) -> Tensor:
    """Contact deviation (B,) of placed meshes."""
    column = verts.new_full((len(verts),), torch.nan)
    rows = torch.isfinite(verts + truth["placed"]).flatten(1).all(1).nonzero().squeeze(1)
    value, touching = contact_deviation(verts[rows], truth["placed"][rows])
    column[rows] = torch.where(touching, value, torch.nan)
    return column


def _penetration(
    placed: dict[str, Tensor], truth: dict[str, Tensor], mano: ManoLayer, ids: Sequence[str], share: float
) -> Columns:
    """Penetration of placed meshes {ending: (B,2,V,3)} in a share of the samples."""
    columns: Columns = {}
    chosen = torch.tensor([zlib.crc32(name.encode()) < share * 2**32 for name in ids])
    chosen = chosen.to(truth["fit"].device) & truth["fit"].all(1)
    for ending, verts in placed.items():
        size = (verts.amax(2) - verts.amin(2)).amax((1, 2))  # NaN without both hands
        rows = ((size < LARGEST_HAND) & chosen).nonzero().squeeze(1)
        for name, value in penetration(verts[rows], mano.faces).items():
            column = torch.full_like(size, torch.nan)
            column[rows] = value
            columns[f"penetration_{name.removeprefix('depth_')}{ending}"] = column
    return columns


def _rotations(pred: Prediction, batch: Batch, fit: Tensor) -> Columns:
    truth = torch.where(fit[..., None, None, None], batch["rotmat"].double(), torch.nan)
    columns = {"pose_difference": pose_difference(truth)}
    if "rotmat" in pred:
        angle = geodesic_angle(pred["rotmat"], truth).rad2deg()  # (B,2,16)
        columns |= {"root_rotation": angle[..., 0], "local_rotation": angle[..., 1:].mean(-1)}
    return columns
