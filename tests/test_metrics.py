"""The metrics on cases whose answers are known, and against a plain re-computation."""

import numpy as np
import pytest
import torch

from common.eval.metrics import Metrics, pose_difference
from common.eval.protocols import LGNET
from common.eval.reduce import PCK_THRESHOLDS, auc, auc_scores, score
from common.eval.report import results, table
from common.hand.joints import MIDDLE_MCP, WRIST
from common.hand.mano import load_hands
from common.hand.mirror import MIRROR_AXIS_ANGLE
from common.utils.errors import UserError
from common.utils.geometry import axis_angle_to_matrix
from tests.two_hands import make_batch, perfect


@pytest.fixture(scope="module")
def hands():
    return load_hands()


def noisy(hands, batch, seed=1, millimetres=5.0):
    rng = torch.Generator().manual_seed(seed)
    pred = perfect(hands, batch)
    for key in ("verts", "verts_rough", "rel_trans"):
        noise = torch.randn(pred[key].shape, generator=rng)
        pred[key] = pred[key] * 1.1 + noise * millimetres / 1000
    return pred


def measured(hands, *pairs):
    metrics = Metrics(hands)
    for pred, batch in pairs:
        metrics.update(pred, batch)
    return metrics.summary()["lgnet"]


def test_the_truth_has_no_error(hands):
    batch = make_batch(hands)
    scores = measured(hands, (perfect(hands, batch), batch))
    errors = [name for name, s in scores.items() if s.unit in ("mm", "deg")]
    errors = [name for name in errors if not name.startswith("pose_difference")]
    assert all((scores[name].value or 0) < 1e-4 for name in errors)  # None in an empty bin
    assert scores["joint_px"].value == 0
    assert scores["vertex_px"].value < 10
    assert scores["presence_accuracy"].value == 100
    assert scores["AUC"].value > 0.999
    assert scores["MPJPE"].n == 3


def test_a_larger_hand_is_right_once_scaled(hands):
    batch = make_batch(hands)
    pred = perfect(hands, batch)
    pred["verts"] = pred["verts"] * 1.2
    scores = measured(hands, (pred, batch))
    assert scores["MPVPE"].value < 1e-4 and scores["PA_MPVPE"].value < 1e-4
    expected = 200 * batch["verts_cam"].norm(dim=-1).mean()  # 0.2 of the distance to the wrist, in mm
    assert scores["MPVPE_unscaled"].value == pytest.approx(float(expected), rel=1e-3)
    assert scores["MPVPE_rough"].value < 1e-4


def test_a_shifted_hand_is_aligned_at_the_wrist(hands):
    batch = make_batch(hands)
    pred = perfect(hands, batch)
    pred["verts"] = pred["verts"] + torch.tensor([0.03, 0.0, -0.1])
    assert measured(hands, (pred, batch))["MPVPE_unscaled"].value < 1e-4


def test_translation_between_the_hands(hands):
    batch = make_batch(hands)
    batch["rel_trans_valid"][2] = 0
    pred = perfect(hands, batch)
    pred["rel_trans"] = pred["rel_trans"] + torch.tensor([0.003, 0.004, 0.012])
    scores = measured(hands, (pred, batch))
    assert scores["MRRPE"].value == pytest.approx(13, abs=1e-4)
    assert scores["MRRPE_plane"].value == pytest.approx(5, abs=1e-4)
    assert scores["MRRPE_depth"].value == pytest.approx(12, abs=1e-4)
    assert scores["MRRPE"].n == 2


def test_rotations_in_degrees(hands):
    batch = make_batch(hands)
    pred = perfect(hands, batch)
    turn = axis_angle_to_matrix(torch.tensor([0.0, 0.0, np.pi / 18]))
    pred["rotmat"][:, 1, 0] = turn @ pred["rotmat"][:, 1, 0]
    pred["rotmat"][:, 0, 1] = turn @ pred["rotmat"][:, 0, 1]
    scores = measured(hands, (pred, batch))
    assert scores["root_rotation_left"].value == pytest.approx(10, abs=1e-3)
    assert scores["root_rotation_right"].value < 1e-3
    assert scores["local_rotation_right"].value == pytest.approx(10 / 15, abs=1e-3)


