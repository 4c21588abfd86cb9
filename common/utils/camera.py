"""The pinhole camera of a picture, and where hands stand in it.

Frame: camera axes (x right, y down, z forward, OpenCV), metres; pixel centres are integers.
Legend: N hands, J points of a hand.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, UnidentifiedImageError

NORMAL = 1.5  # default focal length in longer sides of the picture: a lens of 37 degrees
NEAREST = 0.05  # metres; no hand is nearer to a camera
FILM = 36.0  # mm, longer side of the film that EXIF's equivalent focal length is told for
BROKEN = (OSError, UnidentifiedImageError, ValueError, TypeError, SyntaxError)  # as Pillow raises them
EXIF_IFD, FOCAL_35MM = 0x8769, 0xA405  # EXIF's own names: Exif IFD, FocalLengthIn35mmFilm


@dataclass(frozen=True)
class Camera:
    """A pinhole: u = fx x / z + cx, v = fy y / z + cy in pixels of the original picture, no distortion."""

    fx: float
    fy: float
    cx: float
    cy: float
    source: str  # "given", "exif" or "default"

    @property
    def K(self) -> NDArray[np.float64]:
        """(3,3)."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1.0]])

    def turn_to(self, pixel: ArrayLike) -> NDArray[np.float64]:
        """(3,3) the least rotation that takes straight ahead, +z, to the ray through a pixel (2,)."""
        u, v = pixel
        ray = np.array([(u - self.cx) / self.fx, (v - self.cy) / self.fy, 1.0])
        x, y, z = ray / np.linalg.norm(ray)
        cross = np.array([[0, 0, x], [0, 0, y], [-x, -y, 0]])  # of +z with the ray
        return np.eye(3) + cross + cross @ cross / (1 + z)

    def project(self, points: ArrayLike) -> NDArray[np.float64]:
        """Points (...,3) in metres -> pixels (...,2)."""
        points = np.asarray(points, np.float64)
        return points[..., :2] / points[..., 2:] * [self.fx, self.fy] + [self.cx, self.cy]


def centred_camera(size: tuple[int, int], focal: float | None = None, source: str = "given") -> Camera:
    """A camera that looks at the middle of a picture (width, height); focal in pixels, None: the default."""
    if focal is None:
        focal, source = NORMAL * max(size), "default"
    return Camera(focal, focal, (size[0] - 1) / 2, (size[1] - 1) / 2, source)


def file_camera(path: str | Path, size: tuple[int, int]) -> Camera:
    """The camera of a picture file: EXIF's focal length where it has one, else the default."""
    focal = exif_focal(path)
    return centred_camera(size) if focal is None else centred_camera(size, focal * max(size), "exif")


def exif_focal(path: str | Path) -> float | None:
    """Focal length in longer sides of the picture, as the file tells for film; None where it does not.

    A picture that was cropped afterwards tells that of the whole one.
    """
    try:
        with Image.open(path) as image:
            millimetres = float(image.getexif().get_ifd(EXIF_IFD).get(FOCAL_35MM, 0))
    except (*BROKEN, Image.DecompressionBombError):
        return None  # whether it is a picture at all, its reader says
    return millimetres / FILM if 5 <= millimetres <= 2000 else None


def place_hands(
    points: NDArray, pixels: NDArray, scale: NDArray, depth: ArrayLike, camera: Camera
) -> NDArray[np.float64]:
    """Where the hands' wrists stand (N,3) so that one camera draws every hand where it was seen.

    points (N,J,3) about their own wrists; pixels (N,J,2) where each was seen; scale (N,) pixels per metre
    as seen, which serves where the pixels tell nothing; depth (N,): how much farther than the first each hand
    is, which the pixels are not asked for. Least squares in fx X - (u - cx) Z = (u - cx) z - fx x, and in y.
    """
    count, joints = points.shape[:2]
    depth = np.asarray(depth, np.float64)
    focal = np.array([camera.fx, camera.fy])
    rays = pixels - [camera.cx, camera.cy]  # (N,J,2)
    behind = points[..., 2:] + depth[:, None, None]
    matrix = np.zeros((count, joints, 2, 2 * count + 1))
    for hand in range(count):
        matrix[hand, :, 0, 2 * hand] = focal[0]
        matrix[hand, :, 1, 2 * hand + 1] = focal[1]
    matrix[..., -1] = -rays
    right = rays * behind - focal * points[..., :2]
    matrix, right = matrix.reshape(-1, 2 * count + 1), right.reshape(-1)
    solution = np.linalg.lstsq(matrix, right, rcond=None)[0]
    nearest = NEAREST - behind.min()
    if not solution[-1] > nearest:  # no camera sees them so: as far as their scale says
        z = max(focal.mean() / max(np.abs(scale).mean(), 1e-6), nearest)
        across = np.linalg.lstsq(matrix[:, :-1], right - matrix[:, -1] * z, rcond=None)[0]
        solution = np.append(across, z)
    return np.column_stack([solution[:-1].reshape(count, 2), solution[-1] + depth])
