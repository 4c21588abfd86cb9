"""Write data/Synthetic/photos.jpg, the atlas of real pictures that synthetic backgrounds are cut from,
and photos.txt, which says where each comes from.

    pip install scikit-image
    python tool/synthetic/make_photos.py

The pictures are those of scikit-image's wheel that its documentation names public domain or CC0. No crop
shows a hand. Needed only to make the atlas anew.
"""

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from typing import NamedTuple

import cv2
import numpy as np

from common.utils.errors import UserError, run_script
from common.utils.image import read_image
from data.Synthetic.photos import ACROSS, ATLAS_FILE, TILE

LICENCES_FILE = ATLAS_FILE.with_suffix(".txt")
QUALITY = 90  # of the JPEG file
CC0 = "CC0 1.0"
PUBLIC = "public domain"


class Crop(NamedTuple):
    """A square of one picture: its left, top and side in pixels."""

    file: str
    left: int
    top: int
    side: int
    subject: str
    licence: str
    author: str


# fmt: off
CROPS = tuple(Crop(*row) for row in (
    ("astronaut.png", 0, 0, 450, "astronaut Eileen Collins", PUBLIC, "NASA"),
    ("astronaut.png", 130, 0, 200, "her face and hair", PUBLIC, "NASA"),
    ("astronaut.png", 312, 180, 200, "helmet and black cloth", PUBLIC, "NASA"),
    ("camera.png", 350, 60, 160, "skyline of a city", CC0, "Lav Varshney"),
    ("astronaut.png", 0, 0, 130, "a flag", PUBLIC, "NASA"),
    ("chelsea.png", 0, 0, 300, "a cat's face", CC0, "Stefan van der Walt"),
    ("chelsea.png", 331, 60, 120, "blurred room behind the cat", CC0, "Stefan van der Walt"),
    ("coffee.png", 90, 0, 400, "cup of coffee", CC0, "Rachel Michetti"),
    ("coffee.png", 0, 310, 90, "wood of the table", CC0, "Rachel Michetti"),
    ("rocket.jpg", 213, 0, 427, "rocket at dusk", PUBLIC, "SpaceX"),
    ("brick.png", 0, 0, 512, "brick wall", CC0, "CC0Textures"),
    ("grass.png", 0, 0, 400, "grass", CC0, "linolafett"),
    ("gravel.png", 0, 0, 512, "gravel", CC0, "CC0Textures"),
    ("hubble_deep_field.jpg", 0, 0, 436, "stars", PUBLIC, "NASA"),
    ("retina.jpg", 400, 400, 600, "retina", CC0, "Mikael Haggstrom"),
    ("text.png", 0, 0, 172, "drawn text", PUBLIC, "Wikipedia"),
))
# fmt: on


def build(folder: Path) -> np.ndarray:
    """The atlas (H,W,3) uint8 from the pictures of scikit-image's data folder."""
    tiles = [_tile(read_image(folder / crop.file), crop) for crop in CROPS]
    rows = [np.concatenate(tiles[start : start + ACROSS], 1) for start in range(0, len(tiles), ACROSS)]
    return np.concatenate(rows)


def licences() -> str:
    """One line for each tile of the atlas, row by row."""
    lines = [
        f"{number:2d}  {crop.licence:13s}  {crop.author:20s} {crop.subject} ({crop.file})"
        for number, crop in enumerate(CROPS)
    ]
    head = (
        f"The tiles of {ATLAS_FILE.name}, row by row, {ACROSS} in a row:\n"
        "number, licence, author, subject (file name).\n"
        "All are crops of example pictures of scikit-image, with the licences its documentation names.\n"
    )
    return head + "\n" + "\n".join(lines) + "\n"


def _tile(picture: np.ndarray, crop: Crop) -> np.ndarray:
    square = picture[crop.top : crop.top + crop.side, crop.left : crop.left + crop.side]
    if square.shape[:2] != (crop.side, crop.side):
        raise ValueError(f"{crop.file} is smaller than its crop.")
    method = cv2.INTER_AREA if crop.side > TILE else cv2.INTER_CUBIC
    return cv2.resize(square, (TILE, TILE), interpolation=method)


def main() -> None:
    package = importlib.util.find_spec("skimage")
    if package is None:
        raise UserError("the pictures come with scikit-image: pip install scikit-image")
    atlas = build(Path(package.origin).parent / "data")
    content = cv2.imencode(".jpg", atlas[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    ATLAS_FILE.write_bytes(content.tobytes())
    LICENCES_FILE.write_text(licences(), encoding="utf-8")
    print(f"{ATLAS_FILE.name}: {ATLAS_FILE.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    run_script(main)
