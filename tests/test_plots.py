"""Figures: the right curves in the right style, the same bytes twice, hands seen from the palm."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from common.hand.joints import BONES, JOINT_NAMES
from common.show.figures import gallery_row
from common.show.plots import joint_figure, pck_figure, pose_figure, save_figure
from tests.made_results import curves
from tests.two_hands import make_batch, perfect

RUNS = {"a": curves(), "b": curves(3.0), "empty": {}}


def lines(figure):
    """{legend name: (x, y, style)} of the first axes."""
    return {line.get_label(): (*line.get_data(), line.get_linestyle()) for line in figure.axes[0].lines}


@pytest.mark.parametrize("draw", [pck_figure, pose_figure])
def test_published_curves_only_when_asked_and_dashed(draw):
    plain, published = lines(draw(RUNS, False)), lines(draw(RUNS, True))
    assert not [name for name in plain if "published" in name] and len(plain) == 2
    added = {name: line for name, line in published.items() if name not in plain}
    assert added and all("published" in name for name in added)
    assert all(style == "--" for x, _, style in added.values() if len(x))
    assert all(published[name][2] == "-" for name in plain)


def test_curves_are_drawn_as_they_are():
    drawn = lines(pck_figure(RUNS, False))
    assert list(drawn) == ["a (70.00)", "b (67.00)"]  # AUC as in the paper's legend
    x, y, _ = drawn["b (67.00)"]
    assert np.allclose(x, np.linspace(0, 50, 200)) and np.allclose(y, 100 * np.array(RUNS["b"]["PCK"]))
    alone = lines(pck_figure({"a": RUNS["a"]}, False))
    assert np.allclose(alone["its rough mesh"][1], 97 * np.array(RUNS["a"]["PCK"]))
    assert lines(pose_figure(RUNS, False))["b"][1].tolist() == [23, 24, 25, 26, 27, 28]


def test_many_runs_differ_and_leave_room():
    figure = pck_figure({str(number): curves() for number in range(20)}, False)
    axes = figure.axes[0]
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == 20
    figure.canvas.draw()
    assert axes.get_legend().get_window_extent().x0 >= axes.get_window_extent().x1


def test_missing_bins_and_no_runs():
    broken = curves() | {"AUC": None, "PCK_rough": []}
    broken["pose_bins"][2] = {"difference": None, "MPJPE": None, "n": 0}
    assert np.isnan(lines(pose_figure({"a": broken}, True))["a"][1][2])
    assert list(lines(pck_figure({"a": broken}, False))) == ["a"]
    assert not lines(pck_figure({}, False)) and not lines(pose_figure({}, False))


def test_published_numbers():
    """The curve as read off the plot gives its AUC; trapezoids of 5 mm under it lose about a point."""
    y = lines(pck_figure({}, True))["LGNet, published (82.57)"][1]
    assert abs(np.mean((y[1:] + y[:-1]) / 2) - 82.57) < 1.5


def test_saving_is_deterministic(tmp_path):
    first = save_figure(pck_figure(RUNS, True), tmp_path / "a" / "pck_0.5")
    second = save_figure(pck_figure(RUNS, True), tmp_path / "pck")
    assert first == second == (tmp_path / "pck.png").read_bytes() and first[:4] == b"\x89PNG"
    pdf = (tmp_path / "pck.pdf").read_bytes()
    assert pdf == (tmp_path / "a" / "pck_0.5.pdf").read_bytes() and pdf[:4] == b"%PDF" and b"Date" not in pdf
    assert not list(tmp_path.rglob("*.partial"))


def test_importing_does_not_load_matplotlib():
    code = "import sys, common.show.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def joint_discs(hands, pose, errors):
    verts, joints = hands(pose, torch.zeros(1, 2, 10))
    figure = joint_figure(errors, verts[0], hands.faces, joints[0], BONES)
    return figure, joints[0]


def test_the_hand_lies_below_its_joints(hands):
    """Every joint lies on drawn pixels or within 3 mm of them (a tip lies on the skin), with white around."""
    figure, _ = joint_discs(hands, -hands.mean[None], [[1.0] * 21] * 2)
    for axes in figure.axes[:2]:
        picture = np.asarray(axes.images[0].get_array())
        left, right, _, top = axes.images[0].get_extent()
        scale = picture.shape[1] / (right - left)  # pixels a metre
        drawn, reach = (picture < 255).any(-1), round(0.003 * scale)
        for text in axes.texts:
            x, y = text.get_position()
            column, row = int((x - left) * scale), int((top - y) * scale)
            assert drawn[row - reach : row + reach, column - reach : column + reach].any(), (x, y)
        for border in (drawn[:25], drawn[-25:], drawn[:, :25], drawn[:, -25:]):
            assert not border.any()


def test_joints_are_where_they_are_with_their_numbers(hands):
    errors = [[float(21 * h + j) for j in range(21)] for h in range(2)]
    errors[1][3] = None
    figure, joints = joint_discs(hands, -hands.mean[None], errors)
    for hand, axes in enumerate(figure.axes[:2]):
        texts = [text.get_text() for text in axes.texts]
        assert texts == ["-" if error is None else f"{error:.1f}" for error in errors[hand]]
        place = np.array([text.get_position() for text in axes.texts])
        x = dict(zip(JOINT_NAMES, place, strict=True))
        inward = (1, -1)[hand]  # seen from the palm, right hand on the left: the thumbs point inward
        assert inward * (x["thumb4"] - x["pinky4"])[0] > 0.05 and x["middle4"][1] > x["wrist"][1] + 0.15
        flat = np.linalg.norm(place[9] - place[0])  # the view is a rotation: this bone keeps its length
        assert abs(flat - float((joints[hand, 9] - joints[hand, 0]).norm())) < 1e-6
    assert joint_discs(hands, -hands.mean[None], [[None] * 21] * 2)


# ---- gallery ----


@pytest.fixture(scope="module")
def sample(hands):
    batch = make_batch(hands, 1)
    batch["img"] = torch.full((1, 3, 256, 256), 0.5)
    return perfect(hands, batch), batch


def panels(hands, pred, batch):
    """The five pictures of a row without their captions."""
    row = gallery_row(pred, batch, 0, hands.faces, "name")
    assert row.shape == (256 + 22, 5 * 256 + 4 * 4, 3)
    return [row[:256, 260 * i : 260 * i + 256].astype(int) for i in range(5)]


def test_a_perfect_prediction_looks_like_the_truth(hands, sample):
    pred, batch = sample
    picture, _, truth, side, true_side = panels(hands, pred, batch)
    assert (picture == 128).all() and (side == true_side).all() and (side != 255).any()
    placed = panels(hands, {k: v for k, v in pred.items() if k != "cam"}, batch)
    assert (placed[1] == truth).all() and (truth != 128).any()


def blue(panel):
    """Pixels of the left hand."""
    return panel[..., 2] > panel[..., 0] + 15


def test_seen_from_the_side_a_farther_hand_lies_to_the_right(hands, sample):
    pred, batch = sample
    farther = pred | {"rel_trans": pred["rel_trans"] + torch.tensor([0, 0, 0.1])}
    *_, side, true_side = panels(hands, farther, batch)
    columns = [np.nonzero(blue(panel))[1].max() for panel in (side, true_side)]
    assert columns[0] > columns[1] + 20


@pytest.mark.parametrize("cam", [True, False])
def test_hands_that_are_not_there_are_not_drawn(hands, sample, cam):
    pred, batch = sample
    missing = {k: v.clone() for k, v in pred.items() if k != "present" and (cam or k != "cam")}
    missing["verts"][:, 1] = missing["rel_trans"][:] = float("nan")
    _, drawn, truth, side, true_side = panels(hands, missing, batch)
    assert (drawn != 128).any() and not blue(drawn).any() and not blue(side).any()
    assert blue(truth).any() and blue(true_side).any()
    alone = {**batch, "pose_valid": batch["pose_valid"] * torch.tensor([0.0, 1]).view(1, 2, 1, 1)}
    _, _, truth, side, true_side = panels(hands, missing, alone)
    assert blue(true_side).any() and blue(truth).any() and (side != 255).any()
    nothing = missing | {"verts": missing["verts"] * float("nan")}
    nobody = {**batch, "pose_valid": batch["pose_valid"] * 0}
    assert all((panel == 128).all() for panel in panels(hands, nothing, nobody)[:3])
