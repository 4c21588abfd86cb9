"""How long a run still takes, from the pace of the steps it has made, and what it waits for."""

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

WARM_UP = 2  # steps that do not count: caches fill and kernels are chosen
FORECAST = 5  # steps measured before the whole run is foretold
LONG = 2 * 3600  # seconds; a run on a CPU that takes longer is pointed to the small network


class Progress:
    """Counts a run's steps and their time.

    steps: of the whole run; done: of those, made before (a continued run). The pace is the mean over all
    steps of this process but the first few, so snapshots and pictures are in it.
    """

    def __init__(self, steps: int, done: int = 0, clock: Callable[[], float] = time.perf_counter):
        self.steps, self.done, self.clock = steps, done, clock
        self.timed, self.start = -WARM_UP, 0.0  # steps since the clock was started

    def step(self) -> None:
        """Call after each step."""
        self.done += 1
        self.timed += 1
        if self.timed == 0:
            self.start = self.clock()

    def seconds_left(self) -> float | None:
        """None before a step has been timed."""
        if self.timed < 1:
            return None
        pace = (self.clock() - self.start) / self.timed
        return pace * (self.steps - self.done)

    def line(self, lr: float) -> str:
        """`2 h 13 min left, lr 3.1e-04, 15:42`."""
        seconds = self.seconds_left()
        left = "time left unknown" if seconds is None else f"{duration(seconds)} left"
        return f"{left}, lr {lr:.1e}, {datetime.now():%H:%M}"

    def forecast(self, device: str) -> str:
        """How long the run takes, once, after the first steps; else "". device: "cpu" or "cuda"."""
        if self.timed != FORECAST:
            return ""
        seconds = self.seconds_left()
        text = f"about {duration(seconds)} for the {self.steps - self.done:,} steps left on this {device}"
        if device == "cpu" and seconds > LONG:
            text += "; for a network that a CPU trains in minutes: --preset quick"
        return text


class Waiting:
    """Passes batches on, and knows what share of the time went by in waiting for them."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self.clock, self.seconds, self.since = clock, 0.0, clock()

    def each(self, batches: Iterable[Any]) -> Iterator[Any]:
        asked = self.clock()
        for batch in batches:
            self.seconds += self.clock() - asked
            yield batch
            asked = self.clock()

    def share(self) -> float:
        """Of the time since this was last asked, or since the start."""
        now = self.clock()
        share = self.seconds / max(now - self.since, 1e-9)
        self.seconds, self.since = 0.0, now
        return share


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `2 h 13 min`, `3 d 4 h`."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if hours < 48:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"
