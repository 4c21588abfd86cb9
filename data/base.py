"""The raw record and sample of every data set, and the map-style base class that makes them.

A data set knows its files and gives raw records; the base reads the picture, augments, turns the
record into a sample and checks it. What is derived from the raw facts is derived in common/targets.py,
whose tables say what each key means.

A raw record is a dict; numpy, metres, camera of the original picture, hands (right, left), 21 joints
wrist first. Where a validity is 0 the value may be anything finite.
  id str; hand_type "right" | "left" | "interacting"; human_annotated bool; hand_type_valid bool
  image_path, or image (H,W,3) uint8 RGB
  K_orig (3,3); image_size (2,) width, height; box (4,) square, in pixels
  joints (2,21,3), joints_valid (2,21); in_picture (2,21) annotated and inside the original picture
  pose (2,16,3), shape (2,10), pivot_cam (2,3) of the MANO fit; pose_valid, shape_valid (2,)
  root_depth, root_depth_valid (2,) RootNet; present (2,)
Where a data set has them, also:
  mesh_cam (2,778,3) true vertices, which replace those of pose and shape
  pixels (2,21,2), pixels_valid (2,21) annotated in the picture, where there are no joints in 3-D
  outlines: list of the right and left polygon (N,2) in the picture, N = 0 where the hand is not outlined

A sample holds the same facts cut out and augmented (data/augment.py): float32 tensors of the SHAPES
below, zeros where not valid, the outlines filled as silhouettes, the pixels moved to the crop.
"""

from abc import ABC, abstractmethod
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from common.hand.joints import HANDS
from common.utils.geometry import IMAGE_SIZE
from common.utils.image import apply_affine, read_image
from data import augment
from data.augment import AugmentSettings

# Shape of every tensor of a sample; all are float32.
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
    "mesh_cam": (2, 778, 3),
    "pixels": (2, 21, 2),
    "pixels_valid": (2, 21),
    "silhouette": (2, IMAGE_SIZE, IMAGE_SIZE),
    "silhouette_valid": (2,),
}
# What stays a list in a batch.
TYPES = {"hand_type": str, "human_annotated": bool, "id": str}


class HandDataset(Dataset, ABC):
    """A map-style data set of contract samples; subclasses write `record`, `ids` and `__len__`.

    augment: how to augment, None for the plain crop. The augmentation of a sample depends on
    (seed, epoch, index) alone, so a resumed run sees what an unbroken one would have seen.
    """

    def __init__(self, augment: AugmentSettings | None = None, seed: int = 0):
        self.augment, self.seed = augment, seed
        # shared memory: persistent workers hold copies of this object made in the first epoch
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Call before an epoch's loader is iterated; reaches persistent workers too."""
        self._epoch.fill_(epoch)

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def record(self, index: int) -> dict[str, Any]:
        """The raw record of a sample (see the module's docstring); with `image`, its picture is not read."""

    @abstractmethod
    def ids(self) -> list[str]:
        """The id of every sample, in order; reads no picture."""

    def notes(self) -> list[str]:
        """What a reader of results should know of these data; nothing by default."""
        return []

    def strata(self) -> dict[str, list[str]]:
        """Groups of samples that results are given for, {name: ids}; none by default."""
        return {}

    def __getitem__(self, index: int) -> dict[str, Any]:
        record = self.record(index)
        if "image" not in record:
            record["image"] = read_image(record["image_path"])
        record["brightness"] = np.mean(cv2.mean(record["image"])[:3])
        params = augment.IDENTITY
        if self.augment is not None:
            rng = np.random.default_rng([self.seed, int(self._epoch), index])
            params = augment.draw(rng, self.augment)
        sample = to_sample(augment.apply(record, params))
        check(sample)
        return sample


def blank_record() -> dict[str, Any]:
    """The labels of a record of which nothing is known: what is known replaces them."""
    return {
        "human_annotated": False,
        "hand_type_valid": True,
        "joints": np.zeros((2, 21, 3)),
        "joints_valid": np.zeros((2, 21)),
        "in_picture": np.zeros((2, 21)),
        "pose": np.zeros((2, 16, 3)),
        "pose_valid": np.zeros(2),
        "shape": np.zeros((2, 10)),
        "shape_valid": np.zeros(2),
        "pivot_cam": np.zeros((2, 3)),
        "root_depth": np.zeros(2),
        "root_depth_valid": np.zeros(2),
    }


