"""How long each stage of a program takes, as a table for its end."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median


class Stages:
    """Times by stage, in the order in which stages first came."""

    def __init__(self):
        self.milliseconds: dict[str, list[float]] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.milliseconds.setdefault(name, []).append(1000 * (time.perf_counter() - start))

    def table(self) -> str:
        """A line per stage: how often it ran, its median and its sum; "" where nothing ran."""
        if not self.milliseconds:
            return ""
        width = max(len(name) for name in self.milliseconds)
        lines = [f"{'stage':<{width}}  times  median ms  total s"]
        for name, values in self.milliseconds.items():
            total = sum(values) / 1000
            lines.append(f"{name:<{width}}  {len(values):>5}  {median(values):>9.1f}  {total:>7.2f}")
        return "\n".join(lines)
