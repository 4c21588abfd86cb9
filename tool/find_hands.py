"""How often the network's own search finds the hands in wide pictures.

python tool/find_hands.py [--count 200] [--pairs PAIRS] [--detector mediapipe] [--checkpoint FILE]
                          [--sheet SHEET.png]

Pictures of the synthetic test set are pasted, 0.15 to 0.6 of the width wide, into photographs without hands
of 1280x720 pixels. With --pairs, the pictures are those of a folder of NAME_input.png with NAME_mask.png
(white: both hands), each as it is and pasted. A box of the predicted joints is right when its intersection
over union with the box of the true joints, or of the mask, is above 0.5. With --detector mediapipe, the box
of its own points is measured, too, and the network's once it was told where that is.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
from numpy.typing import NDArray

from common.hand.mano import ManoLayer
from common.show.vis import Picture, draw_box, side_by_side, stack, to_picture
from common.targets import add_targets
from common.utils.camera import centred_camera
from common.utils.errors import run_script
from common.utils.files import require_writable, write_picture
from common.utils.image import read_image, square_box, tight_box
from data.Synthetic.photos import ACROSS, ATLAS_FILE, TILE, TILES
from data.Synthetic.test_set import SyntheticTestSet
from main.cli import ROOT
from main.detector import DETECTORS, Detector, MediaPipeHands, joint_box
from main.find import AROUND, find_hands, hands_box, overlap
from main.predictor import Predictor, TwoHands, load_predictor
from tool.photo_pairs import read_pairs

WIDTH, HEIGHT = 1280, 720
NARROWEST, WIDEST = 0.15, 0.6  # of the width, a pasted picture
RIGHT = 0.5  # overlap from which on a box is right


@dataclass(frozen=True)
class Case:
    """A picture and the box x, y, w, h around its hands; None: it shows none."""

    picture: Picture
    box: NDArray | None


def synthetic(mano: ManoLayer, count: int) -> Iterator[Case]:
    """The first pictures of the synthetic test set that show a hand, with the box of the joints."""
    made = 0
    for batch in SyntheticTestSet(mano, 8):
        batch = add_targets(batch, mano)
        for i in range(len(batch["img"])):
            shown = batch["present"][i].numpy() > 0
            if made < count and shown.any():
                joints = batch["joints_img"][i, ..., :2].numpy()
                made += 1
                yield Case(to_picture(batch["img"][i]), tight_box(joints, shown[:, None].repeat(21, 1)))
        if made == count:
            return


def pairs(folder: Path) -> Iterator[Case]:
    """The photographs of a folder, with the boxes of their masks."""
    for picture, mask in read_pairs(folder):
        rows, columns = np.nonzero(mask)
        points = np.stack([columns, rows], -1)
        yield Case(picture, tight_box(points, np.ones(len(points))))


def background(rng: np.random.Generator) -> Picture:
    """A photograph without hands, twice beside itself."""
    row, column = divmod(int(rng.integers(TILES)), ACROSS)
    atlas = read_image(ATLAS_FILE)
    tile = atlas[row * TILE + 2 : (row + 1) * TILE - 2, column * TILE + 2 : (column + 1) * TILE - 2]
    wide = np.concatenate([tile, tile[:, ::-1]], 1)
    return cv2.resize(wide, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def paste(case: Case, rng: np.random.Generator) -> Case:
    """A picture somewhere in a background."""
    height, width = case.picture.shape[:2]
    zoom = min(rng.uniform(NARROWEST, WIDEST) * WIDTH / width, HEIGHT / height)
    small = cv2.resize(case.picture, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
    rows, columns = small.shape[:2]
    y, x = int(rng.integers(HEIGHT - rows + 1)), int(rng.integers(WIDTH - columns + 1))
    picture = background(rng)
    picture[y : y + rows, x : x + columns] = small
    return Case(picture, case.box * zoom + [x, y, 0, 0])


def boxes_found(
    predictor: Predictor, case: Case, detector: Detector | None
) -> tuple[dict[str, tuple[NDArray | None, float]], TwoHands]:
    """{how it was looked for: box or None, and seconds}; the hands of the network's own search."""
    picture, camera = case.picture, centred_camera((case.picture.shape[1], case.picture.shape[0]))
    clock, found = [time.perf_counter()], {}

    def keep(way: str, box: NDArray | None) -> None:
        clock.append(time.perf_counter())
        found[way] = box, clock[-1] - clock[-2]

    keep("whole picture", hands_box(predictor(picture, camera=camera)))
    hands = find_hands(predictor, picture, camera)
    keep("after the search", hands_box(hands))
    if detector is not None:
        seen = detector(picture)
        keep("mediapipe's own", joint_box(seen))
        keep("after a search there", hands_box(find_hands(predictor, picture, camera, seen=seen)))
    if case.box is not None:
        given = predictor(picture, square_box(case.box, AROUND), camera=camera)
        keep("with the true box as the crop", hands_box(given))
    return found, hands


def measure(predictor: Predictor, cases: list[Case], sheet: list[Picture], detector: Detector | None) -> str:
    """How many boxes are right and how long they take (median), by how they were looked for."""
    rights: dict[str, list[bool]] = {}
    durations: dict[str, list[float]] = {}
    for case in cases:
        found, hands = boxes_found(predictor, case, detector)
        for way, (box, seconds) in found.items():
            right = box is not None and (case.box is None or overlap(box, case.box) > RIGHT)
            rights.setdefault(way, []).append(right)
            durations.setdefault(way, []).append(seconds)
        tile = hands.overlay()
        tile = tile if case.box is None else draw_box(tile, case.box)
        sheet.append(cv2.resize(tile, (320, 180), interpolation=cv2.INTER_AREA))
    words = [
        f"{way} {100 * fmean(right):.0f} % ({1000 * median(durations[way]):.0f} ms)"
        for way, right in rights.items()
    ]
    return ", ".join(words)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "main" / "weights" / "lgnet_small.pth")
    parser.add_argument("--sheet", type=Path, help="overlays; boxes: the crop and the true one")
    parser.add_argument("--detector", choices=DETECTORS, default="network", help="measured beside it")
    args = parser.parse_args()
    if args.sheet:
        require_writable(args.sheet)
    detector = MediaPipeHands() if args.detector == "mediapipe" else None
    predictor, rng = load_predictor(args.checkpoint), np.random.default_rng(0)
    sheet: list[Picture] = []
    if args.pairs:
        cases = list(pairs(args.pairs))
        print(f"{len(cases)} pairs, right box: {measure(predictor, cases, sheet, detector)}", flush=True)
    else:
        cases = list(synthetic(predictor.mano, args.count))
    wide = [paste(case, rng) for case in cases]
    print(f"{len(wide)} pasted pictures, right box: {measure(predictor, wide, sheet, detector)}", flush=True)
    empty = [Case(background(rng), None) for _ in range(max(1, len(cases) // 10))]
    print(f"{len(empty)} pictures without hands, hands found: {measure(predictor, empty, sheet, detector)}")
    if args.sheet:
        rows = [side_by_side(sheet[start : start + 6]) for start in range(0, len(sheet), 6)]
        write_picture(args.sheet, stack(rows))


if __name__ == "__main__":
    run_script(main)
