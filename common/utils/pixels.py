"""What people hand over as a picture -> the one form in which the code knows pictures."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from common.utils.errors import UserError
from common.utils.image import read_image

CHANNELS = (1, 3, 4)  # grey, RGB, RGBA
ACCEPTED = (
    "give a file's path, or RGB as uint8, or as floats from 0 to 1, shaped (H,W,3) or (3,H,W); "
    "grey (H,W) and RGBA will do"
)


def as_picture(value: str | Path | NDArray | Tensor) -> NDArray[np.uint8]:
    """A path, a numpy array or a torch tensor -> RGB (H,W,3) uint8; alpha is dropped, grey is repeated.

    Only what has one meaning is taken: uint8, or floats from 0 to 1; UserError on all else.
    """
    if isinstance(value, str | Path):
        return read_image(value)
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.is_floating_point() else value).numpy()
    if not isinstance(value, np.ndarray):
        raise UserError(f"no picture: {type(value).__name__}; {ACCEPTED}")
    pixels = _as_bytes(_channels_last(value))
    if pixels.shape[-1] == 1:
        pixels = pixels.repeat(3, -1)
    return np.ascontiguousarray(pixels[..., :3])


def _channels_last(value: NDArray) -> NDArray:
    """(H,W), (H,W,C) or (C,H,W) -> (H,W,C)."""
    if value.ndim == 2:
        return value[..., None]
    if value.ndim == 3 and value.shape[-1] in CHANNELS:
        return value
    if value.ndim == 3 and value.shape[0] in CHANNELS:
        return value.transpose(1, 2, 0)
    several = ", one at a time" if value.ndim == 4 else ""
    raise UserError(f"no picture: an array of shape {value.shape}; {ACCEPTED}{several}")


def _as_bytes(value: NDArray) -> NDArray[np.uint8]:
    """uint8, or floats from 0 to 1 -> uint8."""
    if value.dtype == np.uint8:
        return value
    if not np.issubdtype(value.dtype, np.floating):
        raise UserError(f"no picture: values of type {value.dtype}; {ACCEPTED}")
    if not ((value >= 0) & (value <= 1)).all():  # NaN fails too
        raise UserError(f"no picture: floats that are not all from 0 to 1; {ACCEPTED}")
    return (255 * value).round().astype(np.uint8)
