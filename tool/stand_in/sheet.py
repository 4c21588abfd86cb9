"""One picture of the stand-in hand: five poses from four sides."""

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from common.hand.mano import load_mano
from common.utils.files import write_picture
from common.utils.render import overlay
from tool.stand_in.pose import NAMED, hand_pose

SIZE = 640  # pixels of one view before it is halved to smooth the edges
SPAN_M = 0.225  # width of a view
SKIN = (0.93, 0.72, 0.60)
# View name: (looking direction, up direction) in the hand's own frame.
VIEWS = {
    "back": ((0, -1, 0), (-1, 0, 0)),
    "palm": ((0, 1, 0), (-1, 0, 0)),
    "thumb side": ((0, -0.15, -1), (0, 1, 0)),
    "finger tips": ((0.75, -0.5, -0.45), (0, 1, 0)),
}


def camera_axes(look: tuple[float, ...], up: tuple[float, ...]) -> np.ndarray:
    """Rotation (3,3) from the hand to a camera with x right, y down, z forward."""
    forward = np.array(look, float) / np.linalg.norm(look)
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])


def posed_hands() -> tuple[dict[str, Tensor], Tensor]:
    """Right hand vertices (778,3) in metres for every pose of the sheet, and its faces (1538,3)."""
    hands = load_mano(None)
    mean = hands.mean[0, 1:].numpy()
    poses = {"open": np.zeros((15, 3)), "relaxed": mean}
    poses |= {name: hand_pose(values).reshape(15, 3) for name, values in NAMED.items()}
    full = np.zeros((len(poses), 2, 16, 3), np.float32)
    full[:, 0, 1:] = np.stack(list(poses.values())) - mean
    verts, _ = hands(torch.from_numpy(full), torch.zeros(len(poses), 2, 10))
    return dict(zip(poses, verts[:, 0], strict=True)), hands.faces[0]


def draw_view(verts: Tensor, faces: Tensor, axes: np.ndarray) -> np.ndarray:
    """Shaded view (SIZE/2, SIZE/2, 3) uint8 RGB, parallel projection, centred on the hand."""
    cam = verts @ torch.from_numpy(axes.T).float()
    cam = cam - (cam.amax(0) + cam.amin(0)) / 2
    pixels = cam[:, :2] * (SIZE / SPAN_M) + (SIZE - 1) / 2
    points = torch.cat([pixels, cam[:, 2:] + 1.0], 1)
    white = torch.ones(1, 3, SIZE, SIZE)
    image = overlay(white, points[None, None], cam[None, None], faces[None], torch.tensor([SKIN]), 1.0, False)
    small = functional.avg_pool2d(image, 2)[0].movedim(0, -1)
    return (small.clamp(0, 1) * 255).round().byte().numpy()


def draw_sheet(path: Path) -> None:
    """Write the sheet: one row per pose, one column per view, each named."""
    hands, faces = posed_hands()
    rows = []
    for pose, verts in hands.items():
        row = []
        for view, (look, up) in VIEWS.items():
            image = draw_view(verts, faces, camera_axes(look, up)).copy()
            label = f"{pose}, {view}"
            cv2.putText(image, label, (8, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (90, 90, 90), 1, cv2.LINE_AA)
            row.append(image)
        rows.append(np.hstack(row))
    write_picture(path, np.vstack(rows))
