"""Attention maps: where the units of LGBlock (or the transformers of EABlock) look, as the paper draws them.

A map is what the output tokens of a unit (queries, of FCToken) pay to the tokens of SAToken (keys):
softmax(q k^T / sqrt(C)) of the last attention, mean over queries and heads, class token dropped, each
hand's tokens back on their S x S cells. All of a unit's cells and its class token sum to 1.
Networks know nothing of this: the fused attention of their forward never forms the weights, so hooks form
them again from the same inputs, only while maps are asked for.
"""

import math

import torch
from torch import Tensor, nn

from common.nets.eanet import EABlock
from common.nets.layers import PlainAttention, PreNormAttention
from common.nets.lgblock import LGBlock
from common.utils.errors import UserError

Attention = PlainAttention | PreNormAttention


def attention_sources(network: nn.Module) -> dict[str, list[tuple[Attention, int]]]:
    """For each unit, by hand: the attention to read and which of its two token sets; {} if it has none.

    LGNet: local unit, LGFA_local on (R, L); global unit, LGFA_global on (F_iR, F_iL). EANet, by analogy, last
    cross block each: local, Adapt_h on (F_h, shared), its own set; global, Extract on (F_R, F_L).
    """
    for block in network.modules():
        if isinstance(block, LGBlock) and hasattr(block, "lgfa_local") and hasattr(block, "lgfa_global"):
            local, whole = block.lgfa_local.attentions[-1], block.lgfa_global.attentions[-1]
            return {"local": [(local, 0), (local, 1)], "global": [(whole, 0), (whole, 1)]}
        if isinstance(block, EABlock):
            whole = block.extract.cross_blocks[-1]
            adapt = [of_hand.cross_blocks[-1] for of_hand in block.adapt.hands]
            return {"local": [(adapt[0], 0), (adapt[1], 0)], "global": [(whole, 0), (whole, 1)]}
    return {}


def predict_with_attention(network: nn.Module, img: Tensor) -> dict[str, Tensor | dict[str, Tensor]]:
    """The network's predictions, to the bit, and key `attention`: local (B,2,S,S), global (B,S,S), the
    sum of both hands' cells. UserError if an ablation has taken a unit away."""
    sources = attention_sources(network)
    if not sources:
        raise UserError("this network lacks the local or the global unit, so it has no attention maps")
    maps: dict[nn.Module, Tensor] = {}

    def keep(layer: nn.Module, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        maps[layer] = cells(attended(layer, *inputs))  # Algorithm 1 runs it twice: the last call counts

    layers = {layer for source in sources.values() for layer, _ in source}
    hooks = [layer.register_forward_hook(keep) for layer in layers]
    try:
        pred = network(img)
    finally:
        for hook in hooks:
            hook.remove()

    def by_hand(unit: str) -> Tensor:  # (B,2,S,S)
        return torch.stack([maps[layer][:, part] for layer, part in sources[unit]], 1)

    return {**pred, "attention": {"local": by_hand("local"), "global": by_hand("global").sum(1)}}


@torch.no_grad()
def attended(layer: Attention, x: Tensor, context: Tensor) -> Tensor:
    """Of the attention of queries x (B,N,C), the part each token of context (B,M,C) gets: (B,M), sum 1."""
    heads = 1
    if isinstance(layer, PreNormAttention):
        heads, x, context = layer.heads, layer.norm_x(x), layer.norm_context(context)
    q, k = (t.unflatten(-1, (heads, -1)).transpose(1, 2).float() for t in (layer.q(x), layer.k(context)))
    return (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1).mean((1, 2))


def cells(weights: Tensor) -> Tensor:
    """Class token and the row-major cells of two sets (B,1+2*S*S) -> (B,2,S,S)."""
    side = math.isqrt(weights.shape[1] // 2)
    return weights[:, 1:].unflatten(1, (2, side, side))
