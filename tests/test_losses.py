"""Losses: zero on equal input, known values, masks that hold, gradients that stay finite."""

from dataclasses import asdict

import pytest
import torch

from common.hand.mano import load_mano
from common.nets.heatmap import HeatmapGrid
from common.nets.losses import (
    Criterion,
    corner_edges,
    edge_loss,
    grid_units,
    heatmap_loss,
    masked_means,
    normal_loss,
)
from common.utils.errors import UserError
from common.utils.geometry import weak_perspective
from main.config import Loss

FLAT = torch.tensor([[[[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]] * 2])  # (1,2,3,3): a triangle in z = 0
GRID = HeatmapGrid(side=8, depth_range=0.3)
EVERY_TERM = asdict(Loss(wrist=1.0))
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
    terms, _ = Criterion(mano.faces, GRID, EVERY_TERM)(pred, batch)
    assert set(terms) == set(EVERY_TERM)
    for name, value in terms.items():
        assert value < (1e-5 if name == "edge" else 1e-4), f"{name} is {value}"


def test_every_term_notices_its_error(mano):
    pred, batch = perfect(mano)
    criterion = Criterion(mano.faces, GRID, EVERY_TERM)
    wrong = {k: v + 0.1 * torch.randn_like(v) for k, v in pred.items()} | {"present": -pred["present"]}
    for name, value in criterion(wrong, batch)[0].items():
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
    for name, value in Criterion(mano.faces, GRID, EVERY_TERM)(wrong, batch)[0].items():
        assert value < 1e-4, f"{name} is {value}"


def test_total_is_the_weighted_sum_and_zero_weights_vanish(mano):
    pred, batch = perfect(mano)
    weights = asdict(Loss()) | {"edge": 0.0, "rel_trans": 3.0}
    criterion = Criterion(mano.faces, GRID, weights)
    terms, _ = criterion({**pred, "rel_trans": pred["rel_trans"] + 0.5}, batch)
    assert "edge" not in terms
    torch.testing.assert_close(terms["rel_trans"], torch.tensor(0.5))
    expected = sum(weights[name] * float(value) for name, value in terms.items())
    assert float(criterion.total(terms)) == pytest.approx(expected, rel=1e-5)


def test_grid_units():
    torch.testing.assert_close(grid_units(torch.tensor([32.0, 64.0, 0.0375])), torch.tensor([1.0, 2.0, 1.0]))


def test_masked_means():
    values = torch.arange(6.0).view(2, 3)
    errors = {"some": (values, torch.tensor([[1.0], [0.0]])), "none": (values, torch.zeros(2, 1))}
    means, counts = masked_means(errors)
    assert {name: float(mean) for name, mean in means.items()} == {"some": 1.0, "none": 0.0}
    assert {name: int(count) for name, count in counts.items()} == {"some": 3, "none": 0}


@pytest.mark.parametrize("name", ["heatmap", "joints_proj"])
def test_annotated_joints_teach_a_hand_without_a_fit(mano, name):
    """The annotated joint is the target where there is one, else the fit's."""
    pred, batch = perfect(mano)
    criterion = Criterion(mano.faces, GRID, {name: 1.0})
    wrong = {**pred, "heatmap": pred["heatmap"].roll(2, -1), "cam": pred["cam"] + 30}
    nothing = {key: torch.zeros_like(value) for key, value in batch.items()}
    annotated = {key: batch[key] for key in ("joints_img", "joints_img_valid")}
    fitted = {key: batch[key] for key in ("mano_joints_img", "mano_joints_img_valid", "pose_valid")}
    for labels in (annotated, fitted):
        assert criterion(pred, nothing | labels)[0][name] < 1e-4
        assert criterion(wrong, nothing | labels)[0][name] > 0.1
    assert criterion(wrong, nothing)[1][name] == 0
    far = {**fitted, "mano_joints_img": batch["mano_joints_img"] + 50}
    assert criterion(pred, nothing | annotated | far)[0][name] < 1e-4  # the fit does not count beside it


@pytest.mark.parametrize("name", ["joints_img", "mano_joints_img"])
def test_a_label_out_of_reach_does_not_pull(mano, name):
    """240 pixels is past the last cell's centre, 239.5; 239 is not."""
    pred, batch = perfect(mano)
    criterion = Criterion(mano.faces, GRID, {name: 1.0})
    for column, counted in ((239.0, True), (240.0, False)):
        labels = {**batch, name: torch.tensor([column, 128.0, 0.0]).expand(2, 2, 21, 3)}
        terms, counts = criterion(pred, labels)
        assert (terms[name] > 0) == counted and (counts[name] > 0) == counted


def test_a_criterion_without_weights_is_refused(mano):
    with pytest.raises(UserError, match="nothing to learn"):
        Criterion(mano.faces, GRID, {"verts": 0.0})


def test_heatmap_loss_is_least_at_the_true_cells():
    """A joint in the middle of eight cells: the best volume has 1/8 in each; one cell alone costs log."""
    joint = GRID.to_joints(torch.tensor([[2.5, 4.5, 6.5]]))
    volume = torch.full((1, 8, 8, 8), -1e4)
    volume[0, 6:8, 4:6, 2:4] = 0.0
    torch.testing.assert_close(heatmap_loss(volume, joint, GRID), torch.zeros(1, 1))
    uniform = torch.zeros(1, 8, 8, 8)  # 512 equal cells against 8: log 512 - log 8
    torch.testing.assert_close(heatmap_loss(uniform, joint, GRID), torch.tensor([[64.0]]).log())
    moved = volume.roll(1, dims=1)
    assert heatmap_loss(moved, joint, GRID) > 100


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
    criterion = Criterion(mano.faces, GRID, {"laplacian": 1.0})
    assert criterion({**pred, "verts": pred["verts"] + 0.3}, batch)[0]["laplacian"] < 1e-6


def test_gradients_are_finite_at_a_collapsed_mesh(mano):
    pred, batch = perfect(mano)
    verts = torch.zeros_like(pred["verts"], requires_grad=True)
    criterion = Criterion(mano.faces, GRID, EVERY_TERM)
    criterion.total(criterion({**pred, "verts": verts}, batch)[0]).backward()
    assert torch.isfinite(verts.grad).all()
