"""Two hands as pictures: over the original one, as skeletons, and from three sides."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from common.hand.joints import BONES, HANDS
from common.show.figures import HAND_COLORS, three_views
from common.show.vis import Picture, caption, draw_box, draw_meshes, draw_skeleton
from main.result.hand_values import HandValues

BONES_ACROSS = 200  # so many bones beside each other are as wide as the crop
VIEW_SIDE = 512  # pixels of each of the three views


def overlay(hands: HandValues, synthetic: bool = False) -> Picture:
    """The meshes of the hands that are present under the camera, and the crop's box; captioned."""
    on = " on a synthetic picture" if synthetic else ""
    if not hands.is_present.any():
        return caption(hands.picture, f"prediction{on}: no hand found")
    return caption(draw_box(draw_hands(hands), hands.box), f"prediction{on} ({hands.hand_model})")


def draw_hands(hands: HandValues) -> Picture:
    """The meshes alone."""
    shown = hands.is_present
    placed = hands.verts_cam[shown]
    verts = torch.from_numpy(placed).float()
    pixels = torch.from_numpy(hands.camera.project(placed)).float()
    points = torch.cat([pixels, verts[..., 2:]], -1)
    faces, colors = torch.from_numpy(hands.faces[shown]), HAND_COLORS[torch.from_numpy(shown)]
    return draw_meshes(hands.picture, points, verts, faces, colors, perspective=True)


def skeleton(hands: HandValues) -> Picture:
    """The final mesh's joints and bones over the picture."""
    picture, width = hands.picture, max(1, round(hands.box[2] / BONES_ACROSS))
    for i in range(len(HANDS)):
        if hands.is_present[i]:
            picture = draw_skeleton(picture, hands.joints_2d[i], BONES, HAND_COLORS[i].tolist(), width=width)
    return caption(picture, f"prediction, joints ({hands.hand_model})")


def views(hands: HandValues) -> Picture:
    """Front, right side and top of the hands that are present, in one scale."""
    shown = torch.from_numpy(hands.is_present)
    return three_views(
        torch.from_numpy(hands.verts_cam).float(), shown, torch.from_numpy(hands.faces), VIEW_SIDE
    )


def fitted(picture: Picture, most: int) -> NDArray[np.uint8]:
    """No side longer than `most` pixels, for a window or a video."""
    zoom = most / max(picture.shape[:2])
    if zoom >= 1:
        return picture
    return cv2.resize(picture, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
