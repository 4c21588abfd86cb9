"""From the raw records of some samples (data/base.py) to one batch: what it holds, and how it is made.

Records of several samples are one dict of lists (LISTS) and of arrays with a leading axis B.

A batch holds the same facts cut out and augmented (data/augment.py): tensors of the SHAPES below behind a
leading axis B, zeros where not valid, the outlines filled as silhouettes, the pixels moved to the crop. All
are float32 but `img`, which keeps the levels of the file; colours change on the device (common/targets.py).
"""

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from common.utils.errors import UserError
from common.utils.geometry import IMAGE_SIZE
from common.utils.image import apply_affine, cut_from_file, read_content, warp
from data import augment
from data.augment import AugmentParams

Records = dict[str, Any]
Batch = dict[str, Any]

# Shape of every tensor of a sample.
SHAPES = {
    "img": (3, IMAGE_SIZE, IMAGE_SIZE),
    "joints": (2, 21, 3),
    "joints_valid": (2, 21),
    "in_picture": (2, 21),
    "pose": (2, 16, 3),
    "pose_valid": (2, 1, 1),
    "shape": (2, 10),
    "shape_valid": (2, 1),
    "pivot_cam": (2, 3),
    "root_depth": (2,),
    "root_depth_valid": (2,),
    "present": (2,),
    "K": (3, 3),
    "affine": (2, 3),
    "K_orig": (3, 3),
    "image_size": (2,),
    "box": (4,),
    "brightness": (),
    "hand_type_valid": (),
}
# What only some data sets have.
OPTIONAL_SHAPES = {
    "color": (3,),
    "mesh_cam": (2, 778, 3),
    "pixels": (2, 21, 2),
    "pixels_valid": (2, 21),
    "silhouette": (2, IMAGE_SIZE, IMAGE_SIZE),
    "silhouette_valid": (2,),
}
# What stays a list in a batch.
TYPES = {"hand_type": str, "human_annotated": bool, "id": str}
LISTS = (*TYPES, "image", "image_path", "outlines")  # what stays a list in records


def stacked(records: Sequence[dict[str, Any]]) -> Records:
    """Records one by one -> together."""
    together = {}
    for key in records[0] if records else ():
        rows = [record[key] for record in records]
        together[key] = rows if key in LISTS else np.stack(rows)
    return together


def content_of_file(records: Records, row: int) -> NDArray[np.uint8]:
    """The bytes of a record's picture."""
    return read_content(records["image_path"][row])


