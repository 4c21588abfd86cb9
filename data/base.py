"""The raw record and sample of every data set, and the map-style base class that makes batches of them.

A data set knows its files and gives raw records; the base reads the pictures, augments, makes a batch and
checks it. What is derived from the raw facts is derived in common/targets.py, whose tables say what each key
means.

A raw record is a dict; numpy, metres, camera of the original picture, hands (right, left), 21 joints
wrist first. Where a validity is 0 the value may be anything finite.
  id str; hand_type "right" | "left" | "interacting"; human_annotated bool; hand_type_valid bool
  image_path, or image (H,W,3) uint8 RGB
  where `content` gives but a part of a picture: corner (2,) its first pixel, brightness of the whole picture
  K_orig (3,3); image_size (2,) width, height; box (4,) square, in pixels
  joints (2,21,3), joints_valid (2,21); in_picture (2,21) annotated and inside the original picture
  pose (2,16,3), shape (2,10), pivot_cam (2,3) of the MANO fit; pose_valid, shape_valid (2,)
  root_depth, root_depth_valid (2,) RootNet; present (2,)
Where a data set has them, also:
  mesh_cam (2,778,3) true vertices, which replace those of pose and shape
  pixels (2,21,2), pixels_valid (2,21) annotated in the picture, where there are no joints in 3-D
  outlines: list of the right and left polygon (N,2) in the picture, N = 0 where the hand is not outlined

Records of several samples together, and batches, are described in data/batch.py.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from common.hand.joints import HANDS
from common.utils.errors import UserError
from data import augment
from data.augment import AugmentSettings
from data.batch import Batch, Records, content_of_file, stacked, to_batch

# Beyond the contract: sentences on pictures that could not be read; the loader takes them out.
FAULTS = "faults"
TRIES = 16  # other samples that are tried in place of one whose picture cannot be read


class HandDataset(Dataset, ABC):
    """A map-style data set; subclasses write `record`, `ids` and `__len__`, and `records` where one by one
    is too slow.

    augment: how to augment, None for the plain crop. The augmentation of a sample depends on
    (seed, epoch, index) alone, so a resumed run sees what an unbroken one would have seen. A sample whose
    picture cannot be read is replaced by another where samples are augmented, else left out.
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
        """The raw record of a sample (see the module's docstring); with `image`, its picture is not read.

        UserError where the record needs a picture that cannot be read.
        """

    @abstractmethod
    def ids(self) -> list[str]:
        """The id of every sample, in order; reads no picture."""

    def notes(self) -> list[str]:
        """What a reader of results should know of these data; nothing by default."""
        return []

    def strata(self) -> dict[str, list[str]]:
        """Groups of samples that results are given for, {name: ids}; none by default."""
        return {}

    def records(self, indices: Sequence[int]) -> tuple[Records, list[int], list[str]]:
        """The records of some samples together; which of the places in `indices` they have, and a sentence on
        each of the others."""
        found, places, faults = [], [], []
        for place, index in enumerate(indices):
            try:
                found.append(self.record(index))
                places.append(place)
            except UserError as error:
                faults.append(str(error))
        return stacked(found), places, faults

    def content(self, records: Records, row: int) -> NDArray[np.uint8]:
        """The bytes of a picture; UserError, naming it, where there are none."""
        return content_of_file(records, row)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """What torch's loader asks for a batch by: the batch itself."""
        return self.batch(indices)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One sample; UserError where its picture cannot be read."""
        batch, _, faults = self._attempt([index])
        if faults:
            raise UserError(faults[0])
        return {key: rows[0] for key, rows in batch.items()}

    def batch(self, indices: Sequence[int]) -> Batch:
        """Some samples together, with FAULTS of those that could not be read."""
        batch, places, faults = self._attempt(indices)
        if faults and self.augment is not None:
            batch, more = self._filled_up(batch, indices, places)
            faults += more
        batch[FAULTS] = faults
        return batch

    def _filled_up(self, batch: Batch, indices: Sequence[int], places: list[int]) -> tuple[Batch, list[str]]:
        """The batch with other samples in place of those it lacks, and sentences on those that failed too."""
        faults = []
        lacking = [index for place, index in enumerate(indices) if place not in set(places)]
        for attempt in range(TRIES):
            if not lacking:
                break
            others = [int(self._chance(index, 1, attempt).integers(len(self))) for index in lacking]
            more, found, said = self._attempt(others)
            batch = {key: _joined(rows, more[key]) for key, rows in batch.items()} if batch else more
            lacking = [index for place, index in enumerate(lacking) if place not in set(found)]
            faults += said
        return batch, faults

    def _chance(self, index: int, *more: int) -> np.random.Generator:
        """Numbers of chance that belong to a sample in this epoch."""
        return np.random.default_rng([self.seed, int(self._epoch), index, *more])

    def _attempt(self, indices: Sequence[int]) -> tuple[Batch, list[int], list[str]]:
        """The samples that can be read as a batch, their places in `indices`, sentences on the others; an
        empty batch of none."""
        records, places, faults = self.records(indices)
        throws = [augment.IDENTITY] * len(places)
        if self.augment is not None:
            throws = [augment.draw(self._chance(indices[place]), self.augment) for place in places]
        if not places:
            return {}, places, faults
        batch, readable, more = to_batch(records, throws, self.augment is not None, self.content)
        return batch, [places[row] for row in readable], faults + more


def _joined(rows: list | torch.Tensor, more: list | torch.Tensor) -> list | torch.Tensor:
    return rows + more if isinstance(rows, list) else torch.cat([rows, more])


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
