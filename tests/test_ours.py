"""What is not the paper's: finer heat maps, the aligned mesh stage, what refinement is told, averages."""

import pytest
import torch
from torch import nn

from common.hand.joints import LEFT, RIGHT
from common.hand.mano import load_mano
from common.nets.aligned_stage import AlignedMeshStage, aligned_camera
from common.nets.heatmap import HeatmapGrid
from common.nets.losses import heatmap_loss
from common.nets.mesh_stage import PresenceHead
from common.nets.pyramid import Pyramid, PyramidExtractor
from common.training.buffers import MovingAverage, kept_buffers, share_storage
from common.utils.errors import UserError
from common.utils.geometry import project, weak_perspective
from common.utils.optimisation import moving_average
from main.config import override
from main.model import build_model
from main.presets import preset

WIDE = HeatmapGrid(side=16, margin=2, bins=4, depth_range=0.4)


@pytest.fixture(scope="module")
def mano():
    return load_mano()


def random_hands(mano, batch=2):
    """Joints about the wrists (B,2,21,3)."""
    torch.manual_seed(0)
    _, joints = mano(0.3 * torch.randn(batch, 2, 16, 3), torch.randn(batch, 2, 10))
    return joints - joints[:, :, :1]


def test_cells_beyond_the_border():
    """16 cells of 16 pixels and two more on each side: centres from -24.5 to 279.5; 4 bins of 0.1 m."""
    assert WIDE.shape == (4, 20, 20)
    ends = WIDE.to_joints(torch.tensor([[0.0, 19.0, 0.0], [2.0, 17.0, 3.0]]))
    torch.testing.assert_close(ends, torch.tensor([[-24.5, 279.5, -0.15], [7.5, 247.5, 0.15]]))
    reached = torch.tensor([[-24.0, 279.0, 0.1], [-25.0, 100.0, 0.0], [100.0, 100.0, 0.16]])
    assert WIDE.reachable(reached).flatten().tolist() == [1.0, 0.0, 0.0]
    assert HeatmapGrid().reachable(reached[:1]).item() == 0


def test_the_divergence_knows_depth_and_side_apart():
    volume = torch.full((1, 4, 20, 20), -80.0)
    volume[0, 1, 0, 19] = 80.0  # z, y, x
    joint = WIDE.to_joints(torch.tensor([[19.0, 0.0, 1.0]]))
    torch.testing.assert_close(heatmap_loss(volume, joint, WIDE), torch.zeros(1, 1))
    assert heatmap_loss(volume.roll(1, 1), joint, WIDE) > 100


def test_the_pyramid_sees_what_lies_where():
    """A change of the early map in one corner changes that corner of the map alone."""
    torch.manual_seed(0)
    pyramid = Pyramid(6, 8, 16, early=(5, 7)).eval()
    adapted, early = torch.randn(1, 2, 6, 8, 8), [torch.randn(1, 5, 32, 32), torch.randn(1, 7, 16, 16)]
    before = pyramid(adapted, early)
    early[1][..., 0, 0] += 1
    after = pyramid(adapted, early)
    assert before.shape == (1, 2, 8, 16, 16)
    changed = (before - after).abs().amax((1, 2))[0] > 0
    assert changed[:2, :2].any() and not changed[2:].any() and not changed[:, 2:].any()


@pytest.mark.parametrize("side", [8, 16, 32])
def test_heat_maps_of_every_side(side):
    grid = HeatmapGrid(side=side, margin=1)
    early = [torch.randn(1, 5, 32, 32), torch.randn(1, 7, 16, 16)]
    extractor = PyramidExtractor(8, grid, Pyramid(6, 8, side, (5, 7)), detach_joints=False)
    joints, sampled = extractor(torch.randn(1, 2, 6, 8, 8), early)
    assert joints["heatmap"].shape == (1, 2, 21, 8, side + 2, side + 2)
    assert sampled["joint_maps"].shape == (1, 2, 8, side, side)
    assert sampled["joint_features"].shape == (1, 2, 21, 8)


def test_the_paper_s_head_has_no_finer_maps(mano):
    with pytest.raises(UserError, match="joint_head=pyramid"):
        build_model(override(preset("lgnet"), ["heatmap_side=16"]).model, mano)
    with pytest.raises(UserError, match="or neither"):
        build_model(override(preset("eanet"), ["regressor=aligned"]).model, mano)


def test_the_camera_draws_the_joints_where_they_are(mano):
    joints = random_hands(mano)
    cam = torch.tensor([[900.0, 100, 120], [700, 60, 200]]).expand(2, 2, 3)
    image = torch.cat([weak_perspective(joints, cam), joints[..., 2:]], -1)
    torch.testing.assert_close(aligned_camera(joints, image), cam, atol=1e-2, rtol=1e-4)
    gathered = image.clone()
    gathered[..., :2] = 128.0  # all joints on one pixel: no scale, but a place
    cam = aligned_camera(joints, gathered)
    assert (cam[..., 0] >= 80).all()
    torch.testing.assert_close(weak_perspective(joints, cam).mean(-2), torch.full((2, 2, 2), 128.0))


