"""A trained network made faster for inference: what follows a linear layer and is itself linear goes into it.

Predictions stay the same up to rounding. A folded network cannot learn any more, and its state dict is no
snapshot's.
"""

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_linear_bn_weights

from common.nets.backbone import Backbone, fold_batchnorm
from common.nets.graph import GraphBlock
from common.nets.layers import MLP


@torch.no_grad()
def fold(network: nn.Module) -> nn.Module:
    """The network itself, in eval mode, changed in place: each BatchNorm goes into the convolution or graph
    convolution before it, and two linear layers with nothing between them (the paper's MLP) become one."""
    network.eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, Backbone):  # its frozen stages are folded below, with all others
            module.frozen, module.folded = [], []
    fold_batchnorm(network)
    for module in network.modules():
        if isinstance(module, GraphBlock) and isinstance(module.norm, nn.BatchNorm1d):
            fold_graph_block(module)
        elif isinstance(module, MLP):
            merge_linear_layers(module)
    return network


def fold_graph_block(block: GraphBlock) -> None:
    """Every graph convolution, and every stack of them, ends in a linear layer."""
    last = [module for module in block.conv.modules() if isinstance(module, nn.Linear)][-1]
    norm = block.norm
    last.weight, last.bias = fuse_linear_bn_weights(
        last.weight, last.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    block.norm = nn.Identity()


def merge_linear_layers(mlp: MLP) -> None:
    """One layer for two, worked out in float64; an MLP with an activation stays as it is."""
    if len(mlp) != 2:
        return
    first, second = mlp
    one = nn.Linear(first.in_features, second.out_features).to(first.weight.device)
    weight = second.weight.double()
    one.weight.copy_(weight @ first.weight.double())
    one.bias.copy_(weight @ first.bias.double() + second.bias.double())
    mlp[0] = one.requires_grad_(False)
    del mlp[1]
