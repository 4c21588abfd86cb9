"""Tensors of many layers as a few long ones, and averages of them."""

import torch
from torch import Tensor, nn


def share_storage(tensors: list[Tensor]) -> list[Tensor]:
    """Lay tensors side by side, one long tensor (N,) for each type -> the long ones.

    The tensors stay what they are to their modules, and become views: what is done to a long one is done
    to all of them at once.
    """
    by_type: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        by_type.setdefault(tensor.dtype, []).append(tensor)
    long = []
    for same in by_type.values():
        flat = torch.cat([tensor.detach().flatten() for tensor in same])
        places = flat.split([tensor.numel() for tensor in same])
        for tensor, place in zip(same, places, strict=True):
            tensor.data = place.view(tensor.shape)
        long.append(flat)
    return long


def kept_buffers(network: nn.Module) -> list[Tensor]:
    """The buffers that a state dict holds: BatchNorm's running statistics."""
    kept = network.state_dict(keep_vars=True)
    return [buffer for name, buffer in network.named_buffers() if name in kept]


class MovingAverage:
    """A copy of a network whose weights and statistics follow it slowly; counters are taken as they are.

    buffers: the network's, from `share_storage`.
    """

    def __init__(self, network: nn.Module, copy: nn.Module, buffers: list[Tensor]):
        self.network = copy.requires_grad_(False)
        own = share_storage(kept_buffers(copy))
        self.averages = [p.detach() for p in copy.parameters()]
        self.values = [p.detach() for p in network.parameters()]
        self.counters: list[tuple[Tensor, Tensor]] = []
        for average, value in zip(own, buffers, strict=True):
            if average.is_floating_point():
                self.averages.append(average)
                self.values.append(value)
            else:
                self.counters.append((average, value))

    @torch.no_grad()
    def update(self, share: Tensor) -> None:
        """Go so far (a scalar on the device, 0: not at all) from the averages to the network's weights."""
        step = torch._foreach_sub(self.values, self.averages)
        torch._foreach_mul_(step, share)
        torch._foreach_add_(self.averages, step)
        for average, value in self.counters:
            average.copy_(value)
