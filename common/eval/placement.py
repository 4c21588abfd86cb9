"""Where the left hand lies beside the right one: MRRPE of the wrists and RRVE of both meshes.

Legend: B batch, 2 hands (right, left), V 778 vertices; metres, errors in millimetres.
"""

import torch
from torch import Tensor

from common.eval.contact import MILLIMETRES
from common.eval.truth import Batch, Columns, Prediction, Truth, place
from common.hand.joints import LEFT, RIGHT, WRIST
from common.hand.mano import ManoLayer
from common.utils.geometry import back_project

# Metrics whose truth a protocol chooses; their columns are called metric/choice. By ending: the network's
# own translation; `_rootnet`, InterHand2.6M's; `_rootnet_both`, ours; `_gt`, the true one.
MRRPE = ("MRRPE", "MRRPE_plane", "MRRPE_depth", "MRRPE_rootnet", "MRRPE_rootnet_both")
RRVE = ("RRVE", "RRVE_rootnet", "RRVE_rootnet_both", "RRVE_gt")
MESHES = {"verts": "", "verts_rough": "_rough"}  # key of a prediction: ending of its columns


def about_wrists(mano: ManoLayer, pred: Prediction) -> dict[str, Tensor]:
    """A prediction with each mesh about the wrist regressed from it, the camera moved along, and
    `rel_trans`: where it is absent, both meshes are in one frame."""
    regressor = mano.get_buffer("regressor_interhand").double()[:, WRIST]  # (2,V)
    moved, wrists = dict(pred), {}
    for key in MESHES:
        if key in pred:
            verts = pred[key].double()
            wrists[key] = torch.einsum("hv,bhvc->bhc", regressor, verts)
            moved[key] = verts - wrists[key][:, :, None]
    wrist = wrists["verts"]
    if "rel_trans" not in pred:
        moved["rel_trans"] = wrist[:, LEFT] - wrist[:, RIGHT]
    if "cam" in pred:
        scale, shift = pred["cam"].double().split([1, 2], -1)
        moved["cam"] = torch.cat([scale, shift + scale * wrist[..., :2]], -1)
    return moved


def translations(pred: Prediction, batch: Batch) -> dict[str, Tensor]:
    """Predicted left minus right wrist (B,3), metres, by the ending of the metrics' names.

    "": the network's own. "_rootnet": the predicted pixels of the wrists, the right one at RootNet's depth,
    the left one at that depth plus the network's relative depth (InterHand2.6M's evaluation).
    "_rootnet_both": the same pixels, each wrist at RootNet's own depth for it.
    """
    own = pred["rel_trans"]
    if "joints_img" not in pred:
        unknown = torch.full_like(own, torch.nan)
        return {"": own, "_rootnet": unknown, "_rootnet_both": unknown}
    pixels = pred["joints_img"][:, :, WRIST, :2]
    rootnet = torch.where(batch["root_depth_valid"] > 0, batch["root_depth"].double(), torch.nan)  # (B,2)
    right = rootnet[:, RIGHT]
    from_right = torch.stack([right, right + own[:, 2]], 1)
    return {
        "": own,
        "_rootnet": _between_wrists(pixels, from_right, batch),
        "_rootnet_both": _between_wrists(pixels, rootnet, batch),
    }


def _between_wrists(pixels: Tensor, depth: Tensor, batch: Batch) -> Tensor:
    """Left minus right wrist (B,3) from their crop pixels (B,2,2) and depths (B,2)."""
    wrists = back_project(pixels, depth[..., None], batch["K"].double())
    return wrists[:, LEFT] - wrists[:, RIGHT]


def wrist_columns(translation: dict[str, Tensor], truth: Truth, choice: str) -> Columns:
    """MRRPE of interacting hands against the annotated or the fits' wrists (Protocol.wrists); of the
    network's own translation also the parts across the picture and along the depth. `rel_depth` is the true
    depth between the wrists, in mm, for the error of a constant answer."""
    true = truth.rel_trans[choice]
    errors = {"rel_depth": MILLIMETRES * true[:, 2]}
    for ending, rel_trans in translation.items():
        error = MILLIMETRES * (rel_trans - true)  # (B,3)
        errors[f"MRRPE{ending}"] = error.norm(dim=-1)
        if ending == "":
            errors["MRRPE_plane"] = error[:, :2].norm(dim=-1)
            errors["MRRPE_depth"] = error[:, 2].abs()
    return {
        f"{metric}/{choice}": torch.where(truth.interacting, error, torch.nan)
        for metric, error in errors.items()
    }


def vertex_columns(verts: Tensor, translation: dict[str, Tensor], truth: Truth, choice: str) -> Columns:
    """RRVE of meshes about their own wrists (B,2,V,3): the distance of all vertices of interacting hands
    about the right wrist, the true left hand placed as Protocol.placement says."""
    true = truth.rel_trans[choice]
    target = place(truth.verts, true)
    columns = {}
    for ending, rel_trans in {**translation, "_gt": true}.items():
        error = MILLIMETRES * (place(verts, rel_trans) - target).norm(dim=-1).mean((1, 2))
        columns[f"RRVE{ending}/{choice}"] = torch.where(truth.interacting, error, torch.nan)
    return columns
