"""The synthetic stream: reproducible, its pictures agree with its labels."""

import pytest
import torch

from common.eval.metrics import Metrics
from common.hand.joints import LEFT, RIGHT
from common.nets.heatmap import HeatmapGrid
from common.nets.losses import Criterion
from common.targets import add_targets, annotated
from common.utils.geometry import IMAGE_SIZE, project
from data.Synthetic import SyntheticStream
from data.Synthetic.draws import Draws
from data.Synthetic.interactions import INTERACTIONS
from data.Synthetic.labels import Placed, draw_camera
from data.Synthetic.placement import overlap
from data.Synthetic.poses import mirror_left
from main.presets import preset
from tests.two_hands import make_batch, perfect

SIZE = 256


@pytest.fixture(scope="module")
def layer(hands):
    return hands


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


@pytest.fixture(scope="module")
def many(stream):
    """Many placed hands and the cameras that they are seen by."""
    draws = Draws(9, range(1024), "scene")
    hands = stream.place(draws)
    return hands, draw_camera(draws, hands)


def kind(name):
    return list(INTERACTIONS).index(name)


def test_hands_keep_apart(many, stream):
    """They neither penetrate each other nor miss each other where they are to touch."""
    hands, _ = many
    depth = overlap(hands.centres, stream.radii).amax((1, 2))
    assert (depth < 0.003).float().mean() > 0.93 and (depth < 0.006).float().mean() > 0.98
    touch = torch.tensor([kind.touch for kind in INTERACTIONS.values()])[hands.kind]
    assert (depth[touch] > 0).float().mean() > 0.95
    wrists = (hands.joints[:, LEFT, 0] - hands.joints[:, RIGHT, 0]).norm(dim=-1)
    assert wrists.min() > 0.03 and wrists.max() < 0.62


def test_clasped_fingers_alternate(many):
    """Along the row of knuckles, right and left fingers take turns."""
    hands, _ = many
    joints = hands.joints[(hands.kind == kind("clasp")) & (hands.exists.sum(1) == 2)]
    row = joints[:, RIGHT, 5] - joints[:, RIGHT, 17]  # from the pinky's knuckle to the index finger's
    middle = joints[:, :, [6, 10, 14, 18]] / 2 + joints[:, :, [7, 11, 15, 19]] / 2
    place = (middle * row[:, None, None]).sum(-1).flatten(1)  # right's four, left's four
    owner = place.argsort(-1) // 4
    turns = (owner[:, 1:] != owner[:, :-1]).sum(-1)
    assert len(joints) > 40 and (turns >= 6).float().mean() > 0.9


def test_hands_in_pictures_are_as_large_as_in_real_ones(many):
    """Crop pixels per metre: close-together hands of real pictures have 1,500. A third of the pairs are
    apart, as people's hands are when they talk or work, and smaller for it."""
    hands, camera = many
    scale = camera["K"][:, 0, 0] / hands.joints[..., 2].mean((1, 2))
    two = hands.exists.sum(1) == 2
    close = hands_gap(hands) < 0.01
    touching = scale[two & close]
    assert 1100 < touching.median() < 1350
    assert (touching > 1400).float().mean() > 0.2 and 0.08 < (touching < 700).float().mean() < 0.25
    assert 0.2 < (hands_gap(hands)[two] > 0.02).float().mean() < 0.4
    assert scale[two & ~close].median() < 0.8 * touching.median()


def hands_gap(hands: Placed) -> torch.Tensor:
    """(B,) metres between the nearest vertices of both hands."""
    return torch.cdist(hands.verts[:, RIGHT], hands.verts[:, LEFT]).amin((1, 2))


def test_how_many_hands_there_are(many):
    count = many[0].exists.sum(1)
    shares = [(count == number).float().mean() for number in range(3)]
    assert 0.01 < shares[0] < 0.06 and 0.22 < shares[1] < 0.32 and 0.65 < shares[2] < 0.75
    single = many[0].exists[count == 1].mean(0)
    assert abs(single[RIGHT] - 0.5) < 0.1


