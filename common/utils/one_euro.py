"""The One-Euro filter (Casiez, Roussel and Vogel, CHI 2012): steady when slow, prompt when fast."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass
class OneEuro:
    """Filters one array over time; every number has a speed and a cutoff of its own.

    slowest: cutoff in Hz at rest, lower is steadier; beta: Hz more per unit and second, higher is prompter.
    """

    slowest: float
    beta: float
    speed_cutoff: float = 1.0  # Hz
    value: NDArray | None = None
    speed: NDArray | None = None
    time: float = 0.0

    def __call__(self, value: NDArray, time: float) -> NDArray:
        """The next value, seen at a time in seconds that is later than the last -> the filtered one."""
        if self.value is None:
            self.value, self.speed, self.time = value, np.zeros_like(value), time
            return value
        step = max(time - self.time, 1e-6)
        weight = _weight(self.speed_cutoff, step)
        self.speed = weight * (value - self.value) / step + (1 - weight) * self.speed
        weight = _weight(self.slowest + self.beta * np.abs(self.speed), step)
        self.value, self.time = weight * value + (1 - weight) * self.value, time
        return self.value


def _weight(cutoff: NDArray | float, step: float) -> NDArray | float:
    """Of the new value in a first-order low-pass filter."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff * step))
