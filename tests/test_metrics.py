"""The metrics on cases whose answers are known; tests/test_protocols.py re-computes them."""

import json

import numpy as np
import pytest
import torch

from common.eval.catalogue import CATALOGUE
from common.eval.measure import pose_difference
from common.eval.metrics import Metrics
from common.eval.picture import _mask_overlap
from common.eval.protocols import INTERHAND, INTERWILD, LGNET, PROTOCOLS
from common.eval.reduce import PCK_THRESHOLDS, auc, auc_parts, curves, hand_parts, shared_scores
from common.eval.results import per_sample, results, typical
from common.hand.mirror import MIRROR_AXIS_ANGLE
from common.utils.geometry import axis_angle_to_matrix, weak_perspective
from common.utils.render import silhouettes
from tests.made_results import ABOUT
from tests.two_hands import make_batch, perfect


def noisy(hands, batch, seed=1, millimetres=5.0):
    rng = torch.Generator().manual_seed(seed)
    pred = perfect(hands, batch)
    for key in ("verts", "verts_rough", "rel_trans"):
        noise = torch.randn(pred[key].shape, generator=rng)
        pred[key] = pred[key] * 1.1 + noise * millimetres / 1000
    return pred


def collected(hands, *pairs, protocols=(LGNET,)):
    metrics = Metrics(hands, protocols)
    for pred, batch in pairs:
        metrics.update(pred, batch)
    return metrics


def named(scores):
    """Keys as words: {MPVPE, MPVPE_rough, MPVPE_right, ...: Score}."""
    words = {}
    for (metric, mesh, part), score in scores.items():
        parts = [metric] + ["rough"] * (mesh == "rough") + [part] * (part != "overall")
        words["_".join(parts)] = score
    return words


def every_score(metrics, protocol="lgnet"):
    return named(metrics.summary()[protocol]) | named(shared_scores(metrics.columns()))


def measured(hands, *pairs):
    return every_score(collected(hands, *pairs))


def outcome(metrics, notes=()):
    return results(metrics, ABOUT, notes)


def test_the_truth_has_no_error(hands):
    batch = make_batch(hands)
    scores = measured(hands, (perfect(hands, batch), batch))
    errors = [name for name, metric in CATALOGUE.items() if metric.unit in ("mm", "deg")]
    errors = [name for name in scores if name.startswith(tuple(errors))]
    assert len(errors) > 20
    assert all((scores[name].value or 0) < 1e-4 for name in errors)  # None of hands that never touch
    assert scores["joint_px"].value == 0
    assert scores["vertex_px"].value < 10
    assert scores["presence_accuracy"].value == 100
    assert scores["AUC"].value > 0.997  # rounding leaves PCK(0) open
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


def test_presence_is_asked_of_hands_that_are_not_seen(hands):
    batch = make_batch(hands)
    batch["joints_seen"][:, 1] = 0
    pred = perfect(hands, batch)
    pred["present"][:, 1] = -5.0  # labelled as present all the same
    scores = every_score(collected(hands, (pred, batch), protocols=(INTERWILD,)), "interwild")
    assert scores["presence_accuracy"].value == 50 and scores["presence_accuracy"].n == 3
    assert scores["MPVPE_right"].n == 3 and scores["MPVPE_left"].n == 0
    assert scores["joint_px_left"].n == 3  # InterWild's choice of hands does not enter


def test_translation_between_the_hands(hands):
    batch = make_batch(hands)
    batch["rel_trans_valid"][2] = 0
    pred = perfect(hands, batch)
    pred["rel_trans"] = pred["rel_trans"] + torch.tensor([0.003, 0.004, 0.012])
    summary = collected(hands, (pred, batch), protocols=(LGNET, INTERHAND)).summary()
    for protocol, n in (("lgnet", 3), ("interhand", 2)):  # wrists of the fits; annotated
        scores = named(summary[protocol])
        assert scores["MRRPE"].value == pytest.approx(13, abs=1e-4)
        assert scores["MRRPE_plane"].value == pytest.approx(5, abs=1e-4)
        assert scores["MRRPE_depth"].value == pytest.approx(12, abs=1e-4)
        assert scores["MRRPE"].n == n


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
    alone = collected(hands, (pred, batch)).summary()["lgnet"]
    together = collected(hands, (pred, batch), (bad, other)).summary()["lgnet"]
    for name in alone:
        assert alone[name] == together[name], name