def presence(hand_type: str) -> NDArray[np.float32]:
    """(2,) which hands a picture of this type shows."""
    return np.array([hand_type in (hand, "interacting") for hand in HANDS], np.float32)


def to_sample(record: dict[str, Any]) -> dict[str, Any]:
    """A cut-out record (data/augment.py) -> a sample: tensors, zeros where not valid."""
    pose_valid = np.asarray(record["pose_valid"])
    facts = {
        **record,
        "joints": _masked(record["joints"], record["joints_valid"]),
        "pose": _masked(record["pose"], pose_valid),
        "pose_valid": pose_valid[:, None, None],
        "shape": _masked(record["shape"], pose_valid),  # kept where not trusted: the mesh needs it
        "shape_valid": np.asarray(record["shape_valid"])[:, None],
        "pivot_cam": _masked(record["pivot_cam"], pose_valid),
        "root_depth": _masked(record["root_depth"], record["root_depth_valid"]),
    }
    if "mesh_cam" in record:
        facts["mesh_cam"] = _masked(record["mesh_cam"], pose_valid)
    if "pixels" in record:
        pixels = apply_affine(record["affine"], record["pixels"])
        facts["pixels"] = _masked(pixels, record["pixels_valid"])
    if "outlines" in record:
        facts["silhouette"] = _filled(record["outlines"], record["affine"])
        facts["silhouette_valid"] = np.array([len(outline) > 0 for outline in record["outlines"]])
    sample = {key: record[key] for key in TYPES}
    sample["img"] = torch.from_numpy(record["image"]).permute(2, 0, 1).float().div_(255)
    for key in (*SHAPES, *OPTIONAL_SHAPES):
        if key in facts:
            sample[key] = torch.from_numpy(np.array(facts[key], np.float32))
    return sample


def _masked(values: NDArray, valid: NDArray) -> NDArray:
    """Zeros where not valid; `valid` has the leading axes of `values`."""
    values, valid = np.asarray(values), np.asarray(valid)
    trailing = (1,) * (values.ndim - valid.ndim)
    return np.where(valid.reshape(valid.shape + trailing) > 0, values, 0)


def _filled(outlines: list[NDArray], affine: NDArray) -> NDArray[np.uint8]:
    """Masks (2,256,256) of polygons of the original picture in the crop."""
    masks = np.zeros((2, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    for mask, outline in zip(masks, outlines, strict=True):
        if len(outline):  # OpenCV takes whole sixteenths of a pixel
            corners = np.rint(16 * apply_affine(affine, outline)).astype(np.int32)
            cv2.fillPoly(mask, [corners], 1, shift=4)
    return masks


def check(sample: dict[str, Any]) -> None:
    """Raise ValueError, naming the sample, where it breaks the contract."""
    name = sample.get("id", "without id")
    expected = dict(SHAPES)
    for key, shape in OPTIONAL_SHAPES.items():
        if key in sample:
            expected[key] = shape
    if other := sample.keys() ^ (expected.keys() | TYPES.keys()):
        raise ValueError(f"sample {name}: keys differ: {other}")
    for key, shape in expected.items():
        value = sample[key]
        if value.dtype != torch.float32 or tuple(value.shape) != shape:
            raise ValueError(f"sample {name}: {key} is {value.dtype} {tuple(value.shape)}, not {shape}")
        if not torch.isfinite(value).all():
            raise ValueError(f"sample {name}: {key} is not finite")
    for key, kind in TYPES.items():
        if not isinstance(sample[key], kind):
            raise ValueError(f"sample {name}: {key} is no {kind.__name__}")


def collate(samples: list[dict[str, Any]]) -> dict[str, Tensor | list]:
    """Samples -> a batch: tensors get a batch axis, everything else becomes a list."""
    batch = {}
    for key in samples[0]:
        rows = [sample[key] for sample in samples]
        batch[key] = torch.stack(rows) if torch.is_tensor(rows[0]) else rows
    return batch