def to_batch(
    records: Records,
    throws: Sequence[AugmentParams],
    quick: bool = False,
    content: Callable[[Records, int], NDArray[np.uint8]] = content_of_file,
) -> tuple[Batch, list[int], list[str]]:
    """Records and one throw for each -> the batch of those whose pictures can be read, their rows, a sentence
    on each of the others. ValueError, naming the sample, where they break the contract.

    quick: JPEGs may be decoded smaller where the crop allows it (common/utils/image.py). content: gives the
    bytes of a record's picture, or of the part that begins at its `corner`.
    """
    cut = augment.apply(records, throws)
    cut["img"] = np.empty((len(throws), IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    measured = np.zeros(len(throws))
    rows, faults = [], []
    for row in range(len(throws)):
        try:
            level = _draw(cut, row, quick, content)
            measured[row] = level
            rows.append(row)
        except UserError as error:
            faults.append(str(error))
    cut.setdefault("brightness", measured)
    facts = _facts(cut)
    check(facts)
    if faults:
        facts = {key: _chosen(values, rows) for key, values in facts.items()}
    return _as_tensors(facts) if rows else {}, rows, faults


def _draw(cut: Records, row: int, quick: bool, content: Callable[[Records, int], NDArray[np.uint8]]) -> float:
    """Draw one crop into `img` -> the mean level of the picture that was read."""
    affine, out = cut["affine"][row], cut["img"][row]
    if "image" not in cut:
        if "corner" in cut:  # the picture's pixels from those of its part
            affine = np.column_stack([affine[:, :2], apply_affine(affine, cut["corner"][row])])
        return cut_from_file(content(cut, row), cut["image_path"][row], affine, out, quick)
    image = cut["image"][row]
    warp(image, affine, IMAGE_SIZE, out)
    return sum(cv2.mean(image)[:3]) / 3


def _facts(cut: Records) -> dict[str, Any]:
    """Records that are cut out -> what the contract asks for, as float32 arrays and lists."""
    pose_valid = cut["pose_valid"]
    facts = {
        **cut,
        "joints": _masked(cut["joints"], cut["joints_valid"]),
        "pose": _masked(cut["pose"], pose_valid),
        "pose_valid": pose_valid[:, :, None, None],
        "shape": _masked(cut["shape"], pose_valid),  # kept where not trusted: the mesh needs it
        "shape_valid": cut["shape_valid"][:, :, None],
        "pivot_cam": _masked(cut["pivot_cam"], pose_valid),
        "root_depth": _masked(cut["root_depth"], cut["root_depth_valid"]),
    }
    if "mesh_cam" in cut:
        facts["mesh_cam"] = _masked(cut["mesh_cam"], pose_valid)
    if "pixels" in cut:
        moved = [apply_affine(affine, points) for affine, points in _pairs(cut, "pixels")]
        facts["pixels"] = _masked(np.stack(moved), cut["pixels_valid"])
    if "outlines" in cut:
        facts["silhouette"] = np.stack([_filled(*pair) for pair in _pairs(cut, "outlines")])
        facts["silhouette_valid"] = np.array([[len(o) > 0 for o in both] for both in cut["outlines"]])
    wanted = {key: facts[key] for key in TYPES}
    for key in (*SHAPES, *OPTIONAL_SHAPES):
        if key in facts:
            wanted[key] = facts[key] if key == "img" else np.asarray(facts[key], np.float32)
    return wanted


def _pairs(cut: Records, key: str) -> list[tuple[NDArray, Any]]:
    """The affine map of every sample with its entry of this name."""
    return list(zip(cut["affine"], cut[key], strict=True))


def _masked(values: NDArray, valid: NDArray) -> NDArray:
    """Zeros where not valid; `valid` has the leading axes of `values`."""
    trailing = (1,) * (values.ndim - valid.ndim)
    return np.where(valid.reshape(valid.shape + trailing) > 0, values, 0)


def _filled(affine: NDArray, outlines: list[NDArray]) -> NDArray[np.uint8]:
    """Masks (2,256,256) of polygons of the original picture in the crop."""
    masks = np.zeros((2, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    for mask, outline in zip(masks, outlines, strict=True):
        if len(outline):  # OpenCV takes whole sixteenths of a pixel
            corners = np.rint(16 * apply_affine(affine, outline)).astype(np.int32)
            cv2.fillPoly(mask, [corners], 1, shift=4)
    return masks


def _chosen(values: NDArray | list, rows: list[int]) -> NDArray | list:
    return [values[row] for row in rows] if isinstance(values, list) else values[rows]


def _as_tensors(facts: dict[str, Any]) -> Batch:
    """Arrays become tensors; the pictures (B,256,256,3) are seen as (B,3,256,256), which copies nothing."""
    batch = {key: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for key, v in facts.items()}
    batch["img"] = batch["img"].permute(0, 3, 1, 2)
    return batch


def check(facts: dict[str, Any]) -> None:
    """Raise ValueError, naming the sample, where samples (arrays and lists, leading axis B) break the
    contract; the pictures are what OpenCV drew."""
    names = facts["id"]
    expected = SHAPES | {key: OPTIONAL_SHAPES[key] for key in OPTIONAL_SHAPES if key in facts}
    if other := facts.keys() ^ (expected.keys() | TYPES.keys()):
        raise ValueError(f"sample {names[0]}: keys differ: {other}")
    for key, shape in expected.items():
        values = facts[key]
        if key == "img":
            continue
        if values.dtype != np.float32 or values.shape != (len(names), *shape):
            raise ValueError(f"sample {names[0]}: {key} is {values.dtype} {values.shape[1:]}, not {shape}")
        if not np.isfinite(values).all():
            row = np.flatnonzero(~np.isfinite(values.reshape(len(names), -1)).all(1))[0]
            raise ValueError(f"sample {names[row]}: {key} is not finite")
    for key, kind in TYPES.items():
        for name, value in zip(names, facts[key], strict=True):
            if not isinstance(value, kind):
                raise ValueError(f"sample {name}: {key} is no {kind.__name__}")
