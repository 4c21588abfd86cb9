"""A wish to stop: Ctrl-C or SIGTERM are noted, so that a run ends between two steps."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """While it is entered, the first signal is noted in `number`, and the second one acts as ever.

    patient: later ones are noted too, for a process whose parent passes signals on that it got itself.
    react: called with the number of every noted signal.
    """

    def __init__(self, patient: bool = False, react: Callable[[int], None] | None = None):
        self.patient, self.react = patient, react
        self.number: int | None = None
        self.before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        self.before = {number: signal.signal(number, self.note) for number in SIGNALS}
        return self

    def note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        if self.react is not None:
            self.react(number)
        if not self.patient:
            self.restore()

    def __exit__(self, *error: object) -> None:
        self.restore()

    def restore(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


@contextmanager
def deaf_children() -> Iterator[None]:
    """Processes started inside never hear of Ctrl-C, which reaches all of a terminal: it is for the one that
    they work for, which ends them. Here it is heard afterwards. Windows cannot do that."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
