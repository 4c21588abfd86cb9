"""Losses: zero on equal input, known values, masks that hold, gradients that stay finite."""

from dataclasses import asdict

import pytest
import torch

from common.hand.mano import load_mano
from common.nets.heatmap import grid_to_joints, joints_to_grid
from common.nets.losses import (
    Criterion,
    corner_edges,
    edge_loss,
    grid_units,
    heatmap_loss,
    masked_mean,
    normal_loss,
)
from common.utils.geometry import weak_perspective
from main.config import Loss

FLAT = torch.tensor([[[[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]] * 2])  # (1,2,3,3): a triangle in z = 0
FACE = torch.tensor([[[0, 1, 2]], [[0, 1, 2]]])


@pytest.fixture(scope="module")
def mano():
    return load_mano()


def trilinear(joints_img):
    """The eight cells around each joint with their weights, corner by corner."""
    volume = torch.zeros(*joints_img.shape[:-1], 8, 8, 8)
    for index in torch.cartesian_prod(*(torch.arange(n) for n in joints_img.shape[:-1])):
        u, v, z = joints_img[tuple(index)].tolist()
        grid = [
            min(max(g, 0.0), 7.0) for g in (u / 32 - 15.5 / 32, v / 32 - 15.5 / 32, (z / 0.3 + 0.5) * 8 - 0.5)
        ]
        for corner in range(8):
            low = [min(int(g), 6) for g in grid]
            step = [corner >> axis & 1 for axis in range(3)]
            weight = [g - l if s else 1 - (g - l) for g, l, s in zip(grid, low, step, strict=True)]
            x, y, zc = (l + s for l, s in zip(low, step, strict=True))
            volume[(*index, zc, y, x)] += weight[0] * weight[1] * weight[2]
    return volume


def perfect(mano, batch=2):
    """A prediction and the batch it is exactly right for."""
    torch.manual_seed(1)
    pose, shape = torch.randn(batch, 2, 16, 3) * 0.2, torch.randn(batch, 2, 10) * 0.3
    verts, joints = mano(pose, shape)
    verts, joints = verts - joints[:, :, :1], joints - joints[:, :, :1]
    cam = torch.tensor([800.0, 120, 130]).expand(batch, 2, 3)
    image = torch.cat([weak_perspective(joints, cam), joints[..., 2:]], -1)
    pred = {
        "heatmap": trilinear(image).clamp_min(1e-20).log(),
        "joints_img": image,
        "rotmat": mano.rotations(pose),
        "shape": shape,
        "cam": cam,
        "rel_trans": torch.rand(batch, 3),
        "present": torch.full((batch, 2), 20.0),
        "verts_rough": verts,
        "verts": verts,
        "joints_rough": joints,
        "joints": joints,
    }
    ones = torch.ones
    labels = {
        "joints_img": image,
        "joints_img_valid": ones(batch, 2, 21, 1),
        "mano_joints_img": image,
        "mano_joints_img_valid": ones(batch, 2, 21, 1),
        "joints_cam": joints,
        "joints_cam_valid": ones(batch, 2, 21, 1),
        "mano_joints_cam": joints,
        "verts_cam": verts,
        "rotmat": pred["rotmat"],
        "shape": shape,
        "pose_valid": ones(batch, 2, 1, 1),
        "shape_valid": ones(batch, 2, 1),
        "rel_trans": pred["rel_trans"],
        "rel_trans_valid": ones(batch, 1),
        "present": ones(batch, 2),
    }
    return pred, labels


def test_a_perfect_prediction_costs_nothing_but_the_normals(mano):
    """True edges lie in their faces, so even L_normal is zero there."""
    pred, batch = perfect(mano)
    terms = Criterion(mano.faces, **asdict(Loss()))(pred, batch)
    assert set(terms) == set(asdict(Loss()))
    for name, value in terms.items():
        assert value < (1e-5 if name == "edge" else 1e-4), f"{name} is {value}"


def test_every_term_notices_its_error(mano):
    pred, batch = perfect(mano)
    criterion = Criterion(mano.faces, **asdict(Loss()))
    wrong = {k: v + 0.1 * torch.randn_like(v) for k, v in pred.items()} | {"present": -pred["present"]}
    for name, value in criterion(wrong, batch).items():
        assert value > 1e-3, f"{name} misses an error"


def test_a_hand_without_a_fit_or_joints_costs_nothing(mano):
    pred, batch = perfect(mano)
    wrong = {k: v.clone() for k, v in pred.items()}
    for key in wrong.keys() - {"present", "rel_trans"}:
        wrong[key][:, 1] += 1.0
    for key in batch:
        if key.endswith("_valid") and key != "rel_trans_valid":
            batch[key] = batch[key].clone()
            batch[key][:, 1] = 0
    for name, value in Criterion(mano.faces, **asdict(Loss()))(wrong, batch).items():
        assert value < 1e-4, f"{name} is {value}"


def test_total_is_the_weighted_sum_and_zero_weights_vanish(mano):
    pred, batch = perfect(mano)
    weights = asdict(Loss()) | {"edge": 0.0, "rel_trans": 3.0}
    criterion = Criterion(mano.faces, **weights)
    terms = criterion({**pred, "rel_trans": pred["rel_trans"] + 0.5}, batch)
    assert "edge" not in terms
    torch.testing.assert_close(terms["rel_trans"], torch.tensor(0.5))
    expected = sum(weights[name] * float(value) for name, value in terms.items())
    assert float(criterion.total(terms)) == pytest.approx(expected, rel=1e-5)


def test_grid_units():
    torch.testing.assert_close(grid_units(torch.tensor([32.0, 64.0, 0.0375])), torch.tensor([1.0, 2.0, 1.0]))


def test_masked_mean():
    values = torch.arange(6.0).view(2, 3)
    torch.testing.assert_close(masked_mean(values, torch.tensor([[1.0], [0.0]])), torch.tensor(1.0))
    assert masked_mean(values, torch.zeros(2, 1)) == 0


def test_heatmap_loss_is_least_at_the_true_cells():
    """A joint in the middle of eight cells: the best volume has 1/8 in each; one cell alone costs log."""
    joint = grid_to_joints(torch.tensor([[2.5, 4.5, 6.5]]), 8)
    volume = torch.full((1, 8, 8, 8), -1e4)
    volume[0, 6:8, 4:6, 2:4] = 0.0
    torch.testing.assert_close(heatmap_loss(volume, joint), torch.zeros(1, 1))
    uniform = torch.zeros(1, 8, 8, 8)  # 512 equal cells against 8: log 512 - log 8
    torch.testing.assert_close(heatmap_loss(uniform, joint), torch.tensor([[64.0]]).log())
    moved = volume.roll(1, dims=1)
    assert heatmap_loss(moved, joint) > 100
    grid = torch.rand(5, 3) * 7
    torch.testing.assert_close(joints_to_grid(grid_to_joints(grid, 8), 8), grid)


def test_normal_loss_known_values():
    true = corner_edges(FLAT, FACE)
    upright = corner_edges(FLAT[..., [2, 1, 0]], FACE)  # the triangle stood up in x = 0
    assert normal_loss(true, true).abs().max() == 0
    # edges (1,0,0), (-1,1,0), (0,-1,0) become (0,0,1), (0,1,-1), (0,-1,0) against the normal z
    expected = torch.tensor([1.0, 0.5**0.5, 0.0])
    torch.testing.assert_close(normal_loss(upright, true)[0, 0, 0], expected)


def test_edge_loss_of_a_scaled_mesh():
    edges = corner_edges(FLAT, FACE)
    expected = torch.tensor([1.0, 2**0.5, 1.0])
    torch.testing.assert_close(edge_loss(2 * edges, edges)[0, 1, 0], expected, atol=1e-5, rtol=0)


def test_laplacian_is_blind_to_translation(mano):
    pred, batch = perfect(mano)
    criterion = Criterion(mano.faces, laplacian=1.0)
    assert criterion({**pred, "verts": pred["verts"] + 0.3}, batch)["laplacian"] < 1e-6


def test_gradients_are_finite_at_a_collapsed_mesh(mano):
    pred, batch = perfect(mano)
    verts = torch.zeros_like(pred["verts"], requires_grad=True)
    criterion = Criterion(mano.faces, **asdict(Loss()))
    criterion.total(criterion({**pred, "verts": verts}, batch)).backward()
    assert torch.isfinite(verts.grad).all()
