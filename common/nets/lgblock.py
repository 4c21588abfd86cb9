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
        joined = torch.cat([self.cls_token.expand(len(a), -1, -1), a, b], 1)  # (B,1+2N,c)
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
    """Local unit and global unit (Algorithm 2): F_h -> F*_h = concat(F_h, FC(F_global)).

    Ablations: without="local_unit" lets each hand's LGFA meet the partner's features in place of F_local;
    without="global_unit" puts F_local in F_global's place.
    """

    def __init__(self, channels: int, side: int, attention: str, local_graph: str, without: str = "nothing"):
        super().__init__()
        tokens = side * side
        self.local_unit, self.global_unit = without != "local_unit", without != "global_unit"
        self.graph = nn.Identity()
        if self.local_unit:
            if local_graph != "none":
                self.graph = PerHand(lambda: GraphPart(local_graph, channels, side))
            self.lgfa_local = LGFA(channels, tokens, attention)
        if self.global_unit:
            self.lgfa_hands = PerHand(lambda: LGFA(channels, tokens, attention))  # LGFA_R and LGFA_L
            self.lgfa_global = LGFA(channels, tokens, attention)
        self.fc = nn.Linear(channels, channels // 4)

    def forward(self, features: Tensor) -> Tensor:  # (B,2,c,S,S) -> (B,2,c+c/4,S,S)
        tokens = features.flatten(3).transpose(2, 3)  # (B,2,N,c)
        other = tokens.flip(1)
        if self.local_unit:
            whole = self.lgfa_local(*self.graph(tokens).unbind(1))  # F_local (B,N,c)
            other = whole[:, None].expand_as(tokens)
        if self.global_unit:
            interaction = self.lgfa_hands(tokens, other)  # F_iR, F_iL (B,2,N,c)
            whole = self.lgfa_global(*interaction.unbind(1))  # F_global (B,N,c)
        reduced = self.fc(whole)[:, None].expand(-1, 2, -1, -1)
        adapted = torch.cat([tokens, reduced], -1)  # (B,2,N,c+c/4)
        return adapted.transpose(2, 3).unflatten(3, features.shape[3:])
