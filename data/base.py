"""The sample contract (DESIGN section 4) and the map-style base class that keeps it.

A data set knows its files and gives raw records; the base reads the picture, augments, turns the
record into a sample and checks it.

A raw record is a dict; numpy, metres, camera frame, hands (right, left), 21 joints wrist first:
  id str; hand_type "right" | "left" | "interacting"; human_annotated bool; hand_type_valid bool
  image_path; K_orig (3,3); image_size (2,) width, height; box (4,) square, in pixels
  joints (2,21,3) in the camera; joints_valid (2,21) annotated; joints_seen (2,21) and in picture
  pose (2,16,3) without the mean pose, wrist rotation in the camera; shape (2,10)
  pivot (2,3) MANO's rest-pose wrist in the camera (FORMATS 2.2); pose_valid, shape_valid (2,)
  root_depth, root_depth_valid (2,) RootNet; present (2,)
Where a data set has them, also:
  mesh_cam (2,778,3) true vertices in the camera, which replace those of pose and shape
  pixels (2,21,2), pixels_valid (2,21) annotated in the picture, where there are no joints in 3-D
  outlines: list of the right and left polygon (N,2) in the picture, N = 0 where the hand is not outlined

What a sample says beyond DESIGN's table: brightness, mean level 0..255 of the whole picture (its crop if
synthetic); joints_seen (2,21,1), annotated and, wherever the crop ends, in the picture; mesh_cam as above
(pose_valid says which hands); silhouette (2,S,S), silhouette_valid (2,): the outlines filled.
"""

from abc import ABC, abstractmethod
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from common.hand.joints import HANDS, LEFT, RIGHT, WRIST
from common.utils.image import apply_affine, read_image
from data import augment
from data.augment import AugmentSettings

# Shape of every array of a sample; all are float32. Those that depend on the crop come on top.
# fmt: off
SHAPES = {
    "joints_img": (2, 21, 3), "joints_img_valid": (2, 21, 1),
    "joints_cam": (2, 21, 3), "joints_cam_valid": (2, 21, 1),
    "root_cam": (2, 3), "root_cam_valid": (2, 1), "rel_trans": (3,), "rel_trans_valid": (1,),
    "pose": (2, 16, 3), "pose_valid": (2, 1, 1), "shape": (2, 10), "shape_valid": (2, 1), "pivot_cam": (2, 3),
    "root_depth": (2,), "root_depth_valid": (2,), "present": (2,),
    "K": (3, 3), "affine": (2, 3), "K_orig": (3, 3), "image_size": (2,), "box": (4,),
    "brightness": (), "hand_type_valid": (), "joints_seen": (2, 21, 1),
}
# fmt: on
LISTS = {"hand_type": str, "human_annotated": bool, "id": str}


class HandDataset(Dataset, ABC):
    """A map-style data set of contract samples; subclasses write `record` and `__len__`.

    augment: how to augment, None for the plain crop. The augmentation of a sample depends on
    (seed, epoch, index) alone, so a resumed run sees what an unbroken one would have seen.
    """

    def __init__(self, augment: AugmentSettings | None = None, seed: int = 0, size: int = 256):
        self.augment, self.seed, self.size = augment, seed, size
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

    def __getitem__(self, index: int) -> dict[str, Any]:
        record = self.record(index)
        if "image" not in record:
            record["image"] = read_image(record["image_path"])
        record["brightness"] = np.mean(cv2.mean(record["image"])[:3])
        params = augment.IDENTITY
        if self.augment is not None:
            rng = np.random.default_rng([self.seed, int(self._epoch), index])
            params = augment.draw(rng, self.augment)
        sample = to_sample(augment.apply(record, params, self.size))
        check(sample, self.size)
        return sample


def nothing_known() -> dict[str, Any]:
    """The labels of a record of which nothing is known: what is known replaces them."""
    shapes = {"joints": (2, 21, 3), "pose": (2, 16, 3), "shape": (2, 10), "pivot": (2, 3)}
    shapes |= dict.fromkeys(("joints_valid", "joints_seen"), (2, 21))
    shapes |= dict.fromkeys(("pose_valid", "shape_valid", "root_depth", "root_depth_valid"), (2,))
    zeros = {key: np.zeros(shape, np.float32) for key, shape in shapes.items()}
    return zeros | {"human_annotated": False, "hand_type_valid": True}


def presence(hand_type: str) -> NDArray[np.float32]:
    """(2,) which hands a picture of this type shows."""
    return np.array([hand_type in (hand, "interacting") for hand in HANDS], np.float32)


