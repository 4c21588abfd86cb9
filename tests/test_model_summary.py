"""The costs of layers and networks against numbers worked out by hand."""

import pytest
import torch
import torchvision
from torch import nn

from common.hand.mano import load_mano
from common.nets.costs import kept_bytes, multiply_adds, parameters
from common.nets.lgblock import LGFA
from main.config import override
from main.model import build_model
from main.presets import preset
from tests.scripts import run, settings
from tool import model_summary
from tool.model_summary import boxes


def test_multiply_adds_of_a_convolution():
    net = nn.Sequential(nn.Conv2d(6, 10, 3, stride=2, padding=1, groups=2), nn.ReLU())
    counts = multiply_adds(net, torch.rand(4, 6, 16, 16))
    assert counts == {"": 4 * 10 * 8 * 8 * 3 * 9, "0": 4 * 10 * 8 * 8 * 3 * 9, "1": 0}


@pytest.mark.parametrize("attention", ["paper", "prenorm"])
def test_multiply_adds_of_an_lgfa(attention):
    c, n = 32, 64
    m = 1 + 2 * n
    lgfa = LGFA(c, n, attention)

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.lgfa = lgfa

        def forward(self, x):
            return self.lgfa(x, x)

    first = 3 * m * c * c + 2 * m * m * c + 8 * m * c * c  # q, k, v of all tokens; two products; MLP
    second = (n + 2 * m) * c * c + 2 * n * m * c + 8 * n * c * c
    out = (m + n) * c * c if attention == "prenorm" else 0
    counts = multiply_adds(Both(), torch.rand(1, n, c))
    assert counts["lgfa"] == counts[""] == 2 * n * c * c + first + second + out
    assert counts["lgfa.fc"] == 2 * n * c * c


def test_memory_is_what_the_backward_pass_needs():
    net = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 2), nn.Sigmoid()))
    kept = kept_bytes(net, torch.rand(5, 8))
    # the first layer its input, ReLU its output (which is the second layer's input), sigmoid its output
    assert kept == {
        "": 4 * 5 * 14,
        "0": 4 * 5 * 8,
        "1": 4 * 5 * 4,
        "2": 4 * 5 * 2,
        "2.0": 0,
        "2.1": 4 * 5 * 2,
    }


@pytest.mark.parametrize(("size", "giga"), [(224, 4.09), (256, 5.34)])  # 4.09: torchvision's own table
def test_multiply_adds_of_resnet50(size, giga):
    counts = multiply_adds(torchvision.models.resnet50(), torch.rand(1, 3, size, size))
    assert counts[""] == pytest.approx(giga * 1e9, rel=2e-3)


@pytest.fixture(scope="module")
def mano():
    return load_mano()


@pytest.mark.parametrize("name", ["lgnet", "eanet"])
def test_boxes_add_up(mano, name):
    settings = ["backbone=resnet18", "channels=32", "sjt_blocks=1"]
    model = build_model(override(preset(name), settings).model, mano)
    images = torch.rand(1, 3, 256, 256)
    stages = [box for box in boxes(model) if box and "." not in box]
    assert {box.split(".")[0] for box in boxes(model)} == {*stages, ""}
    sizes = {box: parameters(model.get_submodule(box)) for box in boxes(model)}
    for counts in (sizes, multiply_adds(model, images), kept_bytes(model, images)):
        assert sum(counts[stage] for stage in stages) == pytest.approx(counts[""], rel=2e-2)
        assert all(counts[stage] > 0 for stage in stages)


def test_one_table_a_network_and_one_for_all(capsys):
    small = settings(backbone="resnet18", channels=32, sjt_blocks=1)
    assert run(model_summary, "--preset", "lgnet,eanet", "--gpu", "cpu", "--rounds", 1, *small) == 0
    tables = [table.splitlines() for table in capsys.readouterr().out.strip().split("\n\n")]
    assert len(tables) == 3 and all(len({len(line) for line in table}) == 1 for table in tables)
    last = {line.split("|")[1].strip(): line.split("|")[2:5] for line in tables[2]}
    assert tables[0][-1].split("|")[2:] == [*last["lgnet"], ""]
    assert float(last["bare ResNet-50"][0]) == 25.56 and float(last["bare ResNet-50"][1]) == 5.340
    assert run(model_summary, "--preset", "lgnet", "--rounds", 0, "--gpu", "cpu") == 2
