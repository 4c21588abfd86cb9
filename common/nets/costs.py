"""What a network costs: parameters, multiply-adds, memory kept for the backward pass."""

from collections import Counter

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.module_tracker import ModuleTracker


def parameters(module: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for p in module.parameters())


@torch.no_grad()
def multiply_adds(model: nn.Module, images: Tensor) -> dict[str, int]:
    """Of one forward in eval mode, by module name; "" is the whole.

    Convolutions, matrix products and attentions count; what lies between them does not.
    """
    # the fused attentions of some devices have no count, plain matrix products always have
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.eval()(images)
    flops = {name: sum(operations.values()) for name, operations in counter.get_flop_counts().items()}
    return _named_from_below(model, {name: count // 2 for name, count in flops.items()})


def kept_bytes(model: nn.Module, images: Tensor) -> dict[str, int]:
    """Bytes that a forward in training mode keeps for the backward pass, by module name; "" is the whole.

    A tensor counts once, for the module that first keeps it; parameters and buffers do not count.
    """
    weights = [*model.parameters(), *model.buffers()]
    counted = {tensor.untyped_storage().data_ptr(): None for tensor in weights}
    sums: Counter[str] = Counter()

    def keep(tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage.data_ptr() in counted:
            return
        counted[storage.data_ptr()] = storage  # alive, so that no other tensor gets its address
        for name in tracker.parents:
            sums[name] += storage.nbytes()

    with ModuleTracker() as tracker, torch.autograd.graph.saved_tensors_hooks(keep, lambda nothing: nothing):
        model.train()(images)
    return _named_from_below(model, sums)


def _named_from_below(model: nn.Module, counts: dict[str, int]) -> dict[str, int]:
    """Torch's trackers begin names with the class of the network; ours begin below it."""
    root = type(model).__name__
    named = {}
    for name, _ in model.named_modules():
        full_name = f"{root}.{name}" if name else root
        named[name] = counts.get(full_name, 0)
    return named
