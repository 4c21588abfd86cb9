"""Drawing on pictures: meshes, skeletons, captions and panels.

Pictures are RGB (H,W,3) uint8, pixel centres integers. What is drawn (skeleton, faces, colours)
comes as arguments. Legend: M meshes, V vertices, F faces, N joints.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.utils.geometry import weak_perspective
from common.utils.render import overlay

Picture = NDArray[np.uint8]
CAPTION_HEIGHT, CAPTION_MIN_WIDTH = 22, 256
CAPTION_SIDE = 700  # pixels, longer side of a picture from which on captions grow with it
FONT, FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.42
BOX_COLOR = (255, 210, 60)


def to_picture(image: Tensor) -> Picture:
    """RGB (3,H,W) in [0,1] on any device -> (H,W,3) uint8."""
    return (image.detach().float().clamp(0, 1) * 255).round().byte().cpu().permute(1, 2, 0).numpy()


def weak_points(verts: Tensor, cam: Tensor, offset: Tensor) -> Tensor:
    """Meshes (M,V,3) about their own wrists, each under its own camera (M,3) = s, tx, ty; metres ->
    (M,V,3) u, v in pixels and the depth that orders the meshes; offset (M,3) places the wrists."""
    depth = verts[..., 2:] + offset[:, None, 2:]
    return torch.cat([weak_perspective(verts, cam), depth], -1)


def draw_meshes(
    picture: Picture,
    points: Tensor,
    verts: Tensor,
    faces: Tensor,
    colors: Tensor,
    perspective: bool = False,
    alpha: float = 0.75,
) -> Picture:
    """Lay shaded meshes over a picture, the nearer over the farther; arguments as `render.overlay`.

    perspective: depth is a true depth, not a weak-perspective one.
    """
    result = picture.copy()
    window = _window(points, picture.shape)
    if window is None:
        return result
    top, bottom, left, right = window  # large photographs stay cheap: only the covered part is drawn
    part = torch.from_numpy(picture[top:bottom, left:right].copy()).permute(2, 0, 1)[None] / 255
    shift = points.new_tensor([left, top, 0.0])
    drawn = overlay(
        part,
        (points - shift)[None].cpu(),
        verts[None].cpu(),
        faces.cpu(),
        colors.cpu(),
        alpha=alpha,
        perspective=perspective,
    )[0]
    result[top:bottom, left:right] = to_picture(drawn)
    return result


def _window(points: Tensor, shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """Top, bottom, left and right of what the points reach; None outside the picture."""
    if not len(points):
        return None
    flat = points[..., :2].reshape(-1, 2).double()
    left, top = flat.amin(0).floor().clamp(min=0).tolist()
    right, bottom = (flat.amax(0).ceil() + 1).clamp(max=flat.new_tensor(shape[1::-1])).tolist()
    # written so that coordinates that are not finite count as outside
    if left < right and top < bottom:
        return int(top), int(bottom), int(left), int(right)
    return None


def draw_skeleton(
    picture: Picture,
    joints: NDArray,
    bones: Sequence[tuple[int, int]],
    color: Sequence[float],
    valid: NDArray | None = None,
) -> Picture:
    """Draw joints (N,2), in pixels, and the bones between valid (N,) ones; colour RGB in [0,1]."""
    result = picture.copy()
    shown = np.isfinite(joints).all(-1) & (np.abs(joints) < 1e5).all(-1)
    if valid is not None:
        shown &= valid.astype(bool)
    width = max(1, round(max(picture.shape[:2]) / 256))
    rgb = [round(255 * part) for part in color]
    places = np.where(shown[:, None], joints, 0).round().astype(int).tolist()
    for start, end in bones:
        if shown[start] and shown[end]:
            cv2.line(result, places[start], places[end], rgb, width, cv2.LINE_AA)
    for joint in np.flatnonzero(shown):
        cv2.circle(result, places[joint], 2 * width, rgb, -1, cv2.LINE_AA)
    return result


def draw_box(picture: Picture, box: NDArray) -> Picture:
    """The outline of a box x, y, w, h in pixels; what lies outside the picture is not drawn."""
    result = picture.copy()
    width = max(1, round(max(picture.shape[:2]) / 400))
    x, y, w, h = np.asarray(box).clip(-1e5, 1e5)
    corners = [(round(x), round(y)), (round(x + w) - 1, round(y + h) - 1)]
    cv2.rectangle(result, *corners, BOX_COLOR, width)
    return result


def caption(picture: Picture, text: str) -> Picture:
    """Add a bar with a text below the picture, whose own pixels stay where they are."""
    height, width = picture.shape[:2]
    zoom = max(1.0, max(height, width) / CAPTION_SIDE)
    bar, thickness = round(zoom * CAPTION_HEIGHT), max(1, round(zoom))
    result = np.zeros((height + bar, max(width, CAPTION_MIN_WIDTH), 3), np.uint8)
    result[:height, :width] = picture
    scale, margin = zoom * FONT_SCALE, round(4 * zoom)
    (length, _), _ = cv2.getTextSize(text, FONT, scale, thickness)
    scale *= min(1.0, (result.shape[1] - 5 * margin) / length) if length else 1.0
    place = (margin, height + bar - round(7 * zoom))
    cv2.putText(result, text, place, FONT, scale, (255, 255, 255), thickness, cv2.LINE_AA)
    return result


def side_by_side(pictures: Sequence[Picture], gap: int = 4) -> Picture:
    """Pictures in a row, tops aligned, on black."""
    height = max(picture.shape[0] for picture in pictures)
    width = sum(picture.shape[1] for picture in pictures) + gap * (len(pictures) - 1)
    result = np.zeros((height, width, 3), np.uint8)
    left = 0
    for picture in pictures:
        result[: picture.shape[0], left : left + picture.shape[1]] = picture
        left += picture.shape[1] + gap
    return result


def stack(pictures: Sequence[Picture], gap: int = 4) -> Picture:
    """Pictures in a column, left sides aligned, on black."""
    turned = [picture.transpose(1, 0, 2) for picture in pictures]
    return np.ascontiguousarray(side_by_side(turned, gap).transpose(1, 0, 2))
