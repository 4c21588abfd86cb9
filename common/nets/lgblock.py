"""LGBlock: local-and-global feature adaptive block (supplement, Algorithms 1 and 2).

Shapes: B batch, 2 hands, S x S cells (8 x 8 in the paper), N = S*S tokens, c channels.
"""

import torch
from torch import Tensor, nn

from common.nets.graph import GraphBlock, GraphStack, grid_graph
from common.nets.layers import PerHand, PlainAttention, PreNormAttention


class LGFA(nn.Module):
    """Local-and-global feature adaptive module (Algorithm 1): two token sets in, N tokens out.

    attention="paper": exactly as written, one set of q/k/v/MLP layers for both attentions.
    attention="prenorm": LayerNorm, heads, GELU, own weights per attention, positional embedding.
    """

    def __init__(self, channels: int, tokens: int, attention: str):
        super().__init__()
        self.fc = nn.Linear(2 * channels, channels)
        self.cls_token = nn.Parameter(torch.randn(1, channels) * 0.02)
        if attention == "paper":
            self.attentions = nn.ModuleList([PlainAttention(channels)])
            self.position = None
        else:
            self.attentions = nn.ModuleList([PreNormAttention(channels), PreNormAttention(channels)])
            self.position = nn.Parameter(torch.randn(1 + 2 * tokens, channels) * 0.02)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:  # (B,N,c), (B,N,c) -> (B,N,c)
        fc_token = self.fc(torch.cat([a, b], -1))
        joined = torch.cat([self.cls_token.expand(a.shape[0], -1, -1), a, b], 1)  # (B,1+2N,c)
        if self.position is not None:
            joined = joined + self.position
        self_attention, cross_attention = self.attentions[0], self.attentions[-1]
        sa_token = self_attention(joined, joined)
        return cross_attention(fc_token, sa_token)


class GraphPart(nn.Module):
    """Graph convolutions of the local unit over one hand's cells, with an identity around them.

    The last normalisation's scale starts at zero, so training begins from the plain features; no
    ReLU follows it, for a ReLU at exactly zero would pass no gradient and never wake up.
    """

    def __init__(self, kind: str, channels: int, side: int):
        super().__init__()
        stack = GraphStack(kind, grid_graph(side), channels, channels // 4, channels)
        self.stack = GraphBlock(stack, channels, activation=False)
        nn.init.zeros_(self.stack.norm.weight)

    def forward(self, x: Tensor) -> Tensor:  # (B,N,c)
        return x + self.stack(x)


class LGBlock(nn.Module):
    """Local unit and global unit (Algorithm 2): F_h -> F*_h = concat(F_h, FC(F_global))."""

    def __init__(self, channels: int, side: int, attention: str, local_graph: str):
        super().__init__()
        tokens = side * side
        self.outputs = channels + channels // 4  # channels of F*_h
        self.graph = nn.Identity()
        if local_graph != "none":
            self.graph = PerHand(lambda: GraphPart(local_graph, channels, side))
        self.lgfa_local = LGFA(channels, tokens, attention)
        self.lgfa_hands = PerHand(lambda: LGFA(channels, tokens, attention))  # LGFA_R and LGFA_L
        self.lgfa_global = LGFA(channels, tokens, attention)
        self.fc = nn.Linear(channels, channels // 4)

    def forward(self, features: Tensor) -> Tensor:  # (B,2,c,S,S) -> (B,2,c+c/4,S,S)
        tokens = features.flatten(3).transpose(2, 3)  # (B,2,N,c)
        shared = self.fc(self.interact(tokens))  # (B,N,c/4)
        both = shared[:, None].expand(-1, 2, -1, -1)
        adapted = torch.cat([tokens, both], -1)  # (B,2,N,c+c/4)
        return adapted.transpose(2, 3).unflatten(3, features.shape[3:])

    def interact(self, tokens: Tensor) -> Tensor:  # F_R, F_L (B,2,N,c) -> F_global (B,N,c)
        local = self.local_unit(tokens)
        return self.global_unit(tokens, local)

    def local_unit(self, tokens: Tensor) -> Tensor:  # -> F_local (B,N,c)
        right, left = self.graph(tokens).unbind(1)
        return self.lgfa_local(right, left)

    def global_unit(self, tokens: Tensor, local: Tensor) -> Tensor:  # -> F_global (B,N,c)
        both = local[:, None].expand_as(tokens)
        right, left = self.lgfa_hands(tokens, both).unbind(1)  # F_iR, F_iL
        return self.lgfa_global(right, left)