def test_nothing_measured_says_why(hands):
    batch = make_batch(hands)
    batch["hand_type"] = ["right"] * 3
    metrics = collected(hands, (perfect(hands, batch), batch))
    scores = named(metrics.summary()["lgnet"])
    assert scores["MPJPE"] == (None, 0) and scores["AUC"].value is None
    assert "none of the 3 frames counts" in outcome(metrics).unavailable["lgnet"]["*"]
    empty = Metrics(hands)
    assert empty.summary() == {"lgnet": {}} and per_sample(empty).splitlines() == ["id,hand_type"]
    assert outcome(empty).unavailable == {"lgnet": {"*": "there is no sample"}}


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
    for other in (pieces, every_score(first)):
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
    metrics = collected(hands, (noisy(hands, batch), batch))
    bins = curves(LGNET, metrics.columns())["pose_bins"]
    counts, angles = [b["n"] for b in bins], [b["difference"] for b in bins]
    assert sum(counts) == 13 and max(counts) - min(counts) <= 1
    assert angles == sorted(angles)
    total = sum(b["n"] * b["MPJPE"] for b in bins)
    assert total / 13 == pytest.approx(named(metrics.summary()["lgnet"])["MPJPE"].value)


def test_area_under_known_curves():
    assert auc(np.ones(200)) == pytest.approx(1)
    errors = np.random.default_rng(0).uniform(0, 50, (20000, 2, 3))  # PCK(t) = t / 50
    assert auc_parts(errors)["overall"].value == pytest.approx(0.5, abs=0.01)
    assert auc_parts(errors + 50.1)["overall"].value == 0
    half = np.full((4, 2, 3), PCK_THRESHOLDS[100])  # a step at the 101st of 200 thresholds
    assert auc_parts(half)["overall"].value == pytest.approx(99.5 / 199)
    errors[:, 1] = np.nan
    parts = auc_parts(errors)
    assert parts["left"] == (None, 0) and parts["overall"].n == 20000


def test_three_ways_to_average_two_hands():
    value = np.array([[1.0, 10.0], [3.0, np.nan], [np.nan, 4.0]])
    groups = {"all": np.ones(3, bool), "SH": np.array([0, 0, 1], bool), "IH": np.array([1, 1, 0], bool)}

    parts = hand_parts(value, groups, "hands")
    assert parts["overall"] == ((2 + 7) / 2, 3) and parts["right"] == (2, 2) and parts["left"] == (7, 2)
    assert hand_parts(value, groups, "entries")["overall"] == (18 / 4, 3)
    parts = hand_parts(value, groups, "samples")  # the second frame lacks a hand
    assert parts["overall"] == ((5.5 + 4) / 2, 2) and parts["IH"] == (5.5, 1) and parts["SH"] == (4, 1)


def test_predictions_that_are_not_finite_are_counted_and_named(hands):
    batch = make_batch(hands, 4)
    pred = noisy(hands, batch)
    good = measured(hands, *((rows(pred, [i]), rows(batch, [i])) for i in (0, 3)))
    pred["verts"][1] = torch.nan  # not predicted
    pred["verts"][2, 0, 5] = torch.inf  # broken
    pred["verts"][2, 1, 0, 0] = torch.nan
    metrics = collected(hands, (pred, batch))
    scores = every_score(metrics)
    assert scores["MPVPE"].value == pytest.approx(good["MPVPE"].value) and scores["MPVPE"].n == 2
    notes = " ".join(outcome(metrics).notes)
    assert "2 hands without a prediction" in notes and "in the samples frame0_1." in notes
    assert "2 predictions with NaN or infinity" in notes and "in the samples frame0_2." in notes


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_overlap_of_masks_is_counted_pixel_by_pixel(share):
    rng = np.random.default_rng(0)
    a, b = (rng.random((3, 2, 256, 256)) < share for _ in range(2))
    a[0, 1], b[2] = True, False
    with_both = [np.concatenate([masks, masks.any(1, keepdims=True)], 1) for masks in (a, b)]
    shared, either = (with_both[0] & with_both[1]).sum((2, 3)), (with_both[0] | with_both[1]).sum((2, 3))
    overlap = _mask_overlap(torch.from_numpy(a), torch.from_numpy(b))
    assert np.allclose(overlap, shared / np.maximum(either, 1), atol=1e-7)


def test_silhouettes_and_boxes_of_a_shifted_drawing(hands):
    batch = make_batch(hands)
    pred = perfect(hands, batch)
    pred["cam"][..., 0] /= 2  # wholly inside the crop
    # what the weak-perspective camera draws becomes the truth, given as outlines
    drawn = torch.cat([weak_perspective(pred["verts"], pred["cam"]), pred["verts"][..., 2:]], -1)
    masks = silhouettes(drawn, hands.faces, (256, 256), perspective=False)
    batch |= {"silhouette": masks.float(), "silhouette_valid": torch.ones(3, 2)}
    scores = measured(hands, (pred, batch))
    assert scores["IoU"].value == 1 and scores["IoU_both"].value == 1
    pred["cam"][:, 0, 1] += 7  # the right hand, by whole pixels
    still, moved = masks[:, 0], torch.zeros_like(masks[:, 0])
    moved[..., 7:] = still[..., :-7]
    shared = (moved & still).sum((1, 2)) / (moved | still).sum((1, 2))
    scores = measured(hands, (pred, batch))
    assert scores["IoU_right"].value == pytest.approx(float(shared.mean()), abs=1e-4)
    assert scores["IoU_left"].value == 1 and shared.mean() < scores["IoU_both"].value < 1


