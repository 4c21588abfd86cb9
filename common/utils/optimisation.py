"""What an optimizer is told of a run: which parameters learn and decay, how the rate goes, how weights are
averaged, how losses are scaled."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from common.utils.geometry import IMAGE_SIZE


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices and filters decay; biases, normalisation and embeddings of one axis do not."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]


def moving_average(decay: float) -> Callable[[int], float]:
    """How far the average of the weights goes towards them in a step, counted from 0: it forgets faster at
    first, so that nothing is left of the start."""

    def share(step: int) -> float:
        return 1 - min(decay, (1 + step) / (10 + step)) if step else 1.0

    return share


def warmup_cosine(steps: int, warmup: float) -> Callable[[int], float]:
    """Factor of the learning rate at a step: linear rise over the first part, cosine fall to 1 %."""
    rise = max(1, round(steps * warmup))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        progress = min(1.0, (step - rise) / max(1, steps - rise))
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))

    return factor


class LossScale:
    """What float16 losses are multiplied with, so that small gradients are not lost: half as much after a
    step whose gradient overflowed, twice as much after many that did not. Scalars on the device."""

    PATIENCE = 2000  # steps

    def __init__(self, device: torch.device):
        self.state = torch.tensor([65536.0, 0.0], device=device)
        self.value, self.calm = self.state.unbind()  # the scale, steps since it last changed

    def take_out(self, parameters: Iterable[nn.Parameter]) -> None:
        """Gradients as if there were no scale."""
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.div_(self.value)

    def is_least(self) -> Tensor:
        """Whether halving it does not help any more."""
        return self.value <= 1

    def adapt(self, finite: Tensor) -> None:
        """After a step whose gradient was finite or not."""
        calm = torch.where(finite, self.calm + 1, 0)
        doubled = torch.where(calm >= self.PATIENCE, 2 * self.value, self.value)
        self.value.copy_(torch.where(finite, doubled, (self.value / 2).clamp_min(1)))
        self.calm.copy_(torch.where(calm >= self.PATIENCE, 0, calm))


def freeze_unread(network: nn.Module, read: set[str]) -> int:
    """Freeze what none of the predictions `read` depends on, and count it.

    A parameter without a gradient would stop DistributedDataParallel, and be decayed by the optimizer.
    """
    device = next(network.parameters()).device
    training = network.training
    network.eval()  # leaves no trace in running statistics
    pred = network(torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE, device=device))
    torch.stack([pred[key].sum() for key in read if key in pred]).sum().backward()
    unread = [p for p in network.parameters() if p.requires_grad and p.grad is None]
    for parameter in unread:
        parameter.requires_grad_(False)
    network.zero_grad(set_to_none=True)
    network.train(training)
    return sum(parameter.numel() for parameter in unread)
