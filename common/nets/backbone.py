"""ResNet backbone: the last map for the joint stage, early maps for the refine stage."""

from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from common.utils.checkpoint import load_tensors
from common.utils.errors import UserError

BACKBONES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")


class Backbone(nn.Module):
    """Torchvision ResNet without its classifier; Kaiming initialisation, zero-initialised residuals."""

    def __init__(self, name: str):
        super().__init__()
        net = getattr(torchvision.models, name)(zero_init_residual=True)
        self.channels = net.fc.in_features
        self.early_channels = (net.conv1.out_channels, net.layer2[0].conv1.in_channels)
        del net.fc, net.avgpool
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(B,3,256,256), normalised -> F (B,C,8,8) and [stem (B,64,128,128), layer1 (B,.,64,64)]."""
        net = self.net
        stem = net.relu(net.bn1(net.conv1(image)))
        first = net.layer1(net.maxpool(stem))
        return net.layer4(net.layer3(net.layer2(first))), [stem, first]


def build_backbone(name: str, weights: str) -> Backbone:
    """`weights` is "none", "imagenet" (torchvision downloads them) or the path of a ResNet state dict.

    Raises UserError when the weights cannot be had; never falls back to random ones.
    """
    backbone = Backbone(name)
    if weights != "none":
        state = _imagenet(name) if weights == "imagenet" else load_tensors(Path(weights))
        state = {key: value for key, value in state.items() if not key.startswith("fc.")}
        try:
            backbone.net.load_state_dict(state)
        except RuntimeError as error:
            first = str(error).splitlines()[-1].strip()
            raise UserError(f"backbone_weights={weights} does not fit {name}: {first}") from None
    return backbone


def _imagenet(name: str) -> dict[str, Tensor]:
    try:
        weights = torchvision.models.get_model_weights(name).DEFAULT
        return weights.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError, torch.serialization.pickle.UnpicklingError) as error:
        raise UserError(
            f"the ImageNet weights of {name} could not be downloaded ({error}): use "
            "--set backbone_weights=none or the path of a torchvision state dict"
        ) from None
