"""Pictures of predictions beside the truth, always captioned as what they are."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.hand.joints import LEFT, RIGHT
from common.nets.attention_maps import attention_sources, predict_with_attention
from common.show.vis import Picture, caption, draw_meshes, side_by_side, stack, to_picture, weak_points
from common.utils.geometry import project

HAND_COLORS = torch.tensor([[0.95, 0.55, 0.45], [0.45, 0.62, 0.95]])  # right red, left blue
SIDE_MARGIN = 1.1  # of the extent of what a side view shows
HEAT = torch.tensor([[1.0, 0.15, 0.1], [0.15, 0.4, 1.0], [1.0, 0.75, 0.1]])  # attention: right, left, both


def prediction_overlay(picture: Picture, pred: dict[str, Tensor], index: int, faces: Tensor) -> Picture:
    """Both predicted meshes of one sample, each under its own weak-perspective camera."""
    verts, cam = (pred[key][index].detach().float().cpu() for key in ("verts", "cam"))
    shown = predicted_hands(pred, index)
    points = weak_points(verts, cam, _predicted_wrists(pred, index))
    return draw_meshes(picture, points[shown], verts[shown], faces.cpu()[shown], HAND_COLORS[shown])


def _predicted_wrists(pred: dict[str, Tensor], index: int) -> Tensor:
    """(2,3): the right wrist at the origin, the left one beside it (there too if it was not predicted)."""
    wrists = torch.zeros(2, 3)
    wrists[LEFT] = pred["rel_trans"][index].detach().float().cpu().nan_to_num()
    return wrists


def predicted_hands(pred: dict[str, Tensor], index: int) -> Tensor:
    """(2,) bool: the hands with finite vertices that are not called absent."""
    predicted = torch.isfinite(pred["verts"][index].detach().cpu()).all(-1).all(-1)
    if "present" not in pred:
        return predicted
    return predicted & (pred["present"][index].detach().cpu() > 0)


def truth_overlay(picture: Picture, batch: dict[str, Any], index: int, faces: Tensor) -> Picture:
    """Both true meshes of one sample under its camera; hands without a fit are left out."""
    fits = batch["pose_valid"][index].flatten().cpu() > 0
    return _at_true_wrists(picture, batch["verts_cam"][index].cpu(), fits, batch, index, faces)


def _at_true_wrists(
    picture: Picture, verts: Tensor, shown: Tensor, batch: dict[str, Any], index: int, faces: Tensor
) -> Picture:
    camera = verts + batch["mano_root_cam"][index].cpu()[:, None]
    points = torch.cat([project(camera, batch["K"][index].cpu()), camera[..., 2:]], -1)
    colors = HAND_COLORS[shown]
    return draw_meshes(picture, points[shown], verts[shown], faces.cpu()[shown], colors, perspective=True)


def gallery_row(
    pred: dict[str, Tensor], batch: dict[str, Any], index: int, faces: Tensor, text: str
) -> Picture:
    """One sample: input, prediction and truth over it, both from the side. text captions the input.

    Hands that were not predicted (vertices NaN) or have no fit are not drawn. A prediction without `cam`
    is drawn at the true wrists, and its caption says so.
    """
    picture = to_picture(batch["img"][index])
    verts = pred["verts"][index].detach().float().cpu()
    fits = batch["pose_valid"][index].flatten().cpu() > 0
    shown = predicted_hands(pred, index)
    if "cam" in pred:
        drawn, words = prediction_overlay(picture, pred, index, faces), "prediction"
    else:
        drawn = _at_true_wrists(picture, verts, shown & fits, batch, index, faces)
        words = "prediction, at the true wrists"
    root, place = batch["mano_root_cam"][index].cpu(), _predicted_wrists(pred, index)
    # a lone true hand is the common origin, else the right wrist
    anchor = LEFT if fits[LEFT] and not fits[RIGHT] else RIGHT
    predicted = verts + (place - place[anchor])[:, None]
    true = batch["verts_cam"][index].cpu() + (root - root[anchor])[:, None]
    side, true_side = _side_views([(predicted, shown), (true, fits)], faces.cpu(), picture.shape)
    panels = [
        caption(picture, text),
        caption(drawn, words),
        caption(truth_overlay(picture, batch, index, faces), "truth"),
        caption(side, "prediction from the side"),
        caption(true_side, "truth from the side"),
    ]
    return np.ascontiguousarray(side_by_side(panels))


def _side_views(scenes: list[tuple[Tensor, Tensor]], faces: Tensor, shape: tuple[int, ...]) -> list[Picture]:
    """Scenes of (verts (2,V,3), shown (2,)) turned by 90 degrees about the vertical axis, in one scale about
    one centre."""
    turned = [(_from_side(verts), shown) for verts, shown in scenes]
    low, high = _bounds(torch.cat([verts[shown].reshape(-1, 3) for verts, shown in turned]))
    scale = _scale(high - low, shape)
    return [
        _view(verts[shown], faces[shown], shown, (low + high) / 2, scale, shape) for verts, shown in turned
    ]


def three_views(verts: Tensor, shown: Tensor, faces: Tensor, side: int) -> Picture:
    """Hands (2,V,3) in camera axes from the front, from their right side and from above, in one scale."""
    shape = (side, side, 3)
    titles = ("front", "side, camera on the left", "top, camera below")
    turned = [view[shown] for view in (verts, _from_side(verts), _from_above(verts))]
    bounds = [_bounds(view.reshape(-1, 3)) for view in turned]
    scale = min(_scale(high - low, shape) for low, high in bounds)
    panels = []
    for title, view, (low, high) in zip(titles, turned, bounds, strict=True):
        drawn = _view(view, faces[shown], shown, (low + high) / 2, scale, shape)
        panels.append(caption(drawn, title))
    return side_by_side(panels)


def _from_side(verts: Tensor) -> Tensor:
    return torch.stack([verts[..., 2], verts[..., 1], -verts[..., 0]], -1)


def _from_above(verts: Tensor) -> Tensor:
    return torch.stack([verts[..., 0], -verts[..., 2], verts[..., 1]], -1)


def _bounds(points: Tensor) -> tuple[Tensor, Tensor]:
    """Least and largest coordinates (3,) of points (N,3); of a unit cube where there are none."""
    return (points.amin(0), points.amax(0)) if len(points) else (torch.zeros(3), torch.ones(3))


def _scale(extent: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Pixels per unit at which an extent (3,) fits into a picture."""
    return (torch.tensor(shape[1::-1]) / (SIDE_MARGIN * extent[:2].clamp_min(1e-6))).min()


