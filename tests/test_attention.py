"""Attention maps against the library's weights and a transcription of Algorithm 1; asking changes nothing."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from common.hand.mano import load_mano
from common.nets.attention_maps import attended, attention_sources, cells, predict_with_attention
from common.nets.layers import PlainAttention, PreNormAttention
from common.show.figures import attention_panels, pictures
from common.targets import add_targets
from common.utils.errors import UserError
from common.utils.image import read_image
from data.Synthetic.stream import SyntheticStream
from main.config import override
from main.model import build_model
from main.predictor import load_predictor
from main.presets import preset
from main.result.export import save

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def mano():
    return load_mano()


@pytest.fixture(scope="module")
def shipped():
    return load_predictor(ROOT / "main" / "weights" / "lgnet_small.pth")


def tiny(mano, name="lgnet", *more):
    torch.manual_seed(0)
    settings = ["backbone=resnet18", "channels=32", "sjt_blocks=1", *more]
    return build_model(override(preset(name), settings).model, mano).eval()


@pytest.mark.parametrize("make", [PlainAttention, PreNormAttention])
@torch.no_grad()
def test_weights_are_the_librarys(make):
    layer, x, context = make(16), torch.randn(2, 5, 16), torch.randn(2, 7, 16)
    heads = getattr(layer, "heads", 1)
    normed = (x, context) if heads == 1 else (layer.norm_x(x), layer.norm_context(context))
    weight, bias = (
        torch.cat([getattr(p, n) for p in (layer.q, layer.k, layer.v)]) for n in ("weight", "bias")
    )
    query, key = (t.transpose(0, 1) for t in normed)
    rest = (None, None, False, 0.0, torch.eye(16), torch.zeros(16))
    _, expected = F.multi_head_attention_forward(query, key, key, 16, heads, weight, bias, *rest)
    torch.testing.assert_close(
        attended(layer, x, context), expected.mean(1)
    )  # of heads (B,N,M), then queries


def test_cells_are_row_major_without_the_class_token():
    maps = cells(torch.arange(129.0)[None])
    assert maps.shape == (1, 2, 8, 8)
    assert maps[0, 0, 0, 0] == 1 and maps[0, 0, 2, 3] == 1 + 8 * 2 + 3 and maps[0, 1, 7, 0] == 1 + 64 + 56


@torch.no_grad()
def test_maps_are_those_of_algorithm_1(mano):
    model, img = tiny(mano), torch.rand(2, 3, 256, 256)
    block = model.joint_stage.lgblock
    maps = model.backbone(model.backbone.normalise(img))
    features = model.joint_stage(*maps)[0]["features"]
    tokens = features.flatten(3).transpose(2, 3)

    def map_of(lgfa, a, b):
        layer = lgfa.attentions[0]
        t_f = lgfa.fc(torch.cat([a, b], -1))
        t = torch.cat([lgfa.cls_token.expand(2, -1, -1), a, b], 1)
        logits = layer.q(t_f) @ layer.k(layer(t, t)).transpose(1, 2) / 32**0.5
        mean = logits.softmax(-1).mean(1)
        return mean[:, 1:65].view(2, 8, 8), mean[:, 65:].view(2, 8, 8)

    graphs = block.graph(tokens).unbind(1)
    local = block.lgfa_local(*graphs)
    inter = [module(tokens[:, h], local) for h, module in enumerate(block.lgfa_hands.hands)]
    found = predict_with_attention(model, img)["attention"]
    torch.testing.assert_close(found["local"], torch.stack(map_of(block.lgfa_local, *graphs), 1))
    torch.testing.assert_close(found["global"], sum(map_of(block.lgfa_global, *inter)))


@torch.no_grad()
def test_asking_changes_no_prediction_and_leaves_nothing_behind(mano, shipped):
    img = torch.rand(2, 3, 256, 256)
    for network in (shipped.model, tiny(mano), tiny(mano, "eanet")):
        plain, asked = network(img), predict_with_attention(network, img)
        maps = asked.pop("attention")
        assert plain.keys() == asked.keys() and all(torch.equal(plain[key], asked[key]) for key in plain)
        assert maps["local"].shape == (2, 2, 8, 8) and maps["global"].shape == (2, 8, 8)
        assert all((m >= 0).all() and (m.sum((-2, -1)) <= 1).all() for m in maps.values())
        assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize("box", ["lgblock", "local_unit", "global_unit"])
def test_a_network_without_a_unit_says_so(mano, box):
    model = tiny(mano, "lgnet", f"without={box}")
    assert attention_sources(model) == {}
    with pytest.raises(UserError, match="attention"):
        predict_with_attention(model, torch.rand(1, 3, 256, 256))


@pytest.mark.parametrize("without", ["nothing", "local_unit"])
def test_pictures_leave_a_training_network_as_it_is(mano, without):
    model = tiny(mano, "lgnet", f"without={without}").train()
    batch = add_targets(SyntheticStream(mano, 2, 0, 2).batch(range(2)), mano)
    pred = model(batch["img"])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    drawn = pictures(model, pred, batch, mano.faces)
    assert ("attention" in drawn) == (without == "nothing") and model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(module.training for module in model.modules())


def test_heat_lies_on_its_cell_in_its_colour():
    local = torch.full((2, 8, 8), 0.001)
    local[0, 2, 1], local[1, 5, 6] = 0.4, 0.2
    drawn = attention_panels(np.zeros((256, 256, 3), np.uint8), {"local": local, "global": local.sum(0)})
    panel = drawn[:256, 260:516].astype(int)
    assert np.abs(np.argwhere(panel[..., 0] > 240).mean(0) - [2 * 32 + 15.5, 32 + 15.5]).max() < 1
    assert np.abs(np.argwhere(panel[..., 2] > 240).mean(0) - [5 * 32 + 15.5, 6 * 32 + 15.5]).max() < 1
    assert panel[-1, 0].max() == 0


def test_the_demo_draws_it_over_the_crop_only_when_asked(shipped, tmp_path):
    picture = read_image(ROOT / "main" / "example.png")
    result = shipped(picture, (20, 20, 200, 200), attention=True)
    assert result.attention["local"].shape == (2, 8, 8) and result.attention["global"].shape == (8, 8)
    paths = save(result, tmp_path, "x", "x.png")
    path = tmp_path / "x_attention.png"
    assert path in paths and read_image(path).shape == (256 + 22, 3 * 256 + 8, 3)
    plain = shipped(picture, (20, 20, 200, 200))
    assert plain.attention is None and np.array_equal(plain.verts, result.verts)
    save(plain, tmp_path, "x", "x.png")
    assert not path.exists()
