"""Silhouette IoU of a network's hands on photographs of which masks are at hand.

python tool/photo_iou.py PAIRS [--checkpoint FILE] [--sheet SHEET.png]

PAIRS is a folder of NAME_input.png with NAME_mask.png (white: both hands together). Two numbers are given:
the whole picture as the crop, and the mask's box, squared, times 1.2.
"""

import argparse
import sys
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.show.figures import HAND_COLORS
from common.show.vis import Picture, caption, draw_meshes, side_by_side, stack, weak_points
from common.utils.errors import run_script
from common.utils.files import require_writable, write_picture
from common.utils.render import silhouettes
from main.cli import ROOT
from main.predictor import TwoHands, load_predictor
from tool.photo_pairs import read_pairs

BOX_SCALE = 1.2
TILE, COLUMNS = 256, 6  # of the sheet: pixels a side, pictures a row


def mask_box(mask: NDArray) -> list[float]:
    """x, y, w, h of a mask (H,W) bool, enlarged."""
    rows, columns = np.nonzero(mask)
    low = np.array([columns.min(), rows.min()])
    size = np.array([columns.max(), rows.max()]) - low + 1
    grown = BOX_SCALE * size.max()
    return [*(low + size / 2 - grown / 2), grown, grown]


def drawn_hands(hands: TwoHands) -> Tensor:
    """Both meshes in pixels of the original picture, with depth: (2,V,3), present or not."""
    about_wrists = torch.from_numpy(hands.verts - hands.wrists[:, None])
    wrists = torch.from_numpy(hands.wrists)
    return weak_points(about_wrists, torch.from_numpy(hands.cam_in_picture).float(), wrists)


def overlap(first: NDArray, second: NDArray) -> float:
    return float((first & second).sum() / max(1, (first | second).sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "main" / "weights" / "lgnet_small.pth")
    parser.add_argument("--sheet", type=Path, help="both overlays of every picture")
    args = parser.parse_args()
    if args.sheet:
        require_writable(args.sheet)
    predictor = load_predictor(args.checkpoint)
    scores: dict[str, list[float]] = {"whole picture": [], "box": []}
    tiles = []
    for picture, mask in read_pairs(args.pairs):
        for name, box in (("whole picture", None), ("box", mask_box(mask))):
            hands = predictor(picture, box)
            points = drawn_hands(hands)
            drawn = silhouettes(points[None], predictor.mano.faces, mask.shape, perspective=False)
            scores[name].append(overlap(drawn[0].any(0).numpy(), mask))
            words = f"{name}: {scores[name][-1]:.2f}"
            tiles.append(tile(picture, points, hands, predictor.mano.faces, words))
    if args.sheet:
        rows = [side_by_side(tiles[start : start + COLUMNS]) for start in range(0, len(tiles), COLUMNS)]
        write_picture(args.sheet, stack(rows))
    means = ", ".join(f"{name} {fmean(values):.3f}" for name, values in scores.items())
    print(f"{len(tiles) // 2} pictures, mean silhouette IoU: {means}")


def tile(picture: Picture, points: Tensor, hands: TwoHands, faces: Tensor, words: str) -> Picture:
    """The overlay, enlarged to one size for the sheet; hands called absent are left out."""
    zoom = TILE / max(picture.shape[:2])
    large = cv2.resize(picture, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    points = torch.cat([(points[..., :2] + 0.5) * zoom - 0.5, points[..., 2:]], -1)
    shown = torch.from_numpy(hands.is_present)
    verts = torch.from_numpy(hands.verts)
    drawn = draw_meshes(large, points[shown], verts[shown], faces[shown], HAND_COLORS[shown])
    return caption(drawn, words)


if __name__ == "__main__":
    run_script(main)
