"""Photographs with masks of their hands: NAME_input.png beside NAME_mask.png (white: both hands together)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.show.vis import Picture
from common.utils.errors import UserError
from common.utils.image import read_image


def read_pairs(folder: Path) -> Iterator[tuple[Picture, NDArray[np.bool_]]]:
    """RGB (H,W,3) and mask (H,W) of each pair, in order of names.

    UserError where there are none, one lacks its mask, or a mask is empty or of another size.
    """
    pictures = sorted(folder.glob("*_input.png"))
    if not pictures:
        raise UserError(f"{folder} holds no NAME_input.png")
    masks = [path.with_name(path.name.replace("_input", "_mask")) for path in pictures]
    for path in masks:
        if not path.is_file():
            raise UserError(f"{path} is missing: each NAME_input.png needs its NAME_mask.png")
    for picture_path, mask_path in zip(pictures, masks, strict=True):
        picture, mask = read_image(picture_path), read_image(mask_path)[..., 0] > 127
        if mask.shape != picture.shape[:2] or not mask.any():
            raise UserError(f"{mask_path} is empty or not of its picture's size")
        yield picture, mask
