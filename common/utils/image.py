"""Pictures, boxes and the affine map from a picture to its crop.

Pixel centres are integers. A box is (x, y, w, h) in pixels; without rotation its crop obeys
u' = (u - x) size / w.
"""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from common.utils.errors import UserError


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Any picture OpenCV knows, EXIF orientation applied -> RGB (H,W,3) uint8; UserError if it is none."""
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):  # reading a pipe would wait for ever
        raise UserError(f"cannot read the picture {path}: it is no file")
    try:
        content = np.fromfile(path, np.uint8)  # cv2.imread does not know every path
    except OSError as error:
        raise UserError(f"cannot read the picture {path}: {error.strerror}") from None
    if content.size == 0:
        raise UserError(f"the picture {path} is an empty file")
    image = decode(content, cv2.IMREAD_COLOR)
    if image is None:
        raise UserError(f"{path} is damaged or not a picture that OpenCV can read")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def decode(content: NDArray[np.uint8], flags: int) -> NDArray[np.uint8] | None:
    """The bytes of a picture file -> pixels as OpenCV gives them; None where it cannot."""
    logging = getattr(cv2.utils, "logging", cv2)  # OpenCV 5 has it there, OpenCV 4 in cv2
    logging.setLogLevel(2)  # errors only: the caller names a damaged file
    try:
        return cv2.imdecode(content, flags)
    except cv2.error:  # e.g. a header that claims an impossible size
        return None


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
    box: ArrayLike, size: int, rotation: float = 0.0, scale: float = 1.0, shift: ArrayLike = (0.0, 0.0)
) -> NDArray[np.float64]:
    """Map (2,3) from picture pixels to crop pixels, for a square box.

    The picture turns by `rotation` radians (u towards v) about the centre of the box; `scale` > 1
    widens the box, `shift` moves its centre, in parts of its side.
    """
    x, y, w, h = np.asarray(box, np.float64)
    side = max(w, h)
    centre = np.array([x + w / 2, y + h / 2]) + side * np.asarray(shift)
    turn = size / (side * scale) * rotation_2d(rotation)
    return np.column_stack([turn, size / 2 - turn @ centre])


def rotation_2d(angle: float) -> NDArray[np.float64]:
    """(2,2) rotation by an angle in radians from u towards v."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]])


def apply_affine(affine: NDArray, points: NDArray) -> NDArray:
    """(2,3) or (3,3) affine map applied to pixels (..., 2)."""
    return points @ affine[:2, :2].T + affine[:2, 2]


def as_3x3(affine: NDArray) -> NDArray:
    """(2,3) -> (3,3)."""
    return np.vstack([affine, [0.0, 0.0, 1.0]])


def warp(image: NDArray[np.uint8], affine: NDArray, size: int) -> NDArray[np.uint8]:
    """Draw a picture (H,W,C) through an affine map (2,3) into (size, size, C).

    Bilinear, black outside. Where the map shrinks by two or more, whole blocks of pixels are
    averaged first, which keeps thin fingers from breaking up.
    """
    zoom = np.sqrt(abs(np.linalg.det(affine[:, :2])))
    block = int(1 / max(zoom, 1e-6))
    if block >= 2:
        height, width = image.shape[:2]
        image, affine = _reduce(image, affine, min(block, height, width))
    return cv2.warpAffine(image, affine, (size, size), flags=cv2.INTER_LINEAR)


def _reduce(image: NDArray, affine: NDArray, block: int) -> tuple[NDArray, NDArray]:
    """Average blocks of block x block pixels; the affine map follows."""
    rows, columns = image.shape[0] // block, image.shape[1] // block
    whole = image[: rows * block, : columns * block]  # loses less than one block at the far edges
    small = cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA)
    middle = (block - 1) / 2  # of the first block
    to_large = np.array([[block, 0, middle], [0, block, middle], [0, 0, 1]])
    return small, affine @ to_large
