"""InterHand2.6M's labels against the files themselves, read here once more, independently."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.hand.joints import INTERHAND_TO_JOINTS, LEFT, RIGHT, WRIST
from common.targets import add_targets
from common.utils.errors import UserError
from data.InterHand26M import InterHand26M
from data.loader import build_loader
from tests.interhand_set import FRAMES, VIEWS, collate, derived, load, read, samples, to_camera, views

REAL = Path(__file__).parents[2] / "shared" / "real" / "interhand2.6m_sample"


@pytest.fixture(scope="module")
def train(interhand, hands):
    return samples(load(interhand, hands))


def test_counts_of_every_filter(interhand, hands):
    lines = []
    choices = {
        "all": {},
        "IH": {"hands": "IH"},
        "SH": {"hands": "SH"},
        "H": {"subset": "H"},
        "M": {"subset": "M"},
        "limit": {"limit": 5},
    }
    count = {name: len(load(interhand, hands, **choice)) for name, choice in choices.items()}
    assert count["all"] == 30 and count["IH"] == 24 and count["SH"] == 6
    ids = [row["id"] for row in read(interhand, "train", "data")["annotations"]]
    text = (interhand / "annotations" / "aid_human_annot_train.txt").read_text()
    human = {int(line) for line in text.splitlines()}
    both = sum(id in human and id < 909_069 for id in ids)
    assert both > 0 and count["H"] == len(human)
    assert count["M"] == len(ids) - len(human) + both
    assert count["limit"] == 5
    load(interhand, hands, hands="SH", log=lines.append)
    assert any("6 (24 left out)" in line for line in lines)
    assert any("stand-in hand" in line for line in lines)


def test_hand_type_valid_rule(interhand, hands):
    rows = read(interhand, "train", "data")["annotations"]
    valid = sum(row["hand_type_valid"] for row in rows)
    assert 0 < valid < len(rows)
    assert len(load(interhand, hands, hand_type_valid_only=True)) == valid


def test_annotations_are_joined_by_image_id(interhand, hands):
    """In the test split ids differ, lists are shuffled and have gaps."""
    data = read(interhand, "test", "data")
    image_of = {image["id"]: image["file_name"] for image in data["images"]}
    file_of = {str(row["id"]): image_of[row["image_id"]] for row in data["annotations"]}
    loaded = load(interhand, hands, split="test")
    records = [loaded.record(index) for index in range(len(loaded))]
    assert [r["id"] for r in records] == [str(row["id"]) for row in data["annotations"]]
    assert all(str(r["image_path"]).endswith(file_of[r["id"]]) for r in records)


def test_joints_are_where_the_files_say(interhand, train):
    """Independent of the reader: millimetres, one camera, IH order."""
    cameras, joints = (read(interhand, "train", kind)["0"] for kind in ("camera", "joint_3d"))
    for (frame, camera), sample in train.items():
        if frame not in joints:
            continue
        world = np.array(joints[frame]["world_coord"]).reshape(2, 21, 3)[:, list(INTERHAND_TO_JOINTS)]
        flags = np.array(joints[frame]["joint_valid"]).reshape(2, 21)[:, list(INTERHAND_TO_JOINTS)]
        rotation, position = (np.array(cameras[key][camera]) for key in ("camrot", "campos"))
        expected = np.einsum("ij,hkj->hki", rotation, world - position) / 1000
        found = sample["joints_cam"] + sample["root_cam"][:, None]
        valid = sample["joints_cam_valid"][..., 0].numpy() > 0
        assert np.array_equal(valid, flags & flags[:, :1])
        assert np.abs(found.numpy() - expected)[valid].max() < 1e-6


def test_parameter_form_equals_the_exact_form(interhand, hands, train):
    """MANO with the camera's parameters about its pivot = camrot @ MANO in the world + t."""
    cameras, fits = (read(interhand, "train", kind)["0"] for kind in ("camera", "MANO_NeuralAnnot"))
    compared = 0
    for (frame, camera), sample in train.items():
        there = fits.get(frame, {})
        verts = hands(sample["pose"][None], sample["shape"][None])[0][0]
        verts = verts + (sample["pivot_cam"] - hands.rest_wrist(sample["shape"][None])[0])[:, None]
        for side, name in enumerate(("right", "left")):
            fit = there.get(name)
            assert bool(sample["pose_valid"][side]) == (fit is not None)
            if fit is not None:
                expected = to_camera(hands, side, fit, cameras, camera)
                assert np.abs(verts[side].double().numpy() - expected).max() < 1e-6
                compared += 1
    assert compared > 30


