"""Every protocol against a second derivation of it in plain numpy, and against answers worked out by hand."""

import numpy as np
import pytest
import torch

from common.eval.metrics import Metrics
from common.eval.protocols import EANET_UPSTREAM, ON_REQUEST, PROTOCOLS, parse_protocols
from common.eval.reduce import Score, curves
from common.hand.joints import TIP_VERTICES
from common.hand.mano import joint_regressor, load_mano
from common.utils.errors import UserError
from tests import protocol_oracle as oracle
from tests.hand_made import REGRESSOR, cases, true_boxes

ALL = (*PROTOCOLS.values(), EANET_UPSTREAM)


def to_batch(samples):
    """The oracle's samples -> prediction and batch of the contracts."""

    def get(key, dtype=torch.float32):
        return torch.as_tensor(np.stack([s[key] for s in samples]), dtype=dtype)

    annotated, wrists = get("annotated"), get("joint_root_valid")
    root = get("joint_root")
    both = wrists.prod(1, keepdim=True)
    batch = {
        "id": [s["id"] for s in samples],
        "hand_type": [s["hand_type"] for s in samples],
        "human_annotated": [s["human_annotated"] for s in samples],
        "hand_type_valid": get("hand_type_valid"),
        "brightness": get("brightness"),
        "pose_valid": get("fit")[..., None, None],
        "verts_cam": get("verts"),
        "mano_root_cam": get("root"),
        "rotmat": get("rotmat"),
        "joints_cam": get("joints"),
        "joints_cam_valid": annotated[..., None],
        "joints_seen": get("seen")[..., None],
        "joints_img": torch.cat([get("joints_px"), torch.zeros(len(samples), 2, 21, 1)], -1),
        "joints_img_valid": get("joints_px_valid")[..., None],
        "root_cam": root,
        "affine": get("affine"),
        "image_size": get("image_size"),
        "rel_trans": (root[:, 1] - root[:, 0]) * both,
        "rel_trans_valid": both,
        "root_depth": get("root_depth"),
        "root_depth_valid": get("root_depth_valid"),
        "K": get("K"),
    }
    pred = {"verts": get("pred_verts"), "rel_trans": get("pred_rel_trans")}
    return pred | {"joints_img": get("pred_joints_px")}, batch


def with_cameras(samples, seed):
    """Cameras (N,2,3), and the vertices drawn with them as the samples' own 2-D prediction."""
    noise = np.random.default_rng(seed).standard_normal((len(samples), 2, 3))
    cam = np.array([800.0, 130, 130]) + [80, 40, 40] * noise  # so that most boxes overlap
    cam = cam.astype(np.float32).astype(np.float64)
    drawn = [
        {**s, "pred_verts_px": c[:, None, :1] * s["pred_verts"][..., :2] + c[:, None, 1:]}
        for s, c in zip(samples, cam, strict=True)
    ]
    return drawn, torch.from_numpy(cam).float()


def agrees(found, curves_found, expected, tolerance):
    """All expected numbers and counts, {key: (value, n)}; None where nothing was measured."""
    expected = dict(expected)
    bins = expected.pop("pose_bins", ())
    for ours, (degrees, mm, n) in zip(curves_found["pose_bins"] if bins else (), bins, strict=True):
        assert ours["n"] == n
        for value, wanted in ((ours["MPJPE"], mm), (ours["difference"], degrees)):
            assert value == (wanted if wanted is None else pytest.approx(wanted, abs=tolerance)), "pose_bins"
    for key, (value, n) in expected.items():
        assert found[key].n == n, key
        assert found[key].value == (value if value is None else pytest.approx(value, abs=tolerance)), key


@pytest.mark.parametrize("seed", range(4))
def test_random_predictions(hands, seed):
    samples, cam = with_cameras(oracle.random_samples(seed, 60, hands), seed)
    pred, batch = to_batch(samples)
    metrics = Metrics(hands, ALL)
    metrics.update(pred | {"cam": cam}, batch)
    summary, columns = metrics.summary(), metrics.columns()
    regressor = oracle.stand_in_regressor()
    for protocol in ALL:
        expected = getattr(oracle, protocol.name)(samples, regressor)
        agrees(summary[protocol.name], curves(protocol, columns), expected, 1e-4)