def test_without_cameras_they_are_fitted_to_the_joints(hands):
    batch = make_batch(hands)
    pred = perfect(hands, batch)
    joints = weak_perspective(hands.joints(pred["verts"]), pred["cam"])
    pred["joints_img"] = torch.cat([joints, joints[..., :1]], -1)
    expected = measured(hands, (pred, batch))
    found = measured(hands, ({k: v for k, v in pred.items() if k != "cam"}, batch))
    for name in ("vertex_px", "box_IoU", "IoU_both"):
        assert found[name].value == pytest.approx(expected[name].value, rel=1e-4)
    bare = collected(hands, ({"verts": pred["verts"]}, batch))
    assert "vertex_px" not in every_score(bare) and "box_IoU" not in every_score(bare)
    missing = outcome(bare).unavailable
    assert "neither cameras nor 2-D joints" in missing["shared"]["vertex_px"]
    assert "neither cameras nor 2-D joints" in missing["lgnet"]["box_IoU"]
    assert "which hands are present" in missing["shared"]["presence_accuracy"]
    assert "MPVPE" not in missing["lgnet"] and "MPJPE_unscaled" not in missing["lgnet"]


def test_without_translation_the_wrists_of_the_meshes_tell_it(hands):
    batch = make_batch(hands)
    verts = batch["verts_cam"] + batch["mano_root_cam"][:, :, None] + 0.2  # one common frame
    scores = measured(hands, ({"verts": verts}, batch))
    assert scores["MRRPE"].value < 1e-3 and scores["RRVE"].value < 1e-3


def test_mirrored_hands_are_wrong(hands):
    batch = make_batch(hands)
    pred = perfect(hands, batch)
    pred["verts"] = pred["verts"].flip(1)  # the left hand for the right one
    scores = measured(hands, (pred, batch))
    assert scores["PA_MPVPE"].value > 5 and scores["MPJPE"].value > 20  # a reflection is no rotation


def test_results_are_plain_and_complete(hands):
    batch = make_batch(hands)
    metrics = collected(hands, (noisy(hands, batch), batch), protocols=tuple(PROTOCOLS.values()))
    plain = json.loads(json.dumps(outcome(metrics, ["a note"]).to_plain(), allow_nan=False))
    protocols = plain["protocols"]
    assert list(protocols) == ["lgnet", "intaghand", "interhand", "interwild", "eanet"]
    assert plain["samples"] == plain["frames"]["lgnet"] == 3
    assert plain["notes"][:2] == [*ABOUT.data_notes, "a note"]
    assert protocols["lgnet"]["MPJPE"]["final"]["overall"]["n"] == 3
    assert protocols["eanet"]["MPJPE"]["rough"]["SH"] == {"value": None, "n": 0}
    assert plain["about"]["hand_model"] == "stand-in hand" and len(plain["curves"]["lgnet"]["PCK"]) == 200
    units = {name: metric["unit"] for name, metric in plain["metrics"].items()}
    assert units["IoU_both"] == "share" and units["vertex_px"] == "px" and units["MPJPE"] == "mm"
    assert set(plain["shared"]) == {metric for metric in units if metric not in protocols["lgnet"]}
    header, *lines = per_sample(metrics).splitlines()
    row = dict(zip(header.split(","), lines[0].split(","), strict=True))
    assert row["id"] == "frame0_0" and len(lines) == 3
    mean = np.mean([float(line.split(",")[header.split(",").index("lgnet MRRPE")]) for line in lines])
    assert mean == pytest.approx(protocols["lgnet"]["MRRPE"]["final"]["overall"]["value"], abs=1e-3)


def test_best_and_worst_samples(hands):
    batch = make_batch(hands, 5)
    pred = perfect(hands, batch)
    for i, bend in enumerate((3, 0, 4, 1, 2)):  # millimetres of noise
        pred["verts"][i] += bend / 1000 * torch.randn(2, 778, 3, generator=torch.Generator().manual_seed(i))
    found = typical(collected(hands, (pred, batch)), each=1)
    assert [name for name in found] == ["frame0_1", "frame0_4", "frame0_2"]
    assert [text.split()[0] for text in found.values()] == ["best", "median", "worst"]
