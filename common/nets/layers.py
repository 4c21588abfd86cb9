"""Building blocks shared by the stages: per-hand containers and attention blocks.

Shapes: B batch, 2 hands (right, left), N and M tokens, C channels.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PerHand(nn.Module):
    """One module for each hand with weights of its own, run on the hand axis (dim 1)."""

    def __init__(self, make: Callable[[], nn.Module], count: int = 2):
        super().__init__()
        self.hands = nn.ModuleList([make() for _ in range(count)])

    def forward(self, *inputs: Tensor) -> Tensor:  # each (B,2,...) -> (B,2,...)
        return torch.stack([module(*(x[:, h] for x in inputs)) for h, module in enumerate(self.hands)], dim=1)


def fold_hands(module: nn.Module, x: Tensor) -> Tensor:
    """Run a module whose weights both hands share: (B,2,...) -> (B,2,...)."""
    return module(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scaled dot-product attention of (...,N,C), (...,M,C), (...,M,C) -> (...,N,C).

    In float32 on a CPU, whose bfloat16 kernel takes five times as long to learn.
    """
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v)
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(q.float(), k.float(), v.float())


class MLP(nn.Sequential):
    """Two linear layers; the paper's own has nothing between them (Algorithm 1, lines 13-15)."""

    def __init__(self, channels: int, activation: type[nn.Module] | None = nn.GELU, bias: bool = True):
        middle = [] if activation is None else [activation()]
        wide = 4 * channels
        super().__init__(nn.Linear(channels, wide, bias), *middle, nn.Linear(wide, channels, bias))


class PlainAttention(nn.Module):
    """Attention as in LGNet's Algorithm 1: one head, no normalisation, no activation in the MLP.

    a = softmax(q k^T / sqrt(C)) v + x;  out = MLP(a) + a.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(channels, channels) for _ in range(3))
        self.mlp = MLP(channels, activation=None)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:  # (B,N,C), (B,M,C) -> (B,N,C)
        a = attend(self.q(x), self.k(context), self.v(context)) + x
        return self.mlp(a) + a


class PreNormAttention(nn.Module):
    """Transformer block with LayerNorm before attention and MLP, several heads and GELU.

    bias: of q, k, v and the MLP (EANet has none).
    """

    def __init__(self, channels: int, heads: int = 4, bias: bool = True):
        super().__init__()
        self.heads = heads
        self.norm_x, self.norm_context, self.norm_mlp = (nn.LayerNorm(channels) for _ in range(3))
        self.q, self.k, self.v = (nn.Linear(channels, channels, bias) for _ in range(3))
        self.out = nn.Linear(channels, channels)
        self.mlp = MLP(channels, bias=bias)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:  # (B,N,C), (B,M,C) -> (B,N,C)
        normed = self.norm_context(context)
        q, k, v = self.q(self.norm_x(x)), self.k(normed), self.v(normed)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        x = x + self.out(attend(q, k, v).transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm_mlp(x))


class SelfAttention(nn.Module):
    """Pre-norm transformer block on one set of tokens; bias: of q, k and v (EANet has none)."""

    def __init__(self, channels: int, heads: int = 4, bias: bool = True):
        super().__init__()
        self.heads = heads
        self.norm_x, self.norm_mlp = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.qkv, self.out = nn.Linear(channels, 3 * channels, bias), nn.Linear(channels, channels)
        self.mlp = MLP(channels)

    def forward(self, x: Tensor) -> Tensor:  # (B,N,C)
        qkv = self.qkv(self.norm_x(x)).unflatten(-1, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B,heads,N,C/heads)
        x = x + self.out(attend(q, k, v).transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm_mlp(x))
