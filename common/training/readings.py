"""What a step says of itself, once it has been read: numbers by name, and means of them."""

import math
from dataclasses import dataclass
from typing import Any

NORM = "gradient_norm"

Values = dict[str, float | None]  # None: nothing was measured


@dataclass(frozen=True)
class Reading:
    """One step: its losses and the norm of its gradient before clipping."""

    values: Values
    stop: bool  # a process wants to stop
    bad: bool  # this step or an earlier one was not finite

    @classmethod
    def of(cls, names: list[str], row: list[float]) -> "Reading":
        """From the row of TrainStep.learn."""
        means, counts, (stop, norm, bad) = row[: len(names)], row[len(names) : -3], row[-3:]
        values: Values = {}
        for name, mean, count in zip(names, means, counts, strict=True):
            values[name] = mean if count else None
        values[NORM] = norm
        return cls(values, stop > 0, bad > 0)

    def culprit(self) -> str:
        """What is not finite, in words."""
        bad = [name for name, value in self.values.items() if value is not None and not math.isfinite(value)]
        losses = [name for name in bad if name != NORM]
        return f"the loss {', '.join(losses)}" if losses else "the gradient"


class Means:
    """Means by name over the steps that measured it."""

    def __init__(self, sums: dict[str, list[float]] | None = None):
        self.sums = {name: list(entry) for name, entry in (sums or {}).items()}  # name: sum, number

    def add(self, values: Values) -> None:
        for name, value in values.items():
            entry = self.sums.setdefault(name, [0.0, 0])
            if value is not None and math.isfinite(value):  # a gradient may overflow in float16
                entry[0] += value
                entry[1] += 1

    def values(self) -> Values:
        return {name: total / number if number else None for name, (total, number) in self.sums.items()}


def in_words(values: dict[str, Any]) -> str:
    """For a line of the log; "-" where nothing was measured."""
    return " ".join(f"{name} {'-' if value is None else f'{value:.3f}'}" for name, value in values.items())
