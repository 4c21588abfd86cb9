"""The synthetic stream: reproducible, its pictures agree with its labels."""

import pytest
import torch

from common.hand.joints import LEFT, RIGHT
from common.hand.mano import load_mano
from common.targets import annotated
from common.utils.geometry import IMAGE_SIZE, project
from data.Synthetic import SyntheticStream
from data.Synthetic.draws import Draws
from data.Synthetic.labels import draw_camera
from data.Synthetic.placement import overlap
from data.Synthetic.poses import mirror_left

SIZE = 256


@pytest.fixture(scope="module")
def layer():
    return load_mano()


@pytest.fixture(scope="module")
def stream(layer):
    return SyntheticStream(layer, 8, seed=3, samples=100)


@pytest.fixture(scope="module")
def batch(stream):
    batch = stream.batch(range(24))
    return {**batch, **annotated(batch)}


def test_same_seed_same_batch(layer, stream):
    again = SyntheticStream(layer, 4, seed=3, samples=10)
    again.set_epoch(1, batch=1)
    batches = list(again)
    assert len(again) == 3
    assert again.ids() == sum(
        (batch["id"] for batch in again), [f"synthetic/3/{i:06d}" for i in range(10, 14)]
    )
    assert [len(batch["id"]) for batch in batches] == [4, 2]
    assert batches[0]["id"] == [f"synthetic/3/0000{i}" for i in (14, 15, 16, 17)]
    first, second = batches[0], stream.batch(range(14, 18))
    for key, value in first.items():
        assert torch.equal(value, second[key]) if torch.is_tensor(value) else value == second[key]
    other = SyntheticStream(layer, 4, seed=4, samples=10).batch(range(14, 18))
    assert not torch.equal(first["img"], other["img"])
    assert not torch.equal(first["pose"], other["pose"])


def test_no_two_streams_share_their_numbers():
    """Neither neighbouring seeds far along, nor seeds that differ above 32 bits."""
    for one, other in (((0, 1_000_003), (1, 0)), ((2**32, 5), (0, 5)), ((0, 2**32), (0, 0))):
        first, second = (Draws(seed, [index], "scene") for seed, index in (one, other))
        assert not torch.equal(first.uniform(8), second.uniform(8))
        assert not torch.equal(first.normal(8), second.normal(8))


def test_a_purpose_has_numbers_of_its_own():
    scene, looks = (Draws(3, [7], purpose) for purpose in ("scene", "looks"))
    assert not torch.equal(scene.uniform(8), looks.uniform(8))
    assert not torch.equal(scene.normal(8), looks.normal(8))


def test_numbers_are_uniform_and_normal():
    draws = Draws(0, range(64), "looks")
    flat, bell = draws.uniform(256), draws.normal(2048, limit=9)
    assert 0 <= flat.min() and flat.max() < 1 and abs(flat.mean() - 0.5) < 0.01
    assert abs(bell.mean()) < 0.01 and abs(bell.std() - 1) < 0.01


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_an_epoch(layer, world):
    shares = [SyntheticStream(layer, 4, 3, 22, rank=rank, world=world) for rank in range(world)]
    starts = []
    for share in shares:
        share.set_epoch(2)
        assert share.ids() == [f"synthetic/3/{index:06d}" for index in range(44, 66)]
        starts += share._batch_starts()
    assert sorted(starts) == [0, 4, 8, 12, 16, 20]
    assert sum(len(share) for share in shares) == 6


def test_samples_are_found_by_their_ids(layer):
    stream = SyntheticStream(layer, 4, 3, 10)
    stream.set_epoch(1)
    chosen = stream.select(["synthetic/3/000017", "synthetic/3/000012"])
    assert chosen["id"] == ["synthetic/3/000017", "synthetic/3/000012"]
    torch.testing.assert_close(chosen["K"], stream.batch([17, 12])["K"])


def test_sample_does_not_depend_on_its_batch(batch, stream):
    alone = stream.batch(range(5, 6))
    for key in ("pose", "joints", "K", "pivot_cam"):
        torch.testing.assert_close(alone[key][0], batch[key][5], atol=1e-4, rtol=1e-4)
    assert (alone["img"][0] - batch["img"][5]).abs().mean() < 1e-3


def test_labels_project_on_labels(batch):
    uv = project(batch["joints_cam"] + batch["root_cam"][:, :, None], batch["K"][:, None])
    shown = batch["joints_img_valid"][..., 0] > 0
    there = batch["joints_valid"] > 0
    assert shown[there].float().mean() > 0.8 and not shown[~there].any()
    assert (uv - batch["joints_img"][..., :2])[shown].abs().max() < 1e-2
    torch.testing.assert_close(batch["joints_img"][shown][:, 2], batch["joints_cam"][shown][:, 2])
    torch.testing.assert_close(batch["root_depth"], batch["root_cam"][..., 2])
    between = batch["root_cam"][:, LEFT] - batch["root_cam"][:, RIGHT]
    torch.testing.assert_close(batch["rel_trans"], between * batch["rel_trans_valid"])
    affine = torch.cat((batch["affine"], torch.tensor([[[0.0, 0, 1]]]).expand(24, 1, 3)), 1)
    torch.testing.assert_close(affine @ batch["K_orig"], batch["K"], atol=1e-2, rtol=1e-5)


def test_mesh_of_the_labels(layer, batch):
    """Pose, shape and pivot give back the annotated joints."""
    verts, joints = layer(batch["pose"], batch["shape"])
    move = batch["pivot_cam"] - layer.rest_wrist(batch["shape"])
    error = joints + (move - batch["root_cam"])[:, :, None] - batch["joints_cam"]
    assert (error * batch["pose_valid"]).abs().max() < 1e-4


def test_mesh_lies_on_drawn_pixels(stream):
    draws = Draws(11, range(6), "looks")
    hands = stream.place(draws)
    K = draw_camera(draws, hands)["K"]
    mask = stream.painter.draw(draws, hands, K).fragments.mask.float()
    mask = torch.nn.functional.max_pool2d(mask, 3, stride=1, padding=1) > 0  # rounding, below
    uv = project(hands.verts, K[:, None]).round().long()
    inside = ((uv >= 0) & (uv < IMAGE_SIZE)).all(-1) & (hands.exists[..., None] > 0)
    sample = torch.arange(6)[:, None, None].expand_as(inside)[inside]
    hit = mask[sample, uv[..., 1][inside], uv[..., 0][inside]]
    assert len(hit) > 6 * 600
    assert hit.all()
    assert 0.05 < mask.float().mean() < 0.7


def test_left_and_right_are_alike(stream):
    """Mirroring the left hands gives poses with the statistics of the right ones."""
    rotmat = stream.place(Draws(5, range(256), "scene")).rotmat
    fingers = mirror_left(rotmat)[:, :, 1:].mean(0)  # (2,15,3,3)
    assert (fingers[RIGHT] - fingers[LEFT]).abs().max() < 0.12
    angle = torch.acos(((rotmat.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2).clamp(-1, 1))
    assert (angle[:, RIGHT, 1:].mean() - angle[:, LEFT, 1:].mean()).abs() < 0.05


def test_hands_keep_apart(stream):
    hands = stream.place(Draws(9, range(128), "scene"))
    assert (overlap(hands.centres, stream.radii).amax((1, 2)) < 0.003).float().mean() > 0.95
    wrists = (hands.joints[:, LEFT, 0] - hands.joints[:, RIGHT, 0]).norm(dim=-1)
    assert wrists.min() > 0.03 and wrists.max() < 0.47
