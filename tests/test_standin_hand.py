"""The stand-in hand: a MANO file in everything but origin. Right hand, metres, unless said."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from common.hand.joints import FINGERS as HAND_FINGERS
from common.hand.joints import MANO_PARENTS, TIP_VERTICES
from common.hand.mano import load_mano
from common.hand.mano_file import STANDIN_FILE
from tool.stand_in.make_hand import TOLERANCE_M, build, write_mano
from tool.stand_in.pose import FINGERS, finger_pose
from tool.stand_in.rig import SHAPE_RMS_MM

BONES_MM = {"index": (91, 33, 22), "middle": (95, 32, 23), "pinky": (82, 21, 19),
            "ring": (86, 29, 25), "thumb": (39, 31, 27)}  # fmt: skip


@pytest.fixture(scope="module")
def hand():
    with np.load(STANDIN_FILE) as asset:
        return {k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in asset.items()}


@pytest.fixture(scope="module")
def layer():
    return load_mano(None)


def _edges(faces):
    """Directed edges (3F,2)."""
    return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def _boundary(faces):
    """Directed edges without a partner: the rim of the wrist."""
    have = {tuple(e) for e in _edges(faces).tolist()}
    return [e for e in have if e[::-1] not in have]


def _capped(verts, faces):
    """Faces with the wrist closed by a fan round an added vertex."""
    rim = _boundary(faces)
    middle = verts[[a for a, _ in rim]].mean(0)
    return np.vstack([verts, middle]), np.vstack([faces, [[b, a, len(verts)] for a, b in rim]])


def _volume_cm3(verts, faces):
    a, b, c = verts[faces].transpose(1, 0, 2)
    return float((a * np.cross(b, c)).sum() / 6 * 1e6)


def test_one_disk_with_a_16_edge_wrist(hand):
    faces = hand["f"]
    directed = _edges(faces)
    assert faces.shape == (1538, 3) and len(np.unique(faces)) == 778
    assert len(np.unique(directed, axis=0)) == len(directed)  # manifold and consistently wound
    edges = len(np.unique(np.sort(directed, 1), axis=0))
    assert edges == 2315 and 778 - edges + 1538 == 1
    step = dict(_boundary(faces))
    walk = [next(iter(step))]
    while step[walk[-1]] != walk[0]:
        walk.append(step[walk[-1]])
    assert len(step) == len(walk) == 16


def test_size_place_and_outward_winding(hand):
    verts = hand["v_template"]
    assert np.abs(verts.mean(0)).max() < 1e-6
    assert 150 < _volume_cm3(*_capped(verts, hand["f"])) < 450
    low, high = verts.min(0) * 1000, verts.max(0) * 1000
    np.testing.assert_allclose(low, [-79, -27, -73], atol=5)
    np.testing.assert_allclose(high, [114, 35, 95], atol=5)
    edge = np.unique(np.sort(_edges(hand["f"]), 1), axis=0)
    length = 1000 * np.linalg.norm(verts[edge[:, 0]] - verts[edge[:, 1]], axis=1)
    assert 7 < length.mean() < 9 and length.min() > 1 and length.max() < 29


def test_weights(hand):
    w = hand["weights"]
    np.testing.assert_allclose(w.sum(1), 1, atol=1e-6)
    assert w.min() >= 0
    rim = [a for a, _ in _boundary(hand["f"])]
    assert w[rim, 0].min() >= 0.94
    pairs = _edges(hand["f"])
    assert np.abs(w[pairs[:, 0]] - w[pairs[:, 1]]).max() < 0.8  # no tear between neighbours
    for name, tip in zip(HAND_FINGERS, TIP_VERTICES["interhand"], strict=True):
        own = 1 + 3 * FINGERS.index(name)
        others = [j for j in range(1, 16) if not own <= j < own + 3]
        finger = w[:, own + 1] + w[:, own + 2] > 0.2
        assert finger[tip] and finger.sum() > 50 and w[np.ix_(finger, others)].max() == 0


def test_regressor_gives_the_joints(hand):
    rows, joints = hand["J_regressor"], hand["J"]
    np.testing.assert_allclose(rows.sum(1), 1, atol=1e-6)
    assert rows.min() >= 0
    np.testing.assert_allclose(rows @ hand["v_template"], joints, atol=1e-6)
    parents = hand["kintree_table"][0]
    assert parents[0] == 2**32 - 1 and tuple(parents[1:]) == MANO_PARENTS[1:]
    bones = np.linalg.norm(joints[1:] - joints[list(MANO_PARENTS[1:])], axis=1) * 1000
    np.testing.assert_allclose(bones, np.concatenate([BONES_MM[n] for n in FINGERS]), atol=1.5)


@pytest.mark.parametrize("tips", TIP_VERTICES)
def test_tip_ids_lie_at_the_finger_ends(hand, tips):
    verts, joints = hand["v_template"], hand["J"]
    for name, tip in zip(HAND_FINGERS, TIP_VERTICES[tips], strict=True):
        last = 3 + 3 * FINGERS.index(name)
        own = hand["weights"][:, last] > 0.5
        bone = joints[last] - joints[last - 1]
        along = (verts - joints[last]) @ (bone / np.linalg.norm(bone))
        assert own[tip] and along[tip] > along[own].max() - 0.0045


def test_shape_table(hand):
    shapes = hand["shapedirs"]
    rms = np.sqrt((shapes**2).sum(1).mean(0)) * 1000
    np.testing.assert_allclose(rms, SHAPE_RMS_MM, rtol=1e-3)
    gram = np.einsum("vck,vcl->kl", shapes, shapes)
    scale = np.sqrt(np.outer(np.diag(gram), np.diag(gram)))
    assert np.abs(gram / scale - np.eye(10)).max() < 1e-3
    joints = [hand["J_regressor"] @ (hand["v_template"] + b * shapes[:, :, 0]) for b in (0, 1)]
    bone = [np.linalg.norm(j[4] - j[0]) for j in joints]
    assert 0.94 < bone[1] / bone[0] < 0.97  # beta_0 = +1 makes the hand smaller


def test_mean_pose_and_components(hand):
    angle = np.rad2deg(np.linalg.norm(hand["hands_mean"].reshape(15, 3), axis=1))
    assert angle.min() > 12 and angle.max() < 53
    rows = hand["hands_components"]
    norm = np.linalg.norm(rows, axis=1)
    assert abs(norm[0] - 1.31) < 1e-3 and abs(norm[-1] - 0.036) < 1e-4
    assert (np.diff(norm) < 0).all()
    np.testing.assert_allclose(rows @ rows.T, np.diag(norm**2), atol=1e-5)


def _crossings(verts, faces):
    """How many edges pass through a face they share no vertex with (Moller and Trumbore)."""
    edges = np.unique(np.sort(_edges(faces), 1), axis=0)
    corner = verts[faces]
    low, high = corner.min(1), corner.max(1)
    count = 0
    for a, b in edges:
        p, q = verts[a], verts[b]
        near = ((np.minimum(p, q) <= high) & (np.maximum(p, q) >= low)).all(1)
        t = corner[near & ~((faces == a) | (faces == b)).any(1)]
        one, two, ray, back = t[:, 1] - t[:, 0], t[:, 2] - t[:, 0], q - p, p - t[:, 0]
        h, k = np.cross(ray, two), np.cross(back, one)
        det = (one * h).sum(1)
        det = np.where(np.abs(det) < 1e-18, np.inf, det)
        u, v, s = (back * h).sum(1) / det, k @ ray / det, (two * k).sum(1) / det
        count += int(((u > 0) & (v > 0) & (u + v < 1) & (s > 0) & (s < 1)).sum())
    return count


def test_rest_pose_does_not_cut_itself(hand):
    assert _crossings(hand["v_template"], hand["f"]) == 0
    pushed = hand["v_template"].copy()
    pushed[317] += hand["J"][4] - pushed[317]  # the test sees a finger tip pulled through the palm
    assert _crossings(pushed, hand["f"]) > 0


def _posed(layer, joint, rotvec, blend=True):
    """Right hand vertices with one joint turned from the zero pose."""
    rotations = torch.eye(3).repeat(1, 2, 16, 1, 1)
    rotations[0, 0, joint] = torch.tensor(Rotation.from_rotvec(rotvec).as_matrix())
    pose_dirs = layer.pose_dirs
    try:
        layer.pose_dirs = pose_dirs if blend else torch.zeros_like(pose_dirs)
        return layer.skin(rotations, torch.zeros(1, 2, 10))[0, 0].double().numpy()
    finally:
        layer.pose_dirs = pose_dirs


@pytest.mark.parametrize("name", FINGERS)
@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_right_angle_keeps_its_volume(hand, layer, name, level):
    joint = 1 + 3 * FINGERS.index(name) + level
    turn = finger_pose(name, tuple(90.0 * (np.arange(5) == level)))[level]
    flat = _volume_cm3(*_capped(hand["v_template"], hand["f"]))
    bent, plain = (
        _volume_cm3(*_capped(_posed(layer, joint, turn, blend), hand["f"])) for blend in (True, False)
    )
    loss, loss_without = flat - bent, flat - plain
    assert loss_without > 0
    assert abs(loss) < 0.5 * loss_without  # the pose blend shapes give back what blending takes


def test_flexion_is_positive_about_z(hand, layer):
    bent = _posed(layer, 4, [0, 0, np.deg2rad(30)])
    assert -0.05 < (bent - hand["v_template"])[445, 1] < -0.03


def test_written_files_read_back_and_mirror(tmp_path, layer):
    for chumpy in (False, True):
        write_mano(tmp_path, chumpy)
        read = load_mano(tmp_path)
        for key in ("template", "faces", "weights", "shape_dirs", "pose_dirs", "mean"):
            assert torch.equal(getattr(read, key), getattr(layer, key)), key
    pose, shape = 0.3 * torch.randn(1, 2, 16, 3), torch.randn(1, 2, 10)
    pose[:, 1], shape[:, 1] = pose[:, 0] * torch.tensor([1.0, -1, -1]), shape[:, 0]
    verts, _ = layer(pose, shape)
    assert (verts[:, 0] * torch.tensor([-1.0, 1, 1]) - verts[:, 1]).abs().max() < 1e-6


def test_the_tool_rebuilds_the_asset(hand):
    fresh = build()
    for key, value in fresh.items():
        if value.dtype.kind == "f":
            assert np.abs(value - hand[key]).max() <= TOLERANCE_M, key
        else:
            assert np.array_equal(value, hand[key]), key
