"""A trained network that only predicts, made as fast as its device allows.

Everywhere: layers folded (folding.py), channels last. On a GPU also float16, with the weights cast once, and
a CUDA graph for each batch size, so that a forward is one launch instead of many hundreds.

Not bfloat16: it is no faster, and its 8 bits moved the vertices of the shipped network by 2 mm where float16
moves them by 0.2; of float16's range up to 65,504 that network uses 500.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from common.nets.attention_maps import predict_with_attention
from common.nets.folding import fold
from common.utils.geometry import IMAGE_SIZE

WARM_UP = 3  # forwards before a capture, in which libraries choose their kernels


def wants_half(amp: str, device: torch.device) -> bool:
    """What a setting "on", "off" or "auto" means on a device; auto: on GPUs."""
    return amp == "on" or (amp == "auto" and device.type == "cuda")


@dataclass(frozen=True)
class Captured:
    """A recorded forward of one batch size on a GPU: what is written into `image` is read from `pred`."""

    graph: torch.cuda.CUDAGraph
    image: Tensor  # (N,3,256,256)
    pred: dict[str, Tensor]


class Inference:
    """RGB (B,3,256,256) in [0,1] on any device -> the network's predictions, float32, on its own device.

    It takes the network over: folded in place, that can be neither trained nor saved any more.
    half: convolutions and matrix products in float16, by autocast. graphs: on a GPU, record the forward.
    """

    def __init__(
        self, network: nn.Module, device: torch.device | str, half: bool = False, graphs: bool = True
    ):
        self.device, self.half = torch.device(device), half
        self.graphs = graphs and self.device.type == "cuda"
        self.network = fold(network).to(self.device, memory_format=torch.channels_last)
        if half:
            self.cast_weights()
        self.captured: dict[int, Captured] = {}  # by batch size
        self.pool = torch.cuda.graph_pool_handle() if self.graphs else None

    @torch.inference_mode()
    def __call__(self, img: Tensor) -> dict[str, Tensor]:
        """One launch on a GPU, once a batch of this size has been seen."""
        if not self.graphs:
            return self._forward(img)
        with torch.cuda.device(self.device):
            return self._replay(img)

    @torch.inference_mode()
    def plain(self, img: Tensor, attention: bool = False) -> dict[str, Tensor]:
        """Layer by layer on every device; attention: with common/nets/attention_maps.py's."""
        return self._forward(img, attention)

    def _forward(self, img: Tensor, attention: bool = False) -> dict[str, Tensor]:
        img = img.to(self.device).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.float16, enabled=self.half, cache_enabled=False):
            pred = predict_with_attention(self.network, img) if attention else self.network(img)
        maps = {"attention": pred.pop("attention")} if attention else {}
        return {key: value.float() for key, value in pred.items()} | maps

    def _replay(self, img: Tensor) -> dict[str, Tensor]:
        """A batch is filled up to the next power of two, so that few graphs serve every size."""
        count = len(img)
        size = 1 << (count - 1).bit_length()
        if size not in self.captured:
            self.captured[size] = self._capture(size)
        captured = self.captured[size]
        captured.image[:count].copy_(img)
        captured.graph.replay()
        # the next replay of any graph writes over what this one gave
        return {key: value[:count].clone() for key, value in captured.pred.items()}

    def _capture(self, size: int) -> Captured:
        image = torch.zeros(size, 3, IMAGE_SIZE, IMAGE_SIZE, device=self.device)
        image = image.contiguous(memory_format=torch.channels_last)
        graph, aside = torch.cuda.CUDAGraph(), torch.cuda.Stream(self.device)
        searches = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = True  # shapes stay the same: the fastest convolutions are sought
        try:
            aside.wait_stream(torch.cuda.current_stream(self.device))
            with torch.cuda.stream(aside):
                for _ in range(WARM_UP):
                    self._forward(image)
            torch.cuda.current_stream(self.device).wait_stream(aside)
            # other threads of the process, as one that pins batches, may go on meanwhile
            with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
                pred = self._forward(image)
        finally:
            torch.backends.cudnn.benchmark = searches
        return Captured(graph, image, pred)

    @torch.no_grad()  # inference mode would hide the casts
    def cast_weights(self) -> None:
        """Cast, once, the weights that autocast would cast in every forward: the same bits."""
        watch = _Casts(self.network)
        with watch:
            self._forward(torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE))
        for parameter in watch.parameters():
            parameter.data = parameter.data.half()


class _Casts(TorchDispatchMode):
    """Notes which parameters of a network are copied in another precision."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.by_address = {parameter.data_ptr(): parameter for parameter in network.parameters()}
        self.seen: set[int] = set()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if operation is torch.ops.aten._to_copy.default:
            self.seen.add(args[0].data_ptr())
        return operation(*args, **(kwargs or {}))

    def parameters(self) -> list[nn.Parameter]:
        return [self.by_address[address] for address in self.seen & self.by_address.keys()]
