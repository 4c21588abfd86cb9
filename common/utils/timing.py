"""How long things take: medians and spread of several rounds, on any device."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch

WARM_UP = 3  # rounds that are not timed


class Spread(NamedTuple):
    """Of several measurements: the median, and the quartiles about it."""

    median: float
    low: float
    high: float

    def inverse(self, of: float = 1.0) -> "Spread":
        """Seconds -> so many a second."""
        return Spread(of / self.median, of / self.high, of / self.low)

    def times(self, factor: float) -> "Spread":
        return Spread(*(factor * value for value in self))


def spread(values: list[float]) -> Spread:
    if len(values) == 1:
        return Spread(*3 * values)
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(statistics.median(values), low, high)


def wait_for(device: torch.device) -> None:
    """Until all that was asked of it is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_each(
    calls: Mapping[str, Callable[[], object]], device: torch.device, rounds: int, repeats: int = 1
) -> dict[str, Spread]:
    """Seconds of one call of each, run in turn so that a drifting machine is fair to all.

    repeats: calls in a row before the device is waited for, as a loop over batches makes them.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(WARM_UP + rounds):
        for name, call in calls.items():
            wait_for(device)
            start = time.perf_counter()
            for _ in range(repeats):
                call()
            wait_for(device)
            if number >= WARM_UP:
                times[name].append((time.perf_counter() - start) / repeats)
    return {name: spread(values) for name, values in times.items()}
