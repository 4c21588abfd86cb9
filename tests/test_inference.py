"""Networks made fast for inference give what they gave before."""

import copy
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from common.hand.mano import load_mano
from common.nets.folding import fold
from common.nets.inference import Captured, Inference, wants_half
from common.utils.checkpoint import load_snapshot
from common.utils.image import read_image
from main.config import override
from main.model import build_model, model_from_snapshot
from main.presets import preset

SETTINGS = ["backbone=resnet18", "channels=32", "sjt_blocks=1", "refine_channels=8"]
NETWORKS = {
    "lgnet": ("lgnet", SETTINGS),
    "chebyshev": ("lgnet", [*SETTINGS, "local_graph=cheb", "refine_graph=cheb"]),
    "frozen stages": ("lgnet", [*SETTINGS, "frozen_stages=2"]),
    "pyramid": ("lgnet_small", ["channels=32", "sjt_blocks=1", "backbone_weights=none"]),
    "eanet": ("eanet", SETTINGS[:3]),
}


def trained(name, hands):
    """A network whose every number moved away from where it starts."""
    torch.manual_seed(0)
    base, settings = NETWORKS[name]
    network = build_model(override(preset(base), settings).model, hands).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for values in (module.weight, module.bias, module.running_mean):
                nn.init.uniform_(values, -0.5, 0.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network


def pictures(count):
    return torch.rand(count, 3, 256, 256, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_a_folded_network_gives_what_it_gave(name, hands):
    network, img = trained(name, hands), pictures(2)
    network(img)  # a backbone with frozen stages has folded these for itself
    expected = network(img)
    result = Inference(network, "cpu")(img)
    assert not [m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert result.keys() == expected.keys()
    for key in {"verts", "verts_rough", "joints", "rel_trans"} & expected.keys():
        bound = 3e-7 if key == "rel_trans" else 1e-7  # 1e-4 mm; a LayerNorm enlarges float32's rounding
        assert (result[key] - expected[key]).norm(dim=-1).mean() < bound
        torch.testing.assert_close(result[key], expected[key], rtol=0, atol=1e-6)
    torch.testing.assert_close(result["joints_img"], expected["joints_img"], rtol=0, atol=0.02)


@torch.no_grad()
def test_the_shipped_network_gives_what_it_gave(hands):
    snapshot = load_snapshot(Path(__file__).parents[1] / "main" / "weights" / "lgnet_small.pth")
    picture = read_image(Path(__file__).parents[1] / "main" / "example.png")
    img = torch.from_numpy(picture).permute(2, 0, 1)[None, :, :256, :256].float() / 255
    expected = model_from_snapshot(snapshot, hands)(img)
    result = Inference(model_from_snapshot(snapshot, hands), "cpu")(img)
    assert (result["verts"] - expected["verts"]).norm(dim=-1).max() < 1e-7
    torch.testing.assert_close(result["joints_img"], expected["joints_img"], rtol=0, atol=1e-2)


@torch.no_grad()
def test_the_papers_mlp_becomes_one_layer(hands):
    network = trained("lgnet", hands)
    attention = network.joint_stage.lgblock.lgfa_local.attentions[0]
    x = torch.rand(1, 5, 32)
    expected = attention.mlp(x)
    fold(network)
    assert len(attention.mlp) == 1
    torch.testing.assert_close(attention.mlp(x), expected)


@pytest.mark.parametrize("name", ["lgnet", "eanet"])
@torch.no_grad()
def test_weights_cast_once_are_those_that_autocast_casts(name, hands):
    network, img = fold(trained(name, hands)), pictures(1)
    with torch.autocast("cpu", torch.float16):
        expected = copy.deepcopy(network)(img)
    inference = Inference(network, "cpu", half=True)
    result = inference(img)
    assert all(torch.equal(result[key], expected[key].float()) for key in expected)
    kinds = {parameter.dtype for parameter in network.backbone.parameters()}
    assert kinds == {torch.float16}
    with Copies() as copies, torch.no_grad():
        inference._forward(img)
    assert not copies.shapes & {p.shape for p in network.backbone.parameters() if p.dim() == 4}


class Copies(TorchDispatchMode):
    """The shapes of what is copied in another precision."""

    def __init__(self):
        super().__init__()
        self.shapes = set()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if operation is torch.ops.aten._to_copy.default:
            self.shapes.add(args[0].shape)
        return operation(*args, **(kwargs or {}))


def test_what_amp_means_here():
    cpu = torch.device("cpu")
    assert [wants_half(amp, cpu) for amp in ("on", "off", "auto")] == [True, False, False]


# ---- graphs, as far as they can be told without a GPU ----


class Replayed:
    """Stands in for a CUDA graph: it reads and writes the same memory again and again."""

    def __init__(self, inference, size):
        self.inference = inference
        self.image = torch.zeros(size, 3, 256, 256)
        self.pred = inference._forward(self.image)

    def replay(self):
        for key, value in self.inference._forward(self.image).items():
            self.pred[key].copy_(value)


def test_batches_of_every_size_share_few_graphs(hands):
    inference = Inference(trained("lgnet", hands), "cpu")
    sizes = []

    def capture(size):
        sizes.append(size)
        graph = Replayed(inference, size)
        return Captured(graph, graph.image, graph.pred)

    inference._capture = Mock(side_effect=capture)
    img = pictures(4)
    with torch.inference_mode():
        results = [inference._replay(img[:count]) for count in (3, 4, 1, 3)]
    assert sizes == [4, 1]
    for count, result in zip((3, 4, 1, 3), results, strict=True):
        expected = inference.plain(img[:count])
        for key, value in result.items():
            assert len(value) == count
            torch.testing.assert_close(value, expected[key], rtol=0, atol=1e-4)


class Operations(TorchDispatchMode):
    """The names of all that runs."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.names.add(operation.overloadpacket.__name__)
        devices = {value.device.type for value in args if isinstance(value, torch.Tensor) and value.dim()}
        assert devices <= {"cuda"}, f"{operation} of {devices}"
        return operation(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_a_forward_on_a_gpu_never_waits_for_it(name):
    """Without a GPU, on tensors that only know where they would be: what a CUDA graph cannot hold is a value
    that the host reads, a shape that depends on values, or a tensor of the host's."""
    network = fold(trained(name, load_mano()))
    with FakeTensorMode():
        for module in network.modules():
            for key, buffer in module._buffers.items():
                module._buffers[key] = torch.empty(buffer.shape, dtype=buffer.dtype, device="cuda")
            for key, parameter in module._parameters.items():
                if parameter is not None:
                    empty = torch.empty(parameter.shape, dtype=parameter.dtype, device="cuda")
                    module._parameters[key] = nn.Parameter(empty, requires_grad=False)
        with torch.no_grad(), Operations() as run:
            pred = network(torch.empty(4, 3, 256, 256, device="cuda"))
    assert pred["verts"].shape == (4, 2, 778, 3) and pred["verts"].device.type == "cuda"
    assert not run.names & {"_local_scalar_dense", "nonzero", "lift_fresh", "masked_select", "unique"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("name", ["lgnet", "pyramid", "eanet"])
def test_a_captured_forward_is_the_plain_one(name, half):
    inference = Inference(trained(name, load_mano()), "cuda", half)
    img = pictures(5).to("cuda")
    for count in (1, 4, 3, 5, 1):
        expected, result = inference.plain(img[:count]), inference(img[:count])
        size = 1 << (count - 1).bit_length()
        assert size in inference.captured
        for key, value in result.items():
            # kernels are chosen by the batch size, which the graph rounds up
            torch.testing.assert_close(value, expected[key], rtol=1e-2 if half else 1e-4, atol=1e-3)
