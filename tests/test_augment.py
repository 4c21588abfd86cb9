"""Picture, camera and labels move together, whatever is drawn."""

import numpy as np
import pytest
import torch

from common.hand.joints import LEFT, RIGHT, WRIST
from common.hand.mirror import mirror_camera
from common.targets import add_targets, pictures
from common.utils.geometry import project
from common.utils.image import apply_affine
from data import augment
from data.augment import IDENTITY, AugmentParams, AugmentSettings
from data.batch import check, stacked, to_batch
from data.InterHand26M import InterHand26M
from main.config import Augment
from tests.interhand_set import cut_out, derived

SETTINGS = AugmentSettings(**vars(Augment()))
DRAWS = [augment.draw(np.random.default_rng(seed), SETTINGS) for seed in range(6)]
EXTREMES = [
    AugmentParams(mirror=True),
    AugmentParams(rotation=1.0),
    AugmentParams(scale=0.7, rotation=-1.0, shift=(0.1, -0.1), mirror=True),
]


@pytest.fixture(scope="module")
def records(interhand, hands):
    data = InterHand26M(
        hands,
        interhand / "annotations",
        interhand / "images",
        hand_type_valid_only=False,
        log=lambda line: None,
    )
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (512, 334, 3), dtype=np.uint8)
    extra = {"image": image, "root_depth": np.array([1.0, 1.1]), "root_depth_valid": np.array([1, 0])}
    return [{**data.record(index), **extra} for index in range(0, len(data), 2)]


def cut(record: dict, params: AugmentParams) -> dict:
    """One sample with what follows from its annotation."""
    return derived({key: rows[0] for key, rows in cut_out([record], params).items()})


def labels(record: dict, params: AugmentParams) -> dict:
    """The labels alone of one record, with a leading axis of one."""
    return augment.apply(stacked([record]), [params])


def project_numpy(points: np.ndarray, K: np.ndarray) -> np.ndarray:
    image = points @ K.T
    image[..., 2:] = np.where(image[..., 2:] == 0, 1, image[..., 2:])  # what is not valid may lie in 0
    return image[..., :2] / image[..., 2:]


def swap(hands_first: np.ndarray, mirror: bool) -> np.ndarray:
    return hands_first[::-1] if mirror else hands_first


@pytest.mark.parametrize("params", [IDENTITY, *DRAWS, *EXTREMES])
def test_labels_land_on_the_pixels(records, params):
    """The joints of the untouched record, through its own camera and then the affine map."""
    for record in records:
        sample = cut(record, params)
        pixels = apply_affine(
            sample["affine"].double().numpy(), project_numpy(record["joints"], record["K_orig"])
        )
        expected = swap(pixels, params.mirror)
        valid = sample["joints_img_valid"][..., 0].numpy() > 0
        assert np.abs(sample["joints_img"][..., :2].numpy() - expected)[valid].max(initial=0) < 0.1
        camera = sample["joints_cam"] + sample["root_cam"][:, None]
        again = project(camera, sample["K"]).numpy()
        assert np.abs(again - expected)[valid].max(initial=0) < 0.1


@pytest.mark.parametrize("params", [IDENTITY, *DRAWS[:3], *EXTREMES])
def test_meshes_on_the_device_land_on_the_pixels(records, hands, params):
    """MANO posed in the camera of the original picture, against MANO posed from the sample."""
    before, after = cut_out(records, IDENTITY), cut_out(records, params)
    there, here = add_targets(before, hands), add_targets(after, hands)
    for row in range(len(records)):
        verts = there["verts_cam"][row] + there["mano_root_cam"][row][:, None]
        pixels = project_numpy(verts.double().numpy(), before["K_orig"][row].double().numpy())
        expected = swap(apply_affine(after["affine"][row].double().numpy(), pixels), params.mirror)
        camera = here["verts_cam"][row] + here["mano_root_cam"][row][:, None]
        found = project(camera, after["K"][row]).numpy()
        valid = here["pose_valid"][row, :, 0, 0].numpy() > 0
        assert np.abs(found - expected)[valid].max(initial=0) < 0.1


@pytest.mark.parametrize("params", [*DRAWS, *EXTREMES])
def test_translation_between_the_hands_is_left_minus_right(records, params):
    for record in records:
        sample = cut(record, params)
        if sample["rel_trans_valid"]:
            expected = sample["root_cam"][LEFT] - sample["root_cam"][RIGHT]
            assert torch.allclose(sample["rel_trans"], expected, atol=1e-6)
            original = np.diff(record["joints"][:, WRIST], axis=0)
            assert np.isclose(sample["rel_trans"].norm(), np.linalg.norm(original), atol=1e-6)
        else:
            assert not sample["rel_trans"].any()


def test_mirroring_twice_is_the_identity(records):
    for record in records:
        once = labels(record, DRAWS[0])
        twice = augment.mirrored(augment.mirrored(once))
        assert twice.keys() == once.keys()
        for key, value in once.items():
            if isinstance(value, np.ndarray):
                assert np.allclose(twice[key], value, atol=1e-9), key
            elif key != "image":
                assert twice[key] == value