def toy_hands(regressor):
    """A hand layer whose joints are what the given rows say."""
    hands = load_mano()
    for tips in TIP_VERTICES:
        rows = np.stack([joint_regressor(side, tips) for side in regressor])
        setattr(hands, f"regressor_{tips}", torch.as_tensor(rows, dtype=torch.float32))
    return hands


def measured_by_hand(protocol, samples):
    """The metrics of hand-made samples, their cameras such that they draw the wanted pixels."""
    pred, batch = to_batch(samples)
    shown = np.stack([s["pred_verts_px"] for s in samples])
    verts = np.stack([s["pred_verts"] for s in samples])[..., :2]
    scale = np.ptp(shown[..., 0], -1) / np.ptp(verts[..., 0], -1)  # (N,2), these meshes are flat
    shift = (shown - scale[..., None, None] * verts).mean(2)
    cam = np.concatenate([scale[..., None], shift], -1)
    metrics = Metrics(toy_hands(REGRESSOR), [protocol])
    return metrics, pred | {"cam": torch.as_tensor(cam, dtype=torch.float32)}, batch


CASES = cases()


@pytest.mark.parametrize("case", CASES, ids=[f"{case[0]}, {case[1].__name__}" for case in CASES])
def test_worked_out_by_hand(case):
    _, derive, samples, expected = case
    derived = derive(samples, REGRESSOR)
    bins = [{"difference": b[0], "MPJPE": b[1], "n": b[2]} for b in derived.pop("pose_bins", ())]
    scores = {key: Score(*number) for key, number in derived.items()}
    agrees(scores, {"pose_bins": bins}, expected, 1e-6)
    protocol = next(p for p in ALL if p.name == derive.__name__)
    metrics, pred, batch = measured_by_hand(protocol, samples)
    metrics.update(pred, batch)
    agrees(metrics.summary()[protocol.name], curves(protocol, metrics.columns()), expected, 1e-3)


def test_boxes_of_given_meshes():
    """Where the labels are meshes (HIC), InterWild's true box is theirs, uncut: 120 x 120 px. The right one
    is drawn 60 px beside: 60 x 120 common, 180 x 120 together; the left one is right."""
    sample = true_boxes()[0][2][0]
    protocol = PROTOCOLS["interwild"]
    metrics, pred, batch = measured_by_hand(protocol, [sample])
    metrics.update(pred, batch | {"mesh_cam": batch["verts_cam"] + batch["mano_root_cam"][:, :, None]})
    assert metrics.summary()["interwild"]["box_IoU"].value == pytest.approx((1 / 3 + 1) / 2, abs=1e-4)


def test_the_choices_are_said():
    choices = {name: protocol.choices() for name, protocol in PROTOCOLS.items()}
    assert choices["lgnet"]["MRRPE"] == "wrists of the fits"
    assert choices["interhand"]["MRRPE"] == "annotated wrists, both seen"
    assert choices["interwild"]["RRVE"] != choices["interhand"]["RRVE"]
    assert "seen joints" in choices["interwild"]["box_IoU"]
    assert choices["interwild"]["frames"] == "human annotated; hands with two seen joints"
    assert choices["eanet"]["frames"] == "all with a seen joint"


def test_protocols_by_name():
    assert parse_protocols("all") == tuple(PROTOCOLS.values())
    assert parse_protocols("eanet_upstream, lgnet")[0] == EANET_UPSTREAM
    assert EANET_UPSTREAM.name in ON_REQUEST and EANET_UPSTREAM.name not in PROTOCOLS
    with pytest.raises(UserError, match="lgnett: choose all or some of lgnet, intaghand"):
        parse_protocols("lgnett")
