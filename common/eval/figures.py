"""Pictures of predictions beside the truth, always captioned as what they are."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.hand.joints import LEFT
from common.utils.geometry import project
from common.utils.vis import Picture, caption, draw_meshes, side_by_side, stack, to_picture, weak_points

HAND_COLORS = torch.tensor([[0.95, 0.55, 0.45], [0.45, 0.62, 0.95]])  # right red, left blue


def prediction_overlay(picture: Picture, pred: dict[str, Tensor], index: int, faces: Tensor) -> Picture:
    """Both predicted meshes of one sample, each under its own weak-perspective camera."""
    value = {k: pred[k][index].detach().float().cpu() for k in ("verts", "cam", "rel_trans")}
    shown = torch.ones(2, dtype=torch.bool)
    if "present" in pred:
        shown = pred["present"][index].detach().cpu() > 0
    place = torch.zeros(2, 3)
    place[LEFT] = value["rel_trans"]
    points = weak_points(value["verts"], value["cam"], place)
    return draw_meshes(picture, points[shown], value["verts"][shown], faces.cpu()[shown], HAND_COLORS[shown])


def truth_overlay(picture: Picture, batch: dict[str, Any], index: int, faces: Tensor) -> Picture:
    """Both true meshes of one sample under its camera; hands without a fit are left out."""
    shown = batch["pose_valid"][index].flatten().cpu() > 0
    verts = batch["verts_cam"][index].cpu()
    camera = verts + batch["mano_root_cam"][index].cpu()[:, None]
    points = torch.cat([project(camera, batch["K"][index].cpu()), camera[..., 2:]], -1)
    hands = (points[shown], verts[shown], faces.cpu()[shown], HAND_COLORS[shown])
    return draw_meshes(picture, *hands, perspective=True)


def comparison(pred: dict[str, Tensor], batch: dict[str, Any], faces: Tensor, count: int = 4) -> Picture:
    """Rows of input, prediction and ground truth for the first samples of a batch."""
    rows = []
    for index in range(min(count, len(batch["img"]))):
        picture = to_picture(batch["img"][index])
        columns = {
            f"input {batch['id'][index]}": picture,
            "prediction": prediction_overlay(picture, pred, index, faces),
            "ground truth": truth_overlay(picture, batch, index, faces),
        }
        rows.append(side_by_side([caption(shown, text) for text, shown in columns.items()]))
    return np.ascontiguousarray(stack(rows))