def to_sample(record: dict[str, Any]) -> dict[str, Any]:
    """A cut-out record (data/augment.py) -> a sample: wrist-relative, masked, float32."""
    size = record["image"].shape[0]
    valid = record["joints_valid"] * record["joints_valid"][:, WRIST, None]  # (2,21) no wrist, no hand
    seen = record["joints_seen"] * record["joints_seen"][:, WRIST, None] * valid
    root_valid = valid[:, WRIST, None]  # (2,1)
    both = root_valid[RIGHT] * root_valid[LEFT]  # (1,)
    joints = np.where(valid[..., None] > 0, record["joints"], 0)
    root = joints[:, WRIST]  # (2,3)
    relative = (joints - root[:, None]) * valid[..., None]
    pixels, shown = project(joints, record["K"]), seen * (joints[..., 2] > 0)  # (2,21,2), (2,21)
    if "pixels" in record:
        pixels, shown = apply_affine(record["affine"], record["pixels"]), record["pixels_valid"]
    shown = shown * ((pixels >= 0) & (pixels <= size - 1)).all(-1)
    pose_valid = record["pose_valid"][:, None]  # (2,1)
    sample = {
        "joints_img": np.concatenate([pixels, relative[..., 2:]], -1) * shown[..., None],
        "joints_img_valid": shown[..., None],
        "joints_seen": seen[..., None],
        "joints_cam": relative,
        "joints_cam_valid": valid[..., None],
        "root_cam": root * root_valid,
        "root_cam_valid": root_valid,
        "rel_trans": (root[LEFT] - root[RIGHT]) * both,
        "rel_trans_valid": both,
        "pose": record["pose"] * pose_valid[..., None],
        "pose_valid": pose_valid[..., None],
        "shape": record["shape"] * pose_valid,  # kept where it is not trusted: the mesh needs it
        "shape_valid": record["shape_valid"][:, None],
        "pivot_cam": record["pivot"] * pose_valid,
        "root_depth": record["root_depth"] * record["root_depth_valid"],
        **_silhouettes(record, size),
    }
    sample = record | sample  # the rest is as it was
    keys = [*SHAPES, *(key for key in optional(size) if key in sample)]
    sample = {key: torch.from_numpy(np.asarray(sample[key], np.float32)) for key in keys}
    sample["img"] = torch.from_numpy(record["image"]).permute(2, 0, 1).float().div_(255)
    return sample | {key: record[key] for key in LISTS}


def optional(size: int) -> dict[str, tuple[int, ...]]:
    """Shapes of what only some data sets have."""
    return {"mesh_cam": (2, 778, 3), "silhouette": (2, size, size), "silhouette_valid": (2,)}


def _silhouettes(record: dict[str, Any], size: int) -> dict[str, NDArray]:
    if "outlines" not in record:
        return {}
    masks = np.zeros((2, size, size), np.uint8)
    for mask, outline in zip(masks, record["outlines"], strict=True):
        if len(outline):  # OpenCV takes whole sixteenths of a pixel
            corners = np.rint(16 * apply_affine(record["affine"], outline)).astype(np.int32)
            cv2.fillPoly(mask, [corners], 1, shift=4)
    drawn = [len(outline) > 0 for outline in record["outlines"]]
    return {"silhouette": masks, "silhouette_valid": np.array(drawn)}


def project(points: NDArray, K: NDArray) -> NDArray:
    """Pinhole projection of camera-frame points (..., 3) -> (..., 2); 0 behind the camera."""
    image = points @ K.T
    ahead = image[..., 2:] > 1e-6
    return np.where(ahead, image[..., :2] / np.where(ahead, image[..., 2:], 1), 0)


def check(sample: dict[str, Any], size: int) -> None:
    """Raise ValueError, naming the sample, where it breaks the contract."""
    name = sample.get("id", "without id")
    extra = {key: shape for key, shape in optional(size).items() if key in sample}
    expected = SHAPES | extra | {"img": (3, size, size)}
    if other := sample.keys() ^ (expected.keys() | LISTS.keys()):
        raise ValueError(f"sample {name}: keys differ: {other}")
    for key, shape in expected.items():
        value = sample[key]
        if value.dtype != torch.float32 or tuple(value.shape) != shape:
            raise ValueError(f"sample {name}: {key} is {value.dtype} {tuple(value.shape)}, not {shape}")
        if not torch.isfinite(value).all():
            raise ValueError(f"sample {name}: {key} is not finite")
    if wrong := [key for key, kind in LISTS.items() if not isinstance(sample[key], kind)]:
        raise ValueError(f"sample {name}: {wrong[0]} is no {LISTS[wrong[0]].__name__}")


def collate(samples: list[dict[str, Any]]) -> dict[str, Tensor | list]:
    """Samples -> a batch: tensors get a batch axis, everything else becomes a list."""
    batch = {key: [sample[key] for sample in samples] for key in samples[0]}
    return {key: torch.stack(rows) if torch.is_tensor(rows[0]) else rows for key, rows in batch.items()}