def test_mirrored_crop_is_the_flipped_crop(records):
    """Pixels, camera and everything that swaps sides."""
    for record in records:
        pictures = [cut_out([record], AugmentParams(mirror=m))["img"][0].int() for m in (False, True)]
        difference = (pictures[1].flip(2) - pictures[0]).abs()
        assert difference.float().mean() < 1  # warpAffine rounds its weights
        plain, flipped = (labels(record, AugmentParams(mirror=m)) for m in (False, True))
        assert np.allclose(flipped["K"], mirror_camera(plain["K"], 256))
        for key in ("present", "pose_valid", "root_depth", "joints_valid"):
            assert np.array_equal(flipped[key], plain[key][:, ::-1])
        assert {*flipped["hand_type"], *plain["hand_type"]} in ({"interacting"}, {"right", "left"})


def test_no_augmentation_leaves_a_plain_camera(records):
    for record in records:
        K = labels(record, IDENTITY)["K"][0]
        zoom = 256 / record["box"][2]
        assert np.isclose(K[0, 0], zoom * record["K_orig"][0, 0]) and K[0, 1] == K[1, 0] == 0
        assert np.isclose(K[0, 2], zoom * (record["K_orig"][0, 2] - record["box"][0]))


def test_joints_outside_the_crop_are_not_valid(records):
    sample = cut(records[0], AugmentParams(scale=0.3))
    pixels = project(sample["joints_cam"] + sample["root_cam"][:, None], sample["K"])
    inside = ((pixels >= 0) & (pixels <= 255)).all(-1)
    valid = sample["joints_img_valid"][..., 0] > 0
    assert not valid[~inside].any() and (~inside).any()
    assert not sample["joints_img"][~valid].any()
    assert sample["joints_cam_valid"].all()


def test_apply_leaves_its_argument_alone(records):
    before = {key: np.copy(value) for key, value in records[0].items()}
    together = stacked(records[:1])
    augment.apply(together, EXTREMES[-1:])
    assert all(np.array_equal(before[key], rows[0]) for key, rows in together.items())
    assert all(np.array_equal(before[key], records[0][key]) for key in before)


def test_draws_stay_in_their_bounds_and_repeat():
    rng = np.random.default_rng(0)
    throws = [augment.draw(rng, SETTINGS) for _ in range(500)]
    assert all(0.75 <= t.scale <= 1.25 and abs(t.rotation) <= np.deg2rad(60) for t in throws)
    assert all(0.8 <= c <= 1.2 for t in throws for c in t.color)
    assert all(abs(s) <= 0.05 for t in throws for s in t.shift)
    assert 0.4 < np.mean([t.mirror for t in throws]) < 0.6
    assert 0.5 < np.mean([t.rotation != 0 for t in throws]) < 0.7
    first, second = (augment.draw(np.random.default_rng([1, 2, 3]), SETTINGS) for _ in range(2))
    assert first == second


def test_broken_samples_are_named(records):
    batch = {
        key: np.asarray(rows) if torch.is_tensor(rows) else rows
        for key, rows in cut_out(records, IDENTITY).items()
    }
    check(batch)
    spoiled = batch["pose"].copy()
    spoiled[1, 0, 3] = np.nan
    for key, value, row in (("pose", spoiled, 1), ("shape", batch["shape"][..., :9], 0)):
        with pytest.raises(ValueError, match=rf"{batch['id'][row]}.*{key}"):
            check({**batch, key: value})
    with pytest.raises(ValueError, match="keys"):
        check({key: value for key, value in batch.items() if key != "box"})
    with pytest.raises(ValueError, match=rf"{batch['id'][2]}: human_annotated"):
        check({**batch, "human_annotated": [True, False, 1, *batch["human_annotated"][3:]]})


def test_throws_of_a_batch_are_those_of_each_sample(records):
    """Different throws side by side, mirrored ones and not, equal each alone; colours are the throw's."""
    throws = [IDENTITY, *DRAWS, *EXTREMES]
    some = [records[index % len(records)] for index in range(len(throws))]
    together, rows, faults = to_batch(stacked(some), throws)
    assert rows == list(range(len(throws))) and not faults
    for row, (record, throw) in enumerate(zip(some, throws, strict=True)):
        alone = cut_out([record], throw)
        for key, values in alone.items():
            if torch.is_tensor(values):
                torch.testing.assert_close(together[key][row], values[0], atol=1e-6, rtol=0)
            else:
                assert together[key][row] == values[0]
        assert np.allclose(together["color"][row], throw.color)


def test_colours_change_on_the_device_and_stop_at_white():
    levels = torch.tensor([0, 100, 250], dtype=torch.uint8).expand(2, 3, 3)[:, :, None]
    color = torch.tensor([[1.0, 1, 1], [0.5, 1, 1.2]])
    found = pictures({"img": levels, "color": color})
    expected = levels.double() * color.double()[:, :, None, None] / 255
    torch.testing.assert_close(found.double(), expected.clamp(max=1), atol=1e-6, rtol=0)
    assert found.dtype == torch.float32 and found.max() == 1
    assert pictures({"img": found}) is found
    levels = torch.arange(256, dtype=torch.uint8).expand(1, 3, 1, 256)
    assert torch.equal(pictures({"img": levels, "color": torch.ones(1, 3)}), levels.float() / 255)
