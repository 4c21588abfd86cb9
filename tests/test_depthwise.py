"""Depthwise convolutions that learn on a CPU, against autograd through the plain ones."""

import copy

import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn

from common.nets.backbone import build_backbone
from common.nets.depthwise import DepthwiseConv2d, quicken_depthwise


def results(conv: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Output, and the gradients of a random but fixed sum of it."""
    x = x.clone().requires_grad_()
    out = conv(x)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
    return [out, *torch.autograd.grad((out * weights).sum(), [x, conv.weight])]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("taps", [3, 5, 7])
@pytest.mark.parametrize("kind", [nn.Conv2d, Conv2dSame])
def test_output_and_gradients_are_the_plain_ones(kind, taps, stride):
    torch.manual_seed(0)
    conv = kind(6, 6, taps, stride, taps // 2, groups=6, bias=False).double()
    x = torch.randn(2, 6, 11, 14, dtype=torch.float64)
    for plain, ours in zip(results(conv, x), results(DepthwiseConv2d(conv), x), strict=True):
        torch.testing.assert_close(ours, plain)


def test_autocast_leaves_it_in_float32():
    conv = DepthwiseConv2d(nn.Conv2d(4, 4, 5, padding=2, groups=4, bias=False))
    x = torch.randn(1, 4, 9, 9)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = results(conv, x)
    for one, other in zip(mixed, results(conv, x), strict=True):
        assert torch.equal(one, other)


def test_only_depthwise_convolutions_are_replaced():
    plain = nn.Conv2d(4, 4, 3, bias=False)
    grouped = nn.Conv2d(4, 8, 3, groups=4, bias=False)
    biased = nn.Conv2d(4, 4, 3, groups=4)
    depthwise = nn.Conv2d(4, 4, 3, groups=4, bias=False)
    net = nn.Sequential(plain, nn.Sequential(grouped, biased), depthwise)
    state = copy.deepcopy(net.state_dict())
    quicken_depthwise(net)
    assert [type(m) for m in net.modules() if isinstance(m, nn.Conv2d)] == [*[nn.Conv2d] * 3, DepthwiseConv2d]
    assert net.state_dict().keys() == state.keys()
    assert net[2].weight is depthwise.weight


def test_a_backbone_learns_through_them():
    backbone = build_backbone("efficientnet_lite0", "none", frozen=4)
    kinds = [module for module in backbone.net.modules() if isinstance(module, DepthwiseConv2d)]
    assert len(kinds) == 16
    backbone.train()
    last, _ = backbone(torch.rand(2, 3, 256, 256))
    last.sum().backward()
    learning = [module.weight for module in kinds if module.weight.requires_grad]
    assert 0 < len(learning) < 16
    assert all(weight.grad is not None and weight.grad.any() for weight in learning)
