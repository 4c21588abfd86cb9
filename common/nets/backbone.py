"""Backbones: the last map for the joint stage, early maps for the refine stage.

Each has `channels` C and `early_channels`; (B,3,256,256) -> F (B,C,8,8) and four early maps, shallow first.
"""

from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from common.utils.checkpoint import load_tensors
from common.utils.errors import UserError


class ResNet(nn.Module):
    """Torchvision ResNet without its classifier; Kaiming initialisation, zero-initialised residuals."""

    head = "fc."  # entries of a torchvision state dict that are not used

    def __init__(self, name: str):
        super().__init__()
        net = getattr(torchvision.models, name)(zero_init_residual=True)
        self.channels = net.fc.in_features
        stages = (net.layer2, net.layer3, net.layer4)
        self.early_channels = (net.conv1.out_channels, *(stage[0].conv1.in_channels for stage in stages))
        del net.fc, net.avgpool
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Early maps: stem (B,64,128,128), layer1 (B,.,64,64), layer2 (B,.,32,32), layer3 (B,.,16,16)."""
        net = self.net
        stem = net.relu(net.bn1(net.conv1(image)))
        first = net.layer1(net.maxpool(stem))
        second = net.layer2(first)
        third = net.layer3(second)
        return net.layer4(third), [stem, first, second, third]


class ConvNeXt(nn.Module):
    """Torchvision ConvNeXt (Liu et al., CVPR 2022) without its classifier."""

    head = "classifier."

    def __init__(self, name: str):
        super().__init__()
        net = getattr(torchvision.models, name)()
        self.channels = net.classifier[-1].in_features
        first = net.features[0][0].out_channels
        self.early_channels = (first, first, 2 * first, 4 * first)
        del net.classifier, net.avgpool
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Early maps: patch stem and first stage (B,96,64,64), second (B,192,32,32), third (B,384,16,16)."""
        features = self.net.features
        stem = features[0](image)
        first = features[1](stem)
        second = features[2:4](first)
        third = features[4:6](second)
        return features[6:](third), [stem, first, second, third]


def build_backbone(name: str, weights: str) -> ResNet | ConvNeXt:
    """`weights` is "none", "imagenet" (torchvision downloads them), or the path of a torchvision state dict
    or of a snapshot of ours, whose backbone is taken.

    Raises UserError when the weights cannot be had; never falls back to random ones.
    """
    backbone = ConvNeXt(name) if name.startswith("convnext") else ResNet(name)
    if weights != "none":
        state = _imagenet(name) if weights == "imagenet" else _from_file(Path(weights))
        state = {key: value for key, value in state.items() if not key.startswith(backbone.head)}
        try:
            backbone.net.load_state_dict(state)
        except RuntimeError as error:
            first = str(error).splitlines()[-1].strip()
            raise UserError(f"backbone_weights={weights} does not fit {name}: {first}") from None
    return backbone


def _from_file(path: Path) -> dict[str, Tensor]:
    state, ours = load_tensors(path), "backbone.net."
    if not isinstance(state, dict):
        raise UserError(f"backbone_weights={path} holds no state dict")
    if not isinstance(state.get("network"), dict):
        return state
    return {key.removeprefix(ours): value for key, value in state["network"].items() if key.startswith(ours)}


def _imagenet(name: str) -> dict[str, Tensor]:
    try:
        weights = torchvision.models.get_model_weights(name).DEFAULT
        return weights.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError, torch.serialization.pickle.UnpicklingError) as error:
        raise UserError(
            f"the ImageNet weights of {name} could not be downloaded ({error}): use "
            "--set backbone_weights=none or the path of a torchvision state dict"
        ) from None