def stage(mano, feedback=1):
    torch.manual_seed(0)
    return AlignedMeshStage(8, 6, 1, feedback, HeatmapGrid(), mano).eval()


def evidence(mano):
    """Random features, and the joints of hands at depth 1 m and 0.9 m in a camera of 1,000 pixels."""
    joints = random_hands(mano)
    wrists = torch.tensor([[-0.05, 0, 1.0], [0.07, 0.02, 1.0]])
    K = torch.tensor([[1000.0, 0, 128], [0, 1000, 128], [0, 0, 1]])
    image = torch.cat([project(joints + wrists[:, None], K), joints[..., 2:]], -1)
    hands = {
        "adapted": torch.randn(2, 2, 6, 8, 8),
        "joint_maps": torch.randn(2, 2, 8, 16, 16),
        "joint_features": torch.randn(2, 2, 21, 8),
    }
    return hands, image, joints, wrists


def test_the_aligned_stage_starts_at_the_mean_pose(mano):
    hands, image, *_ = evidence(mano)
    pred = stage(mano)(hands, image)
    mean = mano.rotations(torch.zeros(2, 2, 16, 3))
    torch.testing.assert_close(pred["rotmat"], mean, atol=0.1, rtol=0)


def test_the_left_wrist_is_first_guessed_from_the_cameras(mano):
    """Hands equally far away: the guess is right across the picture before anything is learned."""
    hands, image, joints, wrists = evidence(mano)
    cam = aligned_camera(joints, image)
    guess = stage(mano).relative_translation(hands["adapted"].mean((-2, -1)), image, cam)
    true = wrists[LEFT] - wrists[RIGHT]
    torch.testing.assert_close(guess[:, :2], true[:2].expand(2, 2), atol=0.012, rtol=0)


def test_feedback_looks_where_the_mesh_lies(mano):
    """Maps that differ only far from the drawn hands change nothing; where the hands are, they do."""
    hands, image, *_ = evidence(mano)
    image = torch.cat([image[..., :2] * 0.3, image[..., 2:]], -1)  # both hands in the upper left corner
    network = stage(mano)
    for hand in network.correct[0].hands:
        nn.init.normal_(hand.rotation.weight)
    before = network(hands, image)["rotmat"]
    far, near = (dict(hands, joint_maps=hands["joint_maps"].clone()) for _ in range(2))
    noise = torch.randn(8, 16, 16)
    far["joint_maps"][..., 10:, 10:] += noise[:, 10:, 10:]
    near["joint_maps"][..., :6, :6] += noise[:, :6, :6]
    torch.testing.assert_close(network(far, image)["rotmat"], before)
    assert (network(near, image)["rotmat"] - before).abs().max() > 1e-3


def test_presence_does_not_depend_on_the_size_of_the_features():
    head, maps = PresenceHead(5), torch.randn(3, 5, 8, 8)
    torch.testing.assert_close(head(maps), head(100 * maps), atol=1e-3, rtol=1e-3)


def test_refinement_is_told_the_misfit(mano):
    settings = ["channels=16", "sjt_blocks=1", "refine_channels=8", "frozen_stages=0"]
    network = build_model(override(preset("lgnet_small"), settings).model, mano).refine_stage
    joints = random_hands(mano)
    cam = torch.tensor([800.0, 110, 130]).expand(2, 2, 3)
    image = torch.cat([weak_perspective(joints, cam), joints[..., 2:]], -1)
    camera, off = network.disagreement(image, joints, cam)
    torch.testing.assert_close(off, torch.zeros_like(off))
    torch.testing.assert_close(camera[0, RIGHT], torch.tensor([1.0, 221 / 256 - 1, 261 / 256 - 1]))
    torch.testing.assert_close(camera[0, LEFT, 1], -camera[0, RIGHT, 1])  # as the right hand would see it
    image[..., 0] += 16  # J lies 16 pixels to the right: an eighth of half the crop, times 4
    off = network.disagreement(image, joints, cam)[1].unflatten(-1, (21, 2))
    torch.testing.assert_close(off[:, RIGHT, :, 0], torch.full((2, 21), 0.5))
    torch.testing.assert_close(off[:, LEFT, :, 0], torch.full((2, 21), -0.5))


def test_moving_average():
    """Against the formula written out: it keeps (1 + n) / (10 + n) of itself, at most the decay, and nothing
    of where it started."""
    share = moving_average(0.5)
    network, copy = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    average = MovingAverage(network, copy, share_storage(kept_buffers(network)))
    expected = 0.0
    for n in range(20):
        nn.init.constant_(network.weight, n)
        network.running_var.fill_(2 * n)
        network.num_batches_tracked.fill_(n)
        average.update(torch.tensor(share(n)))
        keep = min(0.5, (1 + n) / (10 + n)) if n else 0
        expected = keep * expected + (1 - keep) * n
    torch.testing.assert_close(copy.weight, torch.tensor([expected]))
    torch.testing.assert_close(copy.running_var, torch.tensor([2 * expected]))
    assert copy.num_batches_tracked == 19
    before = copy.weight.clone()
    average.update(torch.tensor(0.0))
    assert torch.equal(copy.weight, before)