def test_annotated_joints_lie_on_the_fit(hands, train):
    """The set is made with a few millimetres between the two; a wrong order is centimetres."""
    batch = add_targets(collate(list(train.values())), hands)
    fit = batch["mano_joints_cam"] + batch["mano_root_cam"][:, :, None]
    gap = (fit - batch["joints_cam"] - batch["root_cam"][:, :, None]).norm(dim=-1)
    valid = (batch["joints_cam_valid"] * batch["pose_valid"])[..., 0] > 0
    assert valid.sum() > 500 and gap[valid].max() < 0.008


def test_brightness_and_what_data_json_says(interhand, hands, train):
    """The level of the whole picture; the flags of data.json, gated by the wrist, whatever the crop."""
    loaded = load(interhand, hands)
    rows = {str(row["id"]): row for row in read(interhand, "train", "data")["annotations"]}
    assert loaded.ids() == [sample["id"] for sample in (loaded[index] for index in range(len(loaded)))]
    for sample in train.values():
        row = rows[sample["id"]]
        index = loaded.ids().index(sample["id"])
        picture = cv2.imread(str(loaded.record(index)["image_path"]))
        assert abs(float(sample["brightness"]) - picture.mean()) < 1e-3
        assert sample["hand_type_valid"] == row["hand_type_valid"]
        flags = np.array(row["joint_valid"]).reshape(2, 21)[:, list(INTERHAND_TO_JOINTS)]
        expected = flags * flags[:, :1] * sample["joints_cam_valid"][..., 0].numpy()
        assert np.array_equal(sample["joints_seen"][..., 0].numpy(), expected)
    assert {float(s["brightness"]) < 10 for s in views(train, "black")} == {True}
    assert sum(float(s["brightness"]) < 10 for s in train.values()) == VIEWS


def test_pictures_show_the_labels(train):
    """Most joints lie on the drawn hand, which is lighter than the background."""
    sample = views(train, "right")[0]
    pixels = sample["joints_img"][RIGHT, :, :2].round().long()
    hand = sample["img"].mean(0)[pixels[:, 1], pixels[:, 0]]
    assert sample["joints_img_valid"][RIGHT].sum() == 21
    assert hand.median() > sample["img"].mean(0).median()


def test_missing_fits_are_not_valid_and_zero(train):
    for oddity, right in (("no_left_fit", 1), ("no_fit_frame", 0), ("right", 1)):
        for sample in views(train, oddity):
            assert sample["pose_valid"].flatten().tolist() == [right, 0]
            assert sample["shape_valid"].flatten().tolist() == [right, 0]
            for key in ("pose", "shape", "pivot_cam"):
                assert not sample[key][LEFT].any()
    capture_1 = train[str(4973 + 18 * 9), "400002"]  # a capture that the MANO file does not know
    assert not capture_1["pose_valid"].any() and capture_1["joints_cam_valid"].any()


def test_large_shapes_are_not_trusted(interhand, hands):
    table = samples(load(interhand, hands, split="val"))
    for sample in views(table, "large_beta"):
        assert sample["pose_valid"].flatten().tolist() == [1, 1]
        assert sample["shape_valid"].flatten().tolist() == [0, 1]
        assert sample["shape"][RIGHT].abs().max() > 3


def test_invalid_joints_are_zero_whatever_the_file_holds(train):
    for sample in views(train, "bad_joints"):
        valid = sample["joints_cam_valid"][..., 0]
        assert (valid == 0).sum() == 6 and not sample["joints_cam"][valid == 0].any()
        assert not sample["joints_img"][sample["joints_img_valid"][..., 0] == 0].any()


def test_without_its_wrist_a_hand_has_no_joints(train):
    for sample in views(train, "no_wrist"):
        for key in ("joints_cam", "joints_cam_valid", "joints_img_valid", "root_cam", "root_cam_valid"):
            assert not sample[key][LEFT].any() and sample[key][RIGHT].any()
        assert sample["rel_trans_valid"] == 0 and not sample["rel_trans"].any()
        assert sample["present"].tolist() == [1, 1] and sample["pose_valid"][LEFT] == 1


def test_hand_outside_keeps_its_3d_and_loses_its_2d(train):
    for sample in views(train, "outside"):
        assert not sample["joints_img_valid"][LEFT].any() and sample["joints_cam_valid"][LEFT].all()
        assert sample["rel_trans_valid"] == 1
        assert sample["box"][2] < 700  # the box holds what the picture shows


def test_single_hands(train):
    for oddity, side in (("right", RIGHT), ("left", LEFT)):
        for sample in views(train, oddity):
            assert sample["hand_type"] == oddity
            assert sample["present"].tolist() == [float(side == RIGHT), float(side == LEFT)]
            assert not sample["joints_cam_valid"][1 - side].any() and sample["rel_trans_valid"] == 0