def test_hands_are_before_the_camera_and_in_the_picture(many):
    hands, camera = many
    assert hands.verts[..., 2].min() > 0.15
    middle = (hands.joints.mean(2) * hands.exists[..., None]).sum(1) / hands.exists.sum(1, keepdim=True)
    there = hands.exists.sum(1) > 0
    uv = project(middle[:, None], camera["K_orig"])[there, 0] / camera["image_size"][there]
    assert ((uv > 0) & (uv < 1)).all(-1).float().mean() > 0.99
    focal = camera["K_orig"][:, 0, 0]
    view = 2 * torch.rad2deg(torch.atan(camera["image_size"].amax(1) / 2 / focal))
    assert view.min() > 15 and view.max() < 80
    assert 0.55 < ((view > 50) & (view < 76)).float().mean() < 0.85


def test_pictures_without_hands_have_no_labels(layer, many):
    index = int((many[0].exists.sum(1) == 0).nonzero()[0])
    batch = add_targets(SyntheticStream(layer, 1, 9, 1).batch([index]), layer)
    assert batch["hand_type"] == ["none"]
    for key in ("joints_valid", "pose_valid", "present", "rel_trans_valid", "joints"):
        assert not batch[key].any(), key
    tensors = [value for value in batch.values() if torch.is_tensor(value)]
    assert all(value.isfinite().all() for value in tensors)
    # two hands drawn where none is: nothing but their presence counts
    pred = {
        name: value[:1].clone().requires_grad_() for name, value in perfect(layer, make_batch(layer)).items()
    }
    terms, counts = Criterion(layer.faces, HeatmapGrid(), vars(preset("lgnet").loss))(pred, batch)
    assert {name for name in terms if counts[name] > 0} == {"present"}
    sum(terms.values()).backward()
    assert all(value.grad is None or value.grad.isfinite().all() for value in pred.values())
    metrics = Metrics(layer)
    metrics.update({name: value.detach() for name, value in pred.items()}, batch)
    assert all(score.value is None for score in metrics.summary()["lgnet"].values())


def placed(layer, view, name):
    """Joints (B,2,21,3) of one interaction straight from a view."""
    stream = SyntheticStream(layer, 8, 3, 8, view=view, cone=0, roll=0)
    hands = stream.place(Draws(3, range(1024), "scene"))
    joints = hands.joints[hands.kind == kind(name)]
    assert len(joints) > 10
    return joints


def test_views_look_from_where_they_say(layer):
    """x of a camera goes right, y down, z forward."""
    own, front = (placed(layer, view, "near").mean(2) for view in ("own", "front"))
    assert ((own[:, RIGHT] - own[:, LEFT])[:, 0] > 0).float().mean() > 0.9  # as the person sees them
    assert ((front[:, RIGHT] - front[:, LEFT])[:, 0] < 0).float().mean() > 0.9
    above = placed(layer, "above", "praying")  # finger tips are nearer than wrists
    assert (above[:, :, 12, 2] < above[:, :, 0, 2]).float().mean() > 0.9
    side = placed(layer, "side", "near").mean(2)
    between = (side[:, RIGHT] - side[:, LEFT]).abs()
    assert (between[:, 2] > between[:, 0]).float().mean() > 0.9  # one hand behind the other
    assert 0.2 < (side[:, RIGHT, 2] < side[:, LEFT, 2]).float().mean() < 0.8  # from either side


def test_hands_point_anywhere_at_times(many):
    """Fingers point up, down, left and right in the picture."""
    joints = many[0].joints
    along = (joints[:, :, 9] - joints[:, :, 0])[..., :2].flatten(0, 1)
    angle = torch.atan2(along[:, 1], along[:, 0])
    shares = torch.histc(angle, 8, -torch.pi, torch.pi) / len(angle)
    assert shares.min() > 0.04
