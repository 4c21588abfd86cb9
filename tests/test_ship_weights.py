"""Shipping weights: half precision, and presence whose probabilities mean what they say."""

import numpy as np
import pytest
import torch
from torch import nn

from common.eval.reduce import calibration_error
from common.nets.layers import PerHand
from common.utils.checkpoint import load_snapshot, snapshot_path
from common.utils.errors import UserError
from main.model import model_from_snapshot
from tests.scripts import run
from tool import ship_weights
from tool.ship_weights import fit_platt, fold, presence_heads


def overconfident(count=20_000, seed=0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (N,2) that are three times too large and moved, and what is there by the true ones."""
    generator = torch.Generator().manual_seed(seed)
    true = 1.5 * torch.randn(count, 2, generator=generator, dtype=torch.float64) + 0.5
    truth = (torch.rand(count, 2, generator=generator) < true.sigmoid()).double()
    return 3 * true + torch.tensor([2.0, -1.0]), truth


def test_the_fit_undoes_a_scale_and_a_shift():
    logits, truth = overconfident()
    scale, shift = fit_platt(logits, truth)
    assert scale.tolist() == pytest.approx([1 / 3, 1 / 3], rel=0.05)
    assert shift.tolist() == pytest.approx([-2 / 3, 1 / 3], abs=0.06)
    before = calibration_error(logits.sigmoid().numpy(), truth.numpy())
    after = calibration_error((logits * scale + shift).sigmoid().numpy(), truth.numpy())
    assert before > 0.1 and after < 0.01


def test_hands_that_are_always_right_stay_finite():
    truth = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64).repeat(50, 1)
    scale, shift = fit_platt(4 * truth - 2, truth)
    assert torch.isfinite(scale).all() and (scale > 0).all() and shift.abs().max() < 0.1


def test_presence_worse_than_chance_is_said():
    logits, truth = overconfident(500)
    with pytest.raises(UserError, match="no better than chance"):
        fit_platt(-logits, truth)


class Judge(nn.Module):
    """A network whose presence head has more than one layer."""

    def __init__(self):
        super().__init__()
        self.presence = PerHand(
            lambda: nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
        )


def test_folding_equals_scaling():
    network = Judge()
    x = torch.randn(5, 2, 4, generator=torch.Generator().manual_seed(0))
    scale, shift = (
        torch.tensor([0.4, 2.0], dtype=torch.float64),
        torch.tensor([1.0, -3.0], dtype=torch.float64),
    )
    expected = network.presence(x).squeeze(-1) * scale + shift
    fold(presence_heads(network), scale, shift)
    torch.testing.assert_close(network.presence(x).squeeze(-1).double(), expected, atol=1e-6, rtol=1e-5)


def test_a_network_without_presence_is_said():
    with pytest.raises(UserError, match="does not judge presence"):
        presence_heads(nn.Linear(2, 2))


@pytest.mark.parametrize("trained", ["synthetic"], indirect=True)
def test_a_shipped_file_carries_its_calibration(trained, hands, tmp_path, capsys, monkeypatch):
    """The network says what the fit says, on the pictures of a seed that nothing else uses."""
    seen = []

    def known_fit(logits, truth):
        seen.append((logits, truth))
        return torch.tensor([[2.0, 0.5], [0.25, -0.25]], dtype=torch.float64).unbind()

    monkeypatch.setattr(ship_weights, "fit_platt", known_fit)
    source, out = snapshot_path(trained.folder / "model_dump", 1), tmp_path / "small.pth"
    assert run(ship_weights, source, out, "--calibrate", 32) == 0
    printed = capsys.readouterr().out
    assert "presence on 32 pictures of seed 20251: right 2.000 x logit +0.250" in printed and "MB" in printed
    shipped = load_snapshot(out)
    about = shipped["presence_calibration"]
    assert (about["scale"], about["shift"], about["pictures"]) == ([2.0, 0.5], [0.25, -0.25], 32)
    assert "optimizer" not in shipped
    assert {v.dtype for v in shipped["network"].values() if v.is_floating_point()} == {torch.float16}
    image = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, after = (
            model_from_snapshot(snapshot, hands)(image)["present"]
            for snapshot in (load_snapshot(source), shipped)
        )
    expected = before * torch.tensor([2.0, 0.5]) + torch.tensor([0.25, -0.25])
    torch.testing.assert_close(after, expected, atol=0.01, rtol=0.01)
    logits, truth = (values.numpy() for values in seen[0])
    assert logits.shape == truth.shape == (32, 2) and set(np.unique(truth)) <= {0.0, 1.0}


@pytest.mark.parametrize("trained", ["synthetic"], indirect=True)
def test_without_calibration_the_weights_are_as_they_were(trained, tmp_path, capsys, monkeypatch):
    source, out = snapshot_path(trained.folder / "model_dump", 1), tmp_path / "small.pth"
    monkeypatch.setattr(ship_weights, "LARGEST", 1.0)
    assert run(ship_weights, source, out) == 0
    assert "over the" in capsys.readouterr().out
    shipped, whole = load_snapshot(out), load_snapshot(source)
    assert "presence_calibration" not in shipped
    for name, value in whole["network"].items():
        half = value.half() if value.is_floating_point() else value
        assert torch.equal(shipped["network"][name], half), name


def test_too_few_pictures_are_said(tmp_path, capsys):
    snapshot = tmp_path / "any.pth"
    torch.save({"network": {}, "config": {"model": {}}}, snapshot)
    assert run(ship_weights, snapshot, tmp_path / "out.pth", "--calibrate", 3) == 2
    assert capsys.readouterr().err == "error: --calibrate takes 32 pictures or more\n"


@pytest.mark.parametrize("trained", ["synthetic"], indirect=True)
def test_the_mean_of_several_snapshots(trained, tmp_path, capsys):
    sources = [snapshot_path(trained.folder / "model_dump", epoch) for epoch in (0, 1)]
    third, out = tmp_path / "third.pth", tmp_path / "mean.pth"
    snapshot = load_snapshot(sources[0])
    torch.save({**snapshot, "network": {k: 4 * v for k, v in snapshot["network"].items()}}, third)
    assert run(ship_weights, *sources, third, out) == 0
    first, second = (load_snapshot(path)["network"] for path in sources)
    shipped = load_snapshot(out)["network"]
    for name, value in shipped.items():
        if value.is_floating_point():
            expected = (5 * first[name] + second[name]) / 3
            torch.testing.assert_close(value.float(), expected, atol=1e-4, rtol=1e-3)
    torch.save({**snapshot, "network": {"other": torch.zeros(1)}}, third)
    capsys.readouterr()
    assert run(ship_weights, sources[0], third, out) == 2
    assert "different networks" in capsys.readouterr().err
