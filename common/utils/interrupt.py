"""A wish to stop: Ctrl-C or SIGTERM are noted, so that a run ends between two steps."""

import itertools
import signal
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """While it is entered, the first signal is noted in `number`, and the second one acts as ever.

    patient: later ones are noted too, for a process whose parent passes signals on that it got itself.
    """

    def __init__(self, patient: bool = False):
        self.patient = patient
        self.number: int | None = None
        self.before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        self.before = {number: signal.signal(number, self.note) for number in SIGNALS}
        return self

    def note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        if not self.patient:
            self.restore()

    def __exit__(self, *error: object) -> None:
        self.restore()

    def restore(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


def deaf_workers(batches: Iterable[Any]) -> Iterator[Any]:
    """Batches of a loader whose processes, which run before the first one comes, never hear of Ctrl-C: it
    reaches all of a terminal, but is for the process that they work for, which ends them."""
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # children keep it
    try:
        iterator = iter(batches)
        first = list(itertools.islice(iterator, 1))
    finally:
        signal.signal(signal.SIGINT, handler)
    yield from first
    yield from iterator
