"""Every protocol against a second derivation of it in plain numpy, and against answers worked out by hand."""

import numpy as np
import pytest
import torch

from common.eval.metrics import Metrics
from common.eval.protocols import EANET_UPSTREAM, ON_REQUEST, PROTOCOLS, parse_protocols
from common.eval.reduce import curves
from common.hand.joints import TIP_VERTICES
from common.hand.mano import joint_regressor, load_mano
from common.utils.errors import UserError
from tests import protocol_oracle as oracle

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
        "affine": torch.eye(3)[:2].repeat(len(samples), 1, 1),
        "image_size": torch.full((len(samples), 2), 256.0),
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
    cam = 1000 + 100 * np.random.default_rng(seed).standard_normal((len(samples), 2, 3))
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


@pytest.mark.parametrize("number", range(8))
def test_worked_out_by_hand(number):
    derive, samples, regressor, expected = oracle.hand_made()[number]
    name = derive.__name__
    protocol = next(p for p in ALL if p.name == name)
    pred, batch = to_batch(samples)
    hands = toy_hands(regressor)
    # a camera that draws the wanted pixels: these meshes are flat
    z, K = np.stack([s["root"] for s in samples]), samples[0]["K"]
    cam = np.concatenate([K[0, 0] / z[..., 2:], K[0, 0] * z[..., :2] / z[..., 2:]], -1)
    shown = np.stack([s["pred_verts_px"] for s in samples])
    verts = np.stack([s["pred_verts"] for s in samples])
    scale = np.ptp(shown[..., 0], -1) / np.ptp(verts[..., 0], -1).clip(1e-9)
    cam[..., 0] = scale
    cam[..., 1:] = (shown - scale[..., None, None] * verts[..., :2]).mean(2)
    metrics = Metrics(hands, [protocol])
    metrics.update(pred | {"cam": torch.as_tensor(cam, dtype=torch.float32)}, batch)
    agrees(metrics.summary()[name], curves(protocol, metrics.columns()), expected, 1e-3)


def test_protocols_by_name():
    assert parse_protocols("all") == tuple(PROTOCOLS.values())
    assert parse_protocols("eanet_upstream, lgnet")[0] == EANET_UPSTREAM
    assert EANET_UPSTREAM.name in ON_REQUEST and EANET_UPSTREAM.name not in PROTOCOLS
    with pytest.raises(UserError, match="lgnett: choose all or some of lgnet, intaghand"):
        parse_protocols("lgnett")
