"""Which snapshots a run writes and keeps."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.utils.checkpoint import save_snapshot, snapshot_path, snapshots


class Snapshots:
    """The snapshots in a run's model_dump/: one at the end of every epoch, and every so many minutes inside.

    Kept are the last `keep` ends of epochs, the best one (by the mean MPVPE of its training pictures), and of
    the epoch under way the last `keep`.
    minutes: between two snapshots; 0: only at the ends of epochs.
    """

    def __init__(self, folder: Path, minutes: float, keep: int, clock: Callable[[], float] = time.monotonic):
        self.folder, self.seconds, self.keep, self.clock = folder, 60 * minutes, keep, clock
        self.written = clock()

    def due(self) -> bool:
        """Whether the last one, or the start, was so long ago."""
        return self.seconds > 0 and self.clock() - self.written >= self.seconds

    def write(self, state: dict[str, Any], epoch: int, batches: int | None, best: int | None) -> Path:
        """Write, then delete what is no longer kept. batches: None at the end of the epoch; best: epoch."""
        path = snapshot_path(self.folder, epoch, batches)
        save_snapshot(state, path)
        self.written = self.clock()
        self.prune(best)
        return path

    def leave_behind(self, start: Path) -> None:
        """A run goes on from `start`: newer ones, which could not be read, are renamed out of the way."""
        places = [snapshot_path(self.folder, *place) for place in snapshots(self.folder)]
        for newer in places[places.index(start) + 1 :]:
            newer.replace(newer.with_suffix(".damaged"))

    def prune(self, best: int | None) -> None:
        for partial in self.folder.glob("*.partial"):  # of a process that was killed
            partial.unlink(missing_ok=True)
        places = snapshots(self.folder)
        ends = [place for place in places if place[1] is None]
        under_way = [place for place in places if place[1] is not None and place[0] == places[-1][0]]
        inside = [] if places[-1][1] is None else under_way
        kept = {*ends[-self.keep :], *inside[-self.keep :], (best, None)}
        for place in places:
            if place not in kept:
                snapshot_path(self.folder, *place).unlink(missing_ok=True)
