"""What an optimizer is told of a run: which parameters decay, how the rate goes, how weights are averaged."""

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices and filters decay; biases, normalisation and embeddings of one axis do not."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]


def moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """One step of the average of a weight: it forgets faster at first, so that nothing is left of the start.
    Counters are taken as they are."""

    def step(average: Tensor, value: Tensor, steps: Tensor) -> Tensor:
        if not average.is_floating_point():
            return value
        keep = ((1 + steps) / (10 + steps)).clamp(max=decay)
        return average.lerp(value, 1 - keep)

    return step


def warmup_cosine(steps: int, warmup: float) -> Callable[[int], float]:
    """Factor of the learning rate at a step: linear rise over the first part, cosine fall to 1 %."""
    rise = max(1, round(steps * warmup))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        progress = min(1.0, (step - rise) / max(1, steps - rise))
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))

    return factor