def test_box_is_the_squared_tight_box_of_the_meshes(interhand, hands, train):
    camera = read(interhand, "train", "camera")["0"]
    fits = read(interhand, "train", "MANO_NeuralAnnot")["0"][str(FRAMES["plain"])]
    for (frame, name), sample in train.items():
        if int(frame) != FRAMES["plain"]:
            continue
        verts = [to_camera(hands, side, fits[h], camera, name) for side, h in enumerate(("right", "left"))]
        verts = np.concatenate(verts)
        pixels = verts[:, :2] / verts[:, 2:] * camera["focal"][name] + camera["princpt"][name]
        low = np.maximum(pixels.min(0), 0)
        high = np.minimum(pixels.max(0), sample["image_size"].numpy() - 1)
        side = 1.25 * (high - low).max()
        expected = [*((low + high - side) / 2), side, side]
        assert np.allclose(sample["box"].numpy(), expected, atol=1e-2)


def test_rootnet_boxes_and_depths_are_used_as_they_are(interhand, hands):
    rows = json.loads((interhand / "rootnet_output/rootnet_interhand2.6m_output_test.json").read_text())
    rows = {str(row["annot_id"]): row for row in rows}
    plain = load(interhand, hands, split="test")
    data = load(interhand, hands, split="test", root_net_output_path=interhand / "rootnet_output")
    assert 0 < len(rows) < len(data)
    for index in range(len(data)):
        record, own = data.record(index), plain.record(index)
        row = rows.get(record["id"])
        assert np.allclose(record["box"], own["box"] if row is None else row["bbox"])
        assert not own["root_depth_valid"].any()
        if row is None:
            assert not record["root_depth_valid"].any()
        else:
            assert np.allclose(record["root_depth"], np.array(row["abs_depth"]) / 1000)
            assert np.allclose(record["root_depth_valid"], row["root_valid"])


def test_boxes_that_replace_ours_are_said(interhand, hands):
    """How wide they are beside ours, in the log and for the results; an empty one is none."""
    lines = []
    path = interhand / "rootnet_output"
    ours = load(interhand, hands, split="val")
    data = load(interhand, hands, split="val", root_net_output_path=path, log=lines.append)
    rows = json.loads((path / "rootnet_interhand2.6m_output_val.json").read_text())
    width = {str(row["annot_id"]): row["bbox"][2] for row in rows}
    assert min(width.values()) <= 0 < len(width) < len(data)
    ratios = []
    for index, name in enumerate(data.ids()):
        box, own = data.record(index)["box"], ours.record(index)["box"]
        if width.get(name, 0) > 0:
            ratios.append(width[name] / own[2])
        else:
            assert np.array_equal(box, own)
    words = f"RootNet's for {len(ratios)} of {len(data)} samples, on average {np.mean(ratios):.2f} times"
    assert any(words in line for line in lines)
    assert words in build_loader(data, 8).notes()[0]
    assert ours.notes() == ["boxes: around the true hands"]
    train = load(interhand, hands, root_net_output_path=path)
    assert train.notes() == ours.notes()


def test_rootnet_of_another_split_is_refused(interhand, hands):
    other = interhand / "rootnet_output" / "rootnet_interhand2.6m_output_val.json"
    with pytest.raises(UserError, match="is for val"):
        load(interhand, hands, split="test", root_net_output_path=other)


@pytest.mark.skipif(not REAL.is_dir(), reason="the four real pictures are not at hand")
def test_real_pictures(hands, tmp_path):
    lines = []
    folders = (REAL / "annotations", REAL / "images")
    data = InterHand26M(hands, *folders, split="train", log=lines.append, cache_dir=tmp_path)
    table = [derived(data[index]) for index in range(len(data))]
    assert sorted(s["hand_type"] for s in table) == ["interacting", "interacting", "left", "right"]
    assert any("joints alone" in line for line in lines)
    for sample in table:
        shown = [side for side in (RIGHT, LEFT) if sample["present"][side]]
        # one joint of each of the two single hands may be unannotated
        assert sample["joints_img_valid"][shown].sum() >= 20 * len(shown)
        assert 0.8 < sample["root_cam"][shown][:, 2].min() < 1.4  # metres from the camera
        palm = (sample["joints_cam"][shown, 9] - sample["joints_cam"][shown, WRIST]).norm(dim=-1)
        assert ((0.07 < palm) & (palm < 0.12)).all()  # wrist to middle knuckle
        picture = sample["img"].permute(1, 2, 0).numpy()
        skin = sample["joints_img"][shown][..., :2].reshape(-1, 2).round().int().numpy()
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        assert np.median(grey[skin[:, 1], skin[:, 0]]) > 0.1
