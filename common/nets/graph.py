"""Graphs of cells and vertices, and the graph convolutions on them.

Shapes: B batch, N nodes, E edges, C channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _NeighbourSum(torch.autograd.Function):
    """Sum of each node's neighbours; the graph is undirected, so the gradient is the same sum."""

    @staticmethod
    def forward(x: Tensor, neighbours: Tensor, starts: Tensor) -> Tensor:
        rows = x.transpose(0, 1).flatten(1)  # (N,B*C): a node is one row
        # a gather and a sum in one kernel: six times faster on a CPU than in two
        sums = F.embedding_bag(neighbours, rows, starts, mode="sum")
        return sums.unflatten(1, (len(x), -1)).transpose(0, 1)

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _NeighbourSum.apply(gradient, *ctx.saved_tensors), None, None


class Graph(nn.Module):
    """An undirected graph: all nodes' neighbours in one list (2E,), and where each node's start (N,)."""

    def __init__(self, edges: Tensor, nodes: int):
        super().__init__()
        both = torch.cat([edges, edges.flip(1)]).unique(dim=0)  # (2E,2), sorted by node
        degree = both[:, 0].bincount(minlength=nodes)
        self.register_buffer("neighbours", both[:, 1].contiguous(), persistent=False)
        self.register_buffer("starts", degree.cumsum(0) - degree, persistent=False)
        self.register_buffer("inverse_root", degree.float().rsqrt()[:, None], persistent=False)  # (N,1)

    def sum(self, x: Tensor) -> Tensor:  # (B,N,C): A x
        return _NeighbourSum.apply(x, self.neighbours, self.starts)

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
    """Graph isomorphism convolution, eps = 0: MLP(h + sum of neighbours); width: of its hidden layer.

    steady: each node's hidden layer is normalised before its ReLU. Sums of neighbours are large: without
    it and a BatchNorm behind them, a step of the optimizer moves the outputs far, and the next ones silence
    every unit for good (seen: all 64 of them).
    """

    def __init__(self, graph: Graph, inputs: int, outputs: int, width: int, steady: bool = False):
        super().__init__()
        self.graph, self.steady = graph, steady
        self.mlp = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, outputs))

    def forward(self, x: Tensor) -> Tensor:
        first, activation, second = self.mlp
        if first.out_features < first.in_features:  # (A x) W = A (x W): sum on the narrower side
            x = F.linear(x, first.weight)
            x = x + self.graph.sum(x) + first.bias
        else:
            x = first(x + self.graph.sum(x))
        if self.steady:
            x = F.layer_norm(x, x.shape[-1:])
        return second(activation(x))


class ChebConv(nn.Module):
    """Chebyshev spectral convolution with K = 3 terms (Defferrard et al. 2016)."""

    def __init__(self, graph: Graph, inputs: int, outputs: int, width: int, steady: bool = False):
        super().__init__()
        self.graph = graph  # width, steady: GIN's alone
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
    Chebyshev blocks in all, the last one without its normalisation. steady_tail: see GINConv; for outputs
    that no BatchNorm follows.
    """

    def __init__(
        self, kind: str, graph: Graph, inputs: int, hidden: int, outputs: int, steady_tail: bool = False
    ):
        conv = GRAPH_CONVS[kind]

        def block(width: int) -> GraphBlock:
            return GraphBlock(conv(graph, width, hidden, hidden), hidden)

        middle = [block(hidden)]
        if kind == "gin":
            middle = [GraphResBlock(block(hidden), block(hidden)) for _ in range(3)]
        # three outputs behind three ReLUs would be dead as soon as these three are: hence the width
        tail = conv(graph, hidden, outputs, max(hidden, outputs), steady_tail)
        super().__init__(block(inputs), *middle, tail)