def test_a_frame_without_both_fits_counts_nowhere(hands):
    batch, other = make_batch(hands), make_batch(hands, 2, seed=7)
    pred, bad = noisy(hands, batch), noisy(hands, other, millimetres=500)
    other["pose_valid"][0, 1] = 0
    other["verts_cam"][0, 1] = 0
    other["mano_root_cam"] = other["mano_root_cam"].clone()
    other["mano_root_cam"][0, 1] = 0
    other["hand_type"][1] = "right"
    alone = measured(hands, (pred, batch))
    together = measured(hands, (pred, batch), (bad, other))
    for name in alone:
        if not name.startswith("presence"):
            assert alone[name] == together[name], name
    assert together["presence_accuracy"].n == 5


def test_nothing_measured_is_none_and_prints(hands):
    batch = make_batch(hands)
    batch["hand_type"] = ["right"] * 3
    metrics = Metrics(hands)
    metrics.update(perfect(hands, batch), batch)
    scores = metrics.summary()["lgnet"]
    assert scores["MPJPE"] == (None, 0, "mm") and scores["AUC"].value is None
    assert "0 of 3 samples" in table(metrics, "none", "stand-in hand", True)
    assert Metrics(hands).summary() == {"lgnet": {}}


def test_missing_joints_do_not_count(hands):
    batch = make_batch(hands)
    pred = perfect(hands, batch)
    pred["joints_img"][..., 0] += 3.0
    pred["joints_img"][:, :, 5] += 1000.0
    batch["joints_img_valid"][:, :, 5] = 0
    batch["joints_img_valid"][0, 0] = 0
    scores = measured(hands, (pred, batch))
    assert scores["joint_px"].value == pytest.approx(3.0, abs=1e-4)
    assert scores["joint_px_right"].n == 2 and scores["joint_px_left"].n == 3


def procrustes(source, target):
    """Umeyama's closed form, one pair of (N,3) at a time."""
    a, b = source - source.mean(0), target - target.mean(0)
    u, s, vt = np.linalg.svd(b.T @ a)
    d = np.diag([1, 1, np.sign(np.linalg.det(u @ vt))])
    scale = (s * np.diag(d)).sum() / (a**2).sum()
    return scale * a @ (u @ d @ vt).T + target.mean(0)


def plain_numbers(hands, pred, batch):
    """The protocol again: loops, numpy, one hand at a time."""
    regressor = hands.regressor_intaghand.double().numpy()
    found = {name: [[], []] for name in ("MPJPE", "MPVPE", "PA_MPJPE", "PA_MPVPE", "MPJPE_unscaled")}
    for i in range(len(batch["id"])):
        for h in range(2):
            verts = pred["verts"][i, h].double().numpy()
            true = batch["verts_cam"][i, h].double().numpy()
            joints, true_joints = regressor[h] @ verts, regressor[h] @ true
            verts, joints = verts - joints[WRIST], joints - joints[WRIST]
            true, true_joints = true - true_joints[WRIST], true_joints - true_joints[WRIST]
            scale = np.linalg.norm(true_joints[MIDDLE_MCP]) / np.linalg.norm(joints[MIDDLE_MCP])
            for name, a, b in (
                ("MPJPE", scale * joints, true_joints),
                ("MPVPE", scale * verts, true),
                ("MPJPE_unscaled", joints, true_joints),
                ("PA_MPJPE", procrustes(joints, true_joints), true_joints),
                ("PA_MPVPE", procrustes(verts, true), true),
            ):
                found[name][h].append(1000 * np.linalg.norm(a - b, axis=-1).mean())
    return {name: np.mean([np.mean(right), np.mean(left)]) for name, (right, left) in found.items()}


def test_equals_a_plain_recomputation(hands):
    batch = make_batch(hands, 5)
    pred = noisy(hands, batch)
    scores = measured(hands, (pred, batch))
    for name, value in plain_numbers(hands, pred, batch).items():
        assert scores[name].value == pytest.approx(value, abs=1e-4), name


def rows(pairs, index):
    return {
        key: [value[i] for i in index] if isinstance(value, list) else value[index]
        for key, value in pairs.items()
    }


