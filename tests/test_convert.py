"""The converter's command: what it takes, what it writes, and what it says about anything else."""

import re

import pytest
import torch

from main import presets
from main.predictor import load_predictor
from tests import upstream_eanet as upstream
from tests.scripts import run
from tool import convert_eanet

C, RESNET = 32, "resnet18"


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """The preset at a size that takes no time; test_eanet.py runs the real one."""
    narrow = {"model.backbone": RESNET, "model.channels": C}
    monkeypatch.setitem(presets.PRESETS, "eanet", {**presets.PRESETS["eanet"], **narrow})


@pytest.fixture(scope="module")
def state():
    return upstream.random_state(C, RESNET)


def convert(tmp_path, content):
    torch.save(content, tmp_path / "theirs.pth.tar")
    return run(convert_eanet, tmp_path / "theirs.pth.tar", tmp_path / "ours.pth")


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("bare", [True, False])
def test_a_snapshot_becomes_one_that_the_demo_takes(tmp_path, hands, state, prefix, bare):
    theirs = {prefix + name: value for name, value in state.items()}
    theirs[f"{prefix}mano_layer_right.betas"] = torch.zeros(1, 10)
    assert convert(tmp_path, theirs if bare else {"epoch": 6, "network": theirs, "optimizer": {}}) == 0
    picture = torch.randint(0, 256, (256, 256, 3), dtype=torch.uint8)
    result = load_predictor(tmp_path / "ours.pth")(picture.numpy())
    with torch.no_grad():
        expected = upstream.network(state, hands, picture.permute(2, 0, 1)[None] / 255, RESNET)
    verts = expected["verts"][0].clone()
    verts[1] += expected["rel_trans"][0]
    torch.testing.assert_close(torch.from_numpy(result.verts), verts, atol=1e-5, rtol=1e-4)
    assert result.is_present.all()  # EANet judges no presence: both hands count
    assert "MANO" in result.weights and ("epoch 6" in result.weights) != bare


def without(state, name):
    return {key: value for key, value in state.items() if key != name}


CAM, CLS = "hand_rotation_net.rcam_out.0.weight", "hand_position_net.EABlock.Extract.cls_token"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: without(s, CAM), f"missing {CAM}; left over nothing"),
        (lambda s: {**s, "head.0.weight": torch.zeros(1)}, "missing nothing; left over head.0.weight"),
        (lambda s: {**s, CAM: torch.zeros(3, 5)}, f"{CAM} is (3, 5), not (3, 64)"),
        (lambda s: {**s, CLS: torch.zeros(2, 1, C)}, f"{CLS} is (2, 1, 32), not (1, 32)"),
        (lambda s: {**s, CAM: "text"}, f"{CAM} is str, not (3, 64)"),
        (lambda s: {"conv1.weight": torch.zeros(1)}, " more; left over conv1.weight"),
        (lambda s: {"network": [1, 2]}, "holds no network"),
        (lambda s: [1, 2], "holds no network"),
    ],
)
def test_anything_else_is_one_sentence(tmp_path, state, capsys, change, words):
    assert convert(tmp_path, change(state)) == 2
    error = capsys.readouterr().err
    assert re.search(re.escape(words), error) and error.count("\n") == 1, error
    assert not (tmp_path / "ours.pth").exists()


def test_a_truncated_file_is_one_sentence(tmp_path, state, capsys):
    torch.save({"network": state}, tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    (tmp_path / "theirs").write_bytes(whole[: len(whole) // 2])
    assert run(convert_eanet, tmp_path / "theirs", tmp_path / "ours.pth") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_names_are_one_to_one(state):
    with torch.device("meta"):
        model = convert_eanet.build_model(presets.preset("eanet").model, convert_eanet.load_mano())
    names = [theirs for name in model.state_dict() for theirs in convert_eanet.upstream_names(name)]
    assert sorted(names) == sorted(state)