def _view(
    verts: Tensor, faces: Tensor, shown: Tensor, middle: Tensor, scale: Tensor, shape: tuple[int, ...]
) -> Picture:
    """Meshes (M,V,3), those of `shown` (2,), as seen along z, on white."""
    pixels = (verts - middle)[..., :2] * scale + (torch.tensor(shape[1::-1]) - 1) / 2
    points = torch.cat([pixels, verts[..., 2:]], -1)
    white = np.full(shape, 255, np.uint8)
    return draw_meshes(white, points, verts, faces, HAND_COLORS[shown], alpha=1.0)


def comparison(pred: dict[str, Tensor], batch: dict[str, Any], faces: Tensor, count: int = 4) -> Picture:
    """Rows of input, prediction and ground truth for the first samples of a batch."""
    rows = []
    for index in range(min(count, len(batch["img"]))):
        picture = to_picture(batch["img"][index])
        panels = [
            caption(picture, f"input {batch['id'][index]}"),
            caption(prediction_overlay(picture, pred, index, faces), "prediction"),
            caption(truth_overlay(picture, batch, index, faces), "ground truth"),
        ]
        rows.append(side_by_side(panels))
    return np.ascontiguousarray(stack(rows))


@torch.no_grad()
def pictures(
    network: nn.Module, pred: dict[str, Tensor], batch: dict[str, Any], faces: Tensor, count: int = 4
) -> dict[str, Picture]:
    """TensorBoard's pictures {name: picture} of a batch's first samples while `network` is in training.

    Attention is read in a forward of its own, in eval mode, so that it leaves no trace in the running
    statistics; a network without attention to show has no such picture.
    """
    drawn = {"prediction beside ground truth": comparison(pred, batch, faces, count)}
    if attention_sources(network):
        images = batch["img"][:count]
        maps = predict_with_attention(network.eval(), images)["attention"]
        network.train()
        rows = []
        for index, image in enumerate(images):
            of_one = {unit: values[index] for unit, values in maps.items()}
            rows.append(attention_panels(to_picture(image), of_one))
        drawn["attention"] = stack(rows)
    return drawn


def attention_panels(picture: Picture, attention: dict[str, Tensor]) -> Picture:
    """Input, local unit (right red, left blue), global unit: where the network looks, over the dimmed crop.

    attention of one picture: local (2,S,S), global (S,S), as common/nets/attention_maps.py makes them,
    bilinear between the centres of the cells. Each map is stretched from its own least to its own largest
    value, so colours tell where, not how much; the caption tells how much of its attention the local unit
    pays to each hand.
    """
    maps = torch.cat([attention["local"], attention["global"][None]]).detach().float().cpu()
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    heat = ((maps - low) / (high - low).clamp_min(1e-9))[None]
    heat = F.interpolate(heat, picture.shape[:2], mode="bilinear")[0]
    right, left = (f"{100 * value:.0f} %" for value in attention["local"].sum((1, 2)).tolist())
    panels = [
        caption(picture, "input"),
        caption(_tint(picture, heat[:2], HEAT[:2]), f"local unit: right red {right}, left blue {left}"),
        caption(_tint(picture, heat[2:], HEAT[2:]), "global unit: both hands"),
    ]
    return side_by_side(panels)


def _tint(picture: Picture, heat: Tensor, colors: Tensor) -> Picture:
    """Colours (M,3) over the grey, dimmed picture, as strong as their heat (M,H,W) in [0,1]."""
    grey = torch.from_numpy(picture).float().mean(-1) * (0.5 / 255)
    tinted = grey * (1 - heat.amax(0)) + torch.einsum("mhw,mc->chw", heat, colors)
    return to_picture(tinted + 0.3 * grey)