def test_order_batch_size_repeats_and_processes_change_nothing(hands):
    batch = make_batch(hands, 13)
    pred = noisy(hands, batch)
    whole = measured(hands, (pred, batch))
    order = np.random.default_rng(0).permutation(13)
    parts = [order[:5].tolist(), order[5:6].tolist(), order[4:].tolist()]  # with repeats
    pieces = measured(hands, *((rows(pred, part), rows(batch, part)) for part in parts))
    first, second = Metrics(hands), Metrics(hands)
    first.update(rows(pred, parts[0]), rows(batch, parts[0]))
    second.update(rows(pred, parts[2]), rows(batch, parts[2]))
    first.merge(second.state())
    for other in (pieces, first.summary()["lgnet"]):
        assert other.keys() == whole.keys()
        for name, s in whole.items():
            assert other[name].n == s.n
            assert other[name].value == pytest.approx(s.value, abs=1e-4), name


def test_pose_difference_is_zero_for_mirrored_hands(hands):
    pose = 0.4 * torch.randn(4, 2, 16, 3, generator=torch.Generator().manual_seed(3))
    pose[:, 1] = pose[:, 0] * torch.as_tensor(MIRROR_AXIS_ANGLE)
    assert pose_difference(hands.rotations(pose).double()).max() < 1e-3
    pose[:, 1, 1:] = 0
    assert pose_difference(hands.rotations(pose).double()).min() > 5


def test_pose_bins_are_equal_and_ordered(hands):
    batch = make_batch(hands, 13)
    scores = measured(hands, (noisy(hands, batch), batch))
    counts = [scores[f"MPJPE_pose_bin{i}"].n for i in range(1, 7)]
    angles = [scores[f"pose_difference_bin{i}"].value for i in range(1, 7)]
    assert sum(counts) == 13 and max(counts) - min(counts) <= 1
    assert angles == sorted(angles)
    total = sum(n * scores[f"MPJPE_pose_bin{i}"].value for i, n in enumerate(counts, 1))
    assert total / 13 == pytest.approx(scores["MPJPE"].value)


def test_area_under_known_curves():
    assert auc(np.ones(200)) == pytest.approx(1)
    errors = np.random.default_rng(0).uniform(0, 50, (20000, 2, 3))  # PCK(t) = t / 50
    valid = np.ones(errors.shape, bool)
    assert auc_scores(errors, valid)["AUC"].value == pytest.approx(0.5, abs=0.01)
    assert auc_scores(errors + 50.1, valid)["AUC"].value == 0
    half = np.full((4, 2, 3), PCK_THRESHOLDS[100])  # a step at the 101st of 200 thresholds
    assert auc_scores(half, valid[:4])["AUC"].value == pytest.approx(99.5 / 199)
    valid[:, 1] = False
    scores = auc_scores(errors, valid)
    assert scores["AUC_left"] == (None, 0, "share") and scores["AUC"].n == 20000


def test_mean_over_the_hands_that_exist():
    value = np.array([[1.0, 10.0], [3.0, 20.0]])
    one = score("x", value, np.array([[True, False], [True, False]]))
    assert one["x"].value == 2 and one["x_left"].value is None
    both = score("x", value, np.array([[True, False], [True, True]]))
    assert both["x"].value == pytest.approx((2 + 20) / 2) and both["x"].n == 2


def test_a_prediction_that_is_not_finite_is_named(hands):
    batch = make_batch(hands)
    pred = perfect(hands, batch)
    pred["verts"][1, 0, 0, 0] = torch.nan
    with pytest.raises(UserError, match="frame0_1"):
        Metrics(hands).update(pred, batch)


def test_results_are_plain_and_complete(hands):
    batch = make_batch(hands)
    metrics = Metrics(hands)
    metrics.update(noisy(hands, batch), batch)
    found = results(metrics, hand_model=hands.name, commit="abc", config={})
    assert found["protocols"]["lgnet"]["MPJPE"] > 0
    assert found["counts"]["lgnet"]["frames"] == 3 and found["counts"]["lgnet"]["MPJPE"] == 3
    assert found["hand_model"] == "stand-in hand"
    assert len(found["curves"]["lgnet"]["PCK"]) == 200
    text = table(metrics, "a fixed set", hands.name, synthetic=True)
    assert "protocol lgnet: wrist root" in text and "synthetic" in text and LGNET.tips in text
