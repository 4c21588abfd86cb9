"""The training step as one CUDA graph: a small network is bound by launching kernels, not by arithmetic."""

from collections.abc import Callable

import torch
from torch import Tensor

from common.training.step import Batch, TrainStep
from common.utils.dist import world_size
from common.utils.errors import UserError

PLAIN_STEPS = 3  # before the capture: libraries choose their kernels, the optimizer makes its state


class GraphedStep:
    """TrainStep, captured at the first batch after a few plain ones, then replayed on every batch of that
    shape; other shapes go the plain way. Predictions and batch that it returns hold until the next call.

    optional: go on plainly where the device refuses the capture, and `say` so.
    """

    def __init__(self, step: TrainStep, optional: bool, say: Callable[[str], None]):
        self.step, self.optional, self.say = step, optional, say
        self.stream = torch.cuda.Stream(step.device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.plain_steps = PLAIN_STEPS
        self.inputs: dict[str, Tensor] = {}

    def __call__(self, batch: Batch) -> tuple[Batch, Batch, Tensor]:
        if self.plain_steps:
            self.plain_steps -= 1
            return self.beside(batch)
        tensors = {key: value for key, value in batch.items() if isinstance(value, Tensor)}
        if not self.inputs:
            self.capture(tensors)
        if self.graph is None or any(self.inputs[key].shape != tensors[key].shape for key in self.inputs):
            return self.step(batch)
        for key, place in self.inputs.items():
            place.copy_(tensors[key], non_blocking=True)
        self.graph.replay()
        pred, targets, row = self.outputs
        return pred, {**batch, **targets}, row.clone()

    def beside(self, batch: Batch) -> tuple[Batch, Batch, Tensor]:
        """A plain step on a stream of its own, as a capture wants it."""
        main = torch.cuda.current_stream()
        self.stream.wait_stream(main)
        with torch.cuda.stream(self.stream):
            result = self.step(batch)
        main.wait_stream(self.stream)
        return result

    def capture(self, tensors: dict[str, Tensor]) -> None:
        """Record the step; nothing is computed yet."""
        device = self.step.device
        self.inputs = {key: torch.empty_like(value, device=device) for key, value in tensors.items()}
        graph = torch.cuda.CUDAGraph()
        try:
            # other threads of the process, which pin batches, may go on meanwhile
            with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                self.outputs = self.step(self.inputs)
        except RuntimeError as error:
            if not self.optional:
                raise
            self.say(f"no CUDA graph of the step, which goes on plainly: {str(error).splitlines()[0]}")
            return
        self.graph = graph


def wants_graph(cuda_graph: str, device: torch.device) -> bool:
    """Whether to try a CUDA graph; UserError where one is demanded that cannot be."""
    possible = device.type == "cuda" and world_size() == 1
    if cuda_graph == "on" and not possible:
        raise UserError("train.cuda_graph=on needs one process on a GPU: leave it at auto")
    return possible and cuda_graph != "off"
