"""Presence, swapped hands, the constant answer, strata: on cases made by hand."""

import dataclasses

import numpy as np
import pytest
import torch

from common.eval.metrics import Metrics
from common.eval.protocols import LGNET
from common.eval.reduce import calibration_error, shared_scores
from common.eval.results import results
from common.hand.joints import LEFT, RIGHT
from common.show.page import page
from common.show.report import screen_text
from tests.made_results import ABOUT, make_results
from tests.two_hands import make_batch, perfect


def collected(hands, pred, batch) -> Metrics:
    metrics = Metrics(hands, (LGNET,))
    metrics.update(pred, batch)
    return metrics


def shared(hands, pred, batch) -> dict:
    """{metric: value} over everything."""
    scores = shared_scores(collected(hands, pred, batch).columns())
    return {key.metric: score for key, score in scores.items() if key[1:] == ("final", "overall")}


# ---- calibration ----


def test_calibration_error_of_known_bins():
    """0.3 where half is there (bin 5 of 15), 0.9 where all is (bin 14): 4 x 0.2 and 2 x 0.1 of 6."""
    probability = np.array([0.3, 0.3, 0.3, 0.3, 0.9, 0.9, np.nan])
    truth = np.array([1, 1, 0, 0, 1, 1, 0.0])
    assert calibration_error(probability, truth) == pytest.approx(1.0 / 6)
    assert calibration_error(truth[:6], truth[:6]) == 0  # certain and right, 1 in the last bin
    assert calibration_error(1 - truth[:6], truth[:6]) == 1
    assert np.isnan(calibration_error(np.array([np.nan]), np.array([1.0])))


def test_errors_of_opposite_sign_in_one_bin_do_not_count():
    assert calibration_error(np.array([0.51, 0.51]), np.array([0.02, 1.0])) == pytest.approx(0)
    assert calibration_error(np.array([0.05, 0.95]), np.array([0.1, 0.9])) == pytest.approx(0.05)


# ---- presence of pictures ----


def test_presence_of_pictures_and_of_single_hands(hands):
    """Right of both; wrong of one; single, right; single, wrong; no hand, right; type unknown."""
    batch = make_batch(hands, 6)
    batch["present"] = torch.tensor([[1.0, 1], [1, 1], [1, 0], [0, 1], [0, 0], [1, 1]])
    batch["hand_type"] = ["interacting", "interacting", "right", "left", "none", "interacting"]
    batch["hand_type_valid"] = torch.tensor([1.0, 1, 1, 1, 1, 0])
    pred = perfect(hands, batch)
    pred["present"] = torch.tensor([[2.0, 2], [2, -2], [2, -2], [2, 2], [-2, -2], [-2, -2]])
    scores = shared(hands, pred, batch)
    assert scores["presence_accuracy"] == pytest.approx((80, 5))
    assert scores["presence_pictures"] == pytest.approx((60, 5))
    assert scores["presence_single"] == pytest.approx((50, 2))
    p = 1 / (1 + np.exp(-2))  # 6 high ones of which 5 hold; 4 low ones of which 1 holds
    expected = 0.6 * abs(p - 5 / 6) + 0.4 * abs(1 - p - 1 / 4)
    assert scores["presence_ECE"].value == pytest.approx(expected, abs=1e-6)


# ---- swapped hands ----


def drawn_as(pred, hands):
    """Each predicted hand drawn where another one is: hands (right, left) whose mesh and camera they get."""
    keys = ("verts", "verts_rough", "cam")
    return pred | {key: pred[key][:, hands] for key in keys}


def test_swapped_hands_are_counted(hands):
    batch = make_batch(hands)
    pred = perfect(hands, batch)
    assert shared(hands, pred, batch)["swapped"] == (0, 3)
    exchanged = drawn_as(pred, [LEFT, RIGHT])
    assert shared(hands, exchanged, batch)["swapped"] == (100, 3)
    for key in ("verts", "verts_rough", "cam"):
        exchanged[key][0] = pred[key][0]
    assert shared(hands, exchanged, batch)["swapped"].value == pytest.approx(200 / 3)


@pytest.mark.parametrize("place", [[RIGHT, RIGHT], [LEFT, LEFT]])
def test_both_hands_in_one_place_are_not_swapped(hands, place):
    batch = make_batch(hands)
    assert shared(hands, drawn_as(perfect(hands, batch), place), batch)["swapped"] == (0, 3)


def test_only_pictures_of_two_hands_can_be_swapped(hands):
    batch = make_batch(hands)
    pred = perfect(hands, batch)
    batch["hand_type"] = ["interacting", "right", "interacting"]
    batch["pose_valid"][2, 1] = 0
    assert shared(hands, pred, batch)["swapped"].n == 1


# ---- the constant answer ----


def test_the_constant_answer_is_the_median_of_the_data(hands):
    """Depths of 10, 20 and 60 mm between the wrists: from their median 10, 0 and 40 mm."""
    batch = make_batch(hands)
    root = batch["mano_root_cam"].clone()
    root[:, 1, 2] = root[:, 0, 2] + torch.tensor([0.01, 0.02, 0.06])
    batch |= {"mano_root_cam": root, "root_cam": root, "rel_trans": root[:, 1] - root[:, 0]}
    pred = perfect(hands, batch)
    scores = collected(hands, pred, batch).summary()["lgnet"]
    values = {key.metric: score.value for key, score in scores.items() if key[1:] == ("final", "overall")}
    assert values["MRRPE_depth_constant"] == pytest.approx(50 / 3, abs=1e-3)
    assert values["MRRPE_depth"] == pytest.approx(0, abs=1e-3)


# ---- strata ----


def test_strata_are_means_over_their_pictures(hands):
    batch = make_batch(hands, 4)
    batch["hand_type"][3] = "right"
    batch["pose_valid"][3, 1] = 0
    pred = perfect(hands, batch)
    pred["joints_img"][..., 0] += torch.tensor([1.0, 3, 0, 7])[:, None, None]
    pred["present"][1, 0] = -5
    ids = batch["id"]
    strata = {"two": ids[:2], "alone": [ids[3]], "other": ["elsewhere"], "none": []}
    found = results(collected(hands, pred, batch), ABOUT, strata=strata).strata
    assert list(found) == ["two", "alone"]
    assert found["two"]["pictures"] == 2 and found["two"]["joint_px"] == pytest.approx(2)
    assert found["two"]["presence_pictures"] == 50
    assert found["alone"]["joint_px"] == pytest.approx(7)  # the first protocol leaves single hands out
    assert found["alone"]["MPVPE"] == pytest.approx(0, abs=1e-3)


def test_strata_are_on_the_screen_and_the_page():
    values = {"pictures": 4075, "MPJPE": 61.25, "MPVPE": 62.5, "joint_px": None, "presence_pictures": 87.5}
    made = dataclasses.replace(make_results(), strata={"touching": values})
    row = next(line for line in screen_text(made).splitlines() if line.startswith("touching"))
    assert row.split() == ["touching", "4075", "61.25", "62.50", "-", "87.50"]
    assert max(map(len, screen_text(made).splitlines())) <= 110
    assert "<h2>By stratum" in page(made, {}, []) and "4075" in page(made, {}, [])
    assert "By stratum" not in page(make_results(), {}, [])
