"""From a map-style data set to batches: order, workers, resuming."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from common.utils.errors import UserError
from data.base import FAULTS, HandDataset


class EpochSampler(Sampler[int]):
    """The indices of one epoch on one of `world` ranks, as a function of (seed, epoch) alone.

    Shuffled epochs give every rank the same number of indices (the last few are dropped, others in
    each epoch); plain ones leave nothing out. `set_epoch(epoch, start)` starts after `start`
    indices, which resumes an epoch in its middle; the length stays that of the whole epoch.
    """

    def __init__(self, length: int, shuffle: bool, seed: int = 0, rank: int = 0, world: int = 1):
        self.total, self.shuffle, self.seed = length, shuffle, seed
        self.rank, self.world = rank, world
        self.epoch = self.start = 0

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        self.epoch, self.start = epoch, start

    def __len__(self) -> int:
        if self.shuffle:
            return self.total // self.world
        return len(range(self.rank, self.total, self.world))

    def __iter__(self) -> Iterator[int]:
        order = np.arange(self.total)
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(self.total)
        mine = order[self.rank :: self.world][: len(self)]
        return map(int, mine[self.start :])


class Faults:
    """Pictures that could not be read: each is said once; more of them than a share of all ends the run."""

    def __init__(self, total: int, share: float, log: Callable[[str], None]):
        self.total, self.share, self.log = total, share, log
        self.sentences: set[str] = set()  # each names its file

    def add(self, sentences: Sequence[str]) -> None:
        """Say those that are new; UserError where they are too many."""
        for sentence in sentences:
            if sentence in self.sentences:
                continue
            self.sentences.add(sentence)
            if len(self.sentences) > self.share * self.total:
                raise UserError(
                    f"{len(self.sentences):,} of {self.total:,} pictures cannot be read, more than the share "
                    f"{self.share:g}: mend them, or allow more by --set unreadable=SHARE; one is: {sentence}"
                )
            self.log(f"left out: {sentence}")


class EpochLoader(DataLoader):
    """A DataLoader whose `set_epoch(epoch, batch)` reaches the sampler and the augmentation.

    Pictures that cannot be read are counted, and are in no batch; a batch without any sample is passed over.
    """

    faults: Faults

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in super().__iter__():
            self.faults.add(batch.pop(FAULTS))
            if batch:
                yield batch

    def set_epoch(self, epoch: int, batch: int = 0) -> None:
        """Call before iterating an epoch; `batch` > 0 resumes it after so many batches."""
        self.sampler.set_epoch(epoch, batch * self.batch_size)
        self.dataset.set_epoch(epoch)

    def ids(self) -> list[str]:
        """Of the whole data set, whatever this process's share."""
        return self.dataset.ids()

    def select(self, ids: Sequence[str]) -> dict[str, Any]:
        """Some samples as one batch; they can be read."""
        index_of = {name: index for index, name in enumerate(self.ids())}
        batch = self.dataset.batch([index_of[name] for name in ids])
        self.faults.add(batch.pop(FAULTS))
        return batch

    def notes(self) -> list[str]:
        """What a reader of results should know of the data, and how much could not be read so far."""
        count = len(self.faults.sentences)
        unread = [f"pictures that cannot be read, left out: {count:,} of {self.faults.total:,}"]
        return self.dataset.notes() + (unread if count else [])

    def strata(self) -> dict[str, list[str]]:
        """Groups of samples that results are given for, {name: ids}."""
        return self.dataset.strata()


def build_loader(
    dataset: HandDataset,
    batch_size: int,
    workers: int = 0,
    training: bool = False,
    seed: int = 0,
    rank: int = 0,
    world: int = 1,
    unreadable: float = 0.01,
    log: Callable[[str], None] = print,
    spread: int | None = None,
) -> EpochLoader:
    """Batches of a map-style data set, on the CPU, pinned where there is a GPU; at most as many workers
    as there are cores, which the processes of a machine share.

    Training shuffles and drops the last broken batch; otherwise the order is that of the data set
    and nothing is left out but pictures that cannot be read: where they are more than the share `unreadable`
    of this process's samples, iterating raises UserError.
    spread: only so many samples, evenly spread over the data set, the same in every epoch.
    """
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", world))  # of this machine; torchrun says so
    workers = min(workers, max(1, available_cores() // processes))
    sampler = EpochSampler(len(dataset), training, seed, rank, world)
    if spread is not None:
        sampler = _evenly(len(dataset), spread)[rank::world]
    loader = EpochLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=_as_it_is,
        pin_memory=torch.cuda.is_available(),
        drop_last=training and len(sampler) >= batch_size,  # a handful of pictures is one batch
        persistent_workers=workers > 0,
        worker_init_fn=_one_thread,
    )
    loader.faults = Faults(len(sampler), unreadable, log)
    return loader


def _evenly(length: int, count: int) -> list[int]:
    """At most `count` indices below `length`, from the first to the last."""
    return np.unique(np.linspace(0, length - 1, count).round().astype(int)).tolist()


def _as_it_is(batch: dict[str, Any]) -> dict[str, Any]:
    """The data set makes whole batches: there is nothing to collate."""
    return batch


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux: containers and schedulers may give fewer
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _one_thread(worker: int) -> None:
    """A worker is one thread; OpenCV and torch would each start one per core."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


class RepeatedBatches:
    """The batches of a loader, drawn once and repeated: for overfitting runs."""

    def __init__(self, loader: Iterable[dict[str, Any]], repeats: int = 64):
        self.batches, self.repeats, self.start = list(loader), repeats, 0

    def __len__(self) -> int:
        return len(self.batches) * self.repeats

    def set_epoch(self, epoch: int, batch: int = 0) -> None:
        """The same batches in every epoch; `batch` > 0 resumes it after so many of them."""
        self.start = batch

    def __iter__(self):
        for number in range(self.start, len(self)):
            yield self.batches[number % len(self.batches)]
