"""Building blocks shared by the stages: per-hand containers, attention blocks, graph convolutions.

Shapes: B batch, 2 hands (right, left), N tokens or graph nodes, C channels.
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
        a = F.scaled_dot_product_attention(self.q(x), self.k(context), self.v(context)) + x
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
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
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
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm_mlp(x))


class _NeighbourSum(torch.autograd.Function):
    """Sum of each node's neighbours; the graph is undirected, so the gradient is the same sum."""

    @staticmethod
    def forward(x: Tensor, neighbours: Tensor) -> Tensor:
        rows = F.pad(x, (0, 0, 0, 1)).index_select(1, neighbours.flatten())
        return rows.unflatten(1, neighbours.shape).sum(2)

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return _NeighbourSum.apply(gradient, *ctx.saved_tensors), None


class Graph(nn.Module):
    """An undirected graph as a padded table of neighbours (N,K); entry N means none."""

    def __init__(self, edges: Tensor, nodes: int):
        super().__init__()
        both = torch.cat([edges, edges.flip(1)]).unique(dim=0)
        lists = [both[both[:, 0] == node, 1] for node in range(nodes)]
        table = nn.utils.rnn.pad_sequence(lists, batch_first=True, padding_value=nodes)
        degree = torch.tensor([len(entry) for entry in lists], dtype=torch.float32)
        self.register_buffer("neighbours", table, persistent=False)
        self.register_buffer("inverse_root", degree.rsqrt()[:, None], persistent=False)  # (N,1)

    def sum(self, x: Tensor) -> Tensor:  # (B,N,C): A x
        return _NeighbourSum.apply(x, self.neighbours)

    def laplacian(self, x: Tensor) -> Tensor:
        """Normalised Laplacian scaled to [-1, 1] for largest eigenvalue 2: -D^-1/2 A D^-1/2 x."""
        return -self.inverse_root * self.sum(self.inverse_root * x)


def grid_graph(side: int) -> Graph:
    """The cells of a side x side map, row-major, joined to their 8 neighbours."""
    index = torch.arange(side * side).view(side, side)
    pairs = [
        (index[:, :-1], index[:, 1:]),
        (index[:-1], index[1:]),
        (index[:-1, :-1], index[1:, 1:]),
        (index[:-1, 1:], index[1:, :-1]),
    ]
    edges = torch.cat([torch.stack([a.flatten(), b.flatten()], 1) for a, b in pairs])
    return Graph(edges, side * side)


def mesh_graph(faces: Tensor) -> Graph:
    """The vertices of a triangle mesh joined along its edges; faces (F,3)."""
    return Graph(torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), int(faces.max()) + 1)


class GINConv(nn.Module):
    """Graph isomorphism convolution, eps = 0: MLP(h + sum of neighbours)."""

    def __init__(self, graph: Graph, inputs: int, outputs: int):
        super().__init__()
        self.graph = graph
        self.mlp = nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU(), nn.Linear(outputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        first, activation, second = self.mlp
        if first.out_features < first.in_features:  # (A x) W = A (x W): sum on the narrower side
            x = F.linear(x, first.weight)
            x = x + self.graph.sum(x) + first.bias
        else:
            x = first(x + self.graph.sum(x))
        return second(activation(x))


class ChebConv(nn.Module):
    """Chebyshev spectral convolution with K = 3 terms (Defferrard et al. 2016)."""

    def __init__(self, graph: Graph, inputs: int, outputs: int):
        super().__init__()
        self.graph = graph
        self.linear = nn.Linear(3 * inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        once = self.graph.laplacian(x)
        twice = 2 * self.graph.laplacian(once) - x
        return self.linear(torch.cat([x, once, twice], -1))


GRAPH_CONVS = {"gin": GINConv, "cheb": ChebConv}


class GraphBlock(nn.Module):
    """Graph convolution, BatchNorm over nodes and batch, ReLU (GINConvBlock of the figure)."""

    def __init__(self, conv: nn.Module, channels: int, activation: bool = True):
        super().__init__()
        self.conv, self.norm, self.activation = conv, nn.BatchNorm1d(channels), activation

    def forward(self, x: Tensor) -> Tensor:  # (B,N,C)
        x = self.norm(self.conv(x).flatten(0, 1)).unflatten(0, x.shape[:2])
        return F.relu(x) if self.activation else x


class GraphResBlock(nn.Sequential):
    """Two GraphBlocks and an identity (GINResBlock of the figure)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x


class GraphStack(nn.Sequential):
    """Head block, three residual blocks, tail convolution: the graph net of both graph parts.

    With "gin" this is the figure's stack; "cheb" follows the supplement's text instead: three
    Chebyshev blocks in all, the last one without its normalisation.
    """

    def __init__(self, kind: str, graph: Graph, inputs: int, hidden: int, outputs: int):
        conv = GRAPH_CONVS[kind]

        def block(width: int) -> GraphBlock:
            return GraphBlock(conv(graph, width, hidden), hidden)

        middle = [block(hidden)]
        if kind == "gin":
            middle = [GraphResBlock(block(hidden), block(hidden)) for _ in range(3)]
        super().__init__(block(inputs), *middle, conv(graph, hidden, outputs))
