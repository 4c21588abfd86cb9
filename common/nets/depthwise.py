"""Depthwise convolutions that learn as fast on a CPU as their arithmetic allows.

There the gradient of the weights of a 5x5 one takes twelve times the forward, and in bfloat16 far more. So
they stay in float32, and their weights learn as four overlapping 3x3 ones, which are fast.
"""

import torch
from timm.layers import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

SMALL = 3  # taps a side of the convolutions whose weights learn fast


class DepthwiseConv2d(nn.Conv2d):
    """Another one's weights under the same names; predictions and gradients are the same up to rounding."""

    def __init__(self, conv: nn.Conv2d):
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,
            conv.stride,
            conv.padding,
            groups=conv.groups,
            bias=False,
        )
        self.weight = conv.weight
        self.pads_same = isinstance(conv, Conv2dSame)  # as TensorFlow does: unevenly, by the picture's size

    def forward(self, x: Tensor) -> Tensor:
        if self.pads_same:
            x = pad_same(x, self.kernel_size, self.stride)
        learns = torch.is_grad_enabled() and self.weight.requires_grad
        if x.device.type != "cpu" or not learns:
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return _Convolution.apply(x.to(self.weight.dtype), self.weight, self.stride[0], self.padding[0])


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, stride=stride, padding=padding, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        x, weight = ctx.saved_tensors
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = _gradients(gradient, x, weight, ctx.stride, ctx.padding, (True, False, False))[0]
        padded = F.pad(x, (ctx.padding,) * 4)
        of_weight = torch.empty_like(weight)
        span = [SMALL + ctx.stride * (length - 1) for length in gradient.shape[2:]]  # that small weights see
        for rows in corners(weight.shape[2]):
            for columns in corners(weight.shape[3]):
                seen = padded[:, :, rows : rows + span[0], columns : columns + span[1]]
                taps = (..., slice(rows, rows + SMALL), slice(columns, columns + SMALL))
                small = _gradients(gradient, seen, weight[taps], ctx.stride, 0, (False, True, False))[1]
                of_weight[taps] = small
        return of_x, of_weight, None, None


def _gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, wanted: tuple[bool, bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """Of x, weight and bias, those that are wanted. torch.nn.grad would lose the memory format on the way."""
    geometry = [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], len(weight)
    return torch.ops.aten.convolution_backward(gradient, x, weight, None, *geometry, wanted)


def corners(taps: int) -> list[int]:
    """Where small pieces begin that cover so many taps."""
    return [min(start, taps - SMALL) for start in range(0, taps, SMALL)]


def quicken_depthwise(net: nn.Module) -> None:
    """Put DepthwiseConv2d in the place of each depthwise convolution it can stand for."""
    for parent in list(net.modules()):
        for name, conv in list(parent.named_children()):
            if isinstance(conv, nn.Conv2d) and is_depthwise(conv):
                setattr(parent, name, DepthwiseConv2d(conv))


def is_depthwise(conv: nn.Conv2d) -> bool:
    """With one input a channel, square, undilated, without a bias, of 3 taps a side or more."""
    taps, stride, padding = conv.kernel_size, conv.stride, conv.padding
    square = taps[0] == taps[1] >= SMALL and stride[0] == stride[1] and not isinstance(padding, str)
    alone = conv.groups == conv.in_channels == conv.out_channels > 1
    return square and alone and padding[0] == padding[1] and conv.dilation == (1, 1) and conv.bias is None
