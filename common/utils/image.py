"""Pictures, boxes and the affine map from a picture to its crop.

Pixel centres are integers. A box is (x, y, w, h) in pixels; without rotation its crop obeys
u' = (u - x) size / w.
"""

import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from common.utils.errors import UserError

JPEG = b"\xff\xd8"  # its first bytes
SHRINKS = {  # by how much a JPEG is decoded smaller -> OpenCV's flag, whose own names know BGR alone
    1: cv2.IMREAD_COLOR_RGB,
    2: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_GRAYSCALE_8,
}


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Any picture OpenCV knows, EXIF orientation applied -> RGB (H,W,3) uint8; UserError if it is none."""
    return decoded(read_content(path), path)


def read_content(path: str | Path) -> NDArray[np.uint8]:
    """The bytes of a picture's file; UserError, naming it, where it has none."""
    try:
        if not os.path.isfile(path) and os.path.exists(path) and not os.path.isdir(path):
            raise UserError(f"cannot read the picture {path}: it is no file")  # a pipe would wait for ever
        content = np.fromfile(path, np.uint8)  # cv2.imread does not know every path
    except OSError as error:
        raise UserError(f"cannot read the picture {path}: {error.strerror}") from None
    if content.size == 0:
        raise UserError(f"the picture {path} is an empty file")
    return content


def decoded(content: NDArray[np.uint8], name: str | Path, shrink: int = 1) -> NDArray[np.uint8]:
    """The bytes of a picture -> RGB (H,W,3), by an integer of SHRINKS smaller; UserError names it."""
    image = decode(content, SHRINKS[shrink])
    if image is None:
        raise UserError(f"{name} is damaged or not a picture that OpenCV can read")
    return image


def decode(content: NDArray[np.uint8], flags: int) -> NDArray[np.uint8] | None:
    """The bytes of a picture file -> pixels as OpenCV gives them; None where it cannot."""
    logging = getattr(cv2.utils, "logging", cv2)  # OpenCV 5 has it there, OpenCV 4 in cv2
    logging.setLogLevel(2)  # errors only: the caller names a damaged file
    try:
        return cv2.imdecode(content, flags)
    except cv2.error:  # e.g. a header that claims an impossible size
        return None


def cut_from_file(
    content: NDArray[np.uint8],
    name: str | Path,
    affine: NDArray[np.float64],
    out: NDArray[np.uint8],
    quick: bool,
) -> float:
    """Draw the picture in these bytes through an affine map (2,3) into `out` (S,S,3) -> its mean level.

    quick: a JPEG that the map shrinks by two or more is decoded at a half, a quarter or an eighth, which
    averages nearly as `warp` does; its mean level is then that of the smaller picture.
    """
    shrink = 1
    if quick and content[:2].tobytes() == JPEG:
        block = _block(affine)
        shrink = max(number for number in SHRINKS if number <= block)
    image = decoded(content, name, shrink)
    if shrink > 1:
        affine = affine @ _from_blocks(shrink)
    warp(image, affine, out.shape[0], out)
    return sum(cv2.mean(image)[:3]) / 3


def tight_box(points: NDArray, valid: NDArray) -> NDArray | None:
    """Smallest box (4,) around the pixels (..., 2) where valid (...); None if there are none."""
    chosen = points[valid.astype(bool)]
    if len(chosen) == 0:
        return None
    return np.concatenate([chosen.min(0), np.ptp(chosen, 0)])


def square_box(box: ArrayLike, scale: float = 1.25) -> NDArray[np.float64]:
    """Boxes (..., 4) -> squares about the same centres, side = scale x the longer side, at least a pixel."""
    box = np.asarray(box, np.float64)
    centre = box[..., :2] + box[..., 2:] / 2
    side = np.maximum(box[..., 2:].max(-1, keepdims=True) * scale, 1.0)
    return np.concatenate([centre - side / 2, side, side], -1)


def crop_affine(
    box: ArrayLike,
    size: int,
    rotation: ArrayLike = 0.0,
    scale: ArrayLike = 1.0,
    shift: ArrayLike = (0.0, 0.0),
) -> NDArray[np.float64]:
    """Maps (...,2,3) from picture pixels to crop pixels, for square boxes (...,4).

    The picture turns by `rotation` (...) radians (u towards v) about the centre of the box; `scale` (...) > 1
    widens the box, `shift` (...,2) moves its centre, in parts of its side.
    """
    box = np.asarray(box, np.float64)
    side = box[..., 2:].max(-1)
    centre = box[..., :2] + box[..., 2:] / 2 + side[..., None] * np.asarray(shift)
    turn = (size / (side * scale))[..., None, None] * rotation_2d(rotation)
    moved = size / 2 - (turn @ centre[..., None])
    return np.concatenate([np.broadcast_to(turn, (*moved.shape[:-1], 2)), moved], -1)


def rotation_2d(angle: ArrayLike) -> NDArray[np.float64]:
    """(...,2,2) rotations by angles (...) in radians from u towards v."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cosine, -sine], -1), np.stack([sine, cosine], -1)], -2)


def apply_affine(affine: NDArray, points: NDArray) -> NDArray:
    """(2,3) or (3,3) affine map applied to pixels (..., 2)."""
    return points @ affine[:2, :2].T + affine[:2, 2]


def as_3x3(affine: NDArray) -> NDArray:
    """(...,2,3) -> (...,3,3)."""
    below = np.broadcast_to([0.0, 0.0, 1.0], (*affine.shape[:-2], 1, 3))
    return np.concatenate([affine, below], -2)


def warp(
    image: NDArray[np.uint8], affine: NDArray, size: int, out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Draw a picture (H,W,C) through an affine map (2,3) into (size, size, C), that of `out` where given.

    Bilinear, black outside. Where the map shrinks by two or more, whole blocks of pixels are
    averaged first, which keeps thin fingers from breaking up.
    """
    block = _block(affine)
    if block >= 2:
        height, width = image.shape[:2]
        image, affine = _reduce(image, affine, min(block, height, width))
    return cv2.warpAffine(image, affine, (size, size), dst=out, flags=cv2.INTER_LINEAR)


def _block(affine: NDArray) -> int:
    """Side of the largest blocks of pixels of which each falls on at most one pixel of the crop."""
    (a, b, _), (c, d, _) = affine[:2].tolist()
    return max(1, int(1 / max(abs(a * d - b * c) ** 0.5, 1e-6)))


def _reduce(image: NDArray, affine: NDArray, block: int) -> tuple[NDArray, NDArray]:
    """Average blocks of block x block pixels; the affine map follows."""
    rows, columns = image.shape[0] // block, image.shape[1] // block
    whole = image[: rows * block, : columns * block]  # loses less than one block at the far edges
    small = cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA)
    return small, affine @ _from_blocks(block)


def _from_blocks(block: int) -> NDArray[np.float64]:
    """(3,3) map from the pixels of a picture of averaged blocks to those of the whole one."""
    middle = (block - 1) / 2  # of the first block
    return np.array([[block, 0, middle], [0, block, middle], [0, 0, 1]])
