"""One contract: every data set gives the same raw facts, and one function derives the rest."""

import cv2
import numpy as np
import pytest
import torch

from common.hand.joints import LEFT, RIGHT, WRIST
from common.targets import add_targets
from data.batch import OPTIONAL_SHAPES, SHAPES, TYPES
from data.Folder import Folder
from data.HIC import HIC
from data.Synthetic import SyntheticStream
from tests.interhand_set import collate, load, quiet
from tests.test_folder import write_egohands, write_rgb2hands
from tests.test_hic import write_set

DERIVED = {
    "joints_img": (2, 21, 3),
    "joints_img_valid": (2, 21, 1),
    "joints_cam": (2, 21, 3),
    "joints_cam_valid": (2, 21, 1),
    "root_cam": (2, 3),
    "root_cam_valid": (2, 1),
    "rel_trans": (3,),
    "rel_trans_valid": (1,),
    "joints_seen": (2, 21, 1),
    "verts_cam": (2, 778, 3),
    "mano_joints_cam": (2, 21, 3),
    "mano_root_cam": (2, 3),
    "mano_joints_img": (2, 21, 3),
    "mano_joints_img_valid": (2, 21, 1),
    "rotmat": (2, 16, 3, 3),
}
# Value -> the flag without which it is zero, where that is not `<value>_valid`.
FLAG = {
    "shape": "pose_valid",
    "pivot_cam": "pose_valid",
    "mesh_cam": "pose_valid",
    "verts_cam": "pose_valid",
    "mano_joints_cam": "pose_valid",
    "mano_root_cam": "pose_valid",
    "mano_joints_img": "pose_valid",
}
ALWAYS = {"img", "K", "affine", "K_orig", "image_size", "box", "brightness", "rotmat", "color"}


def unbatched(batch: dict) -> list[dict]:
    return [{key: rows[index] for key, rows in batch.items()} for index in range(len(batch["id"]))]


def folder(root, write) -> Folder:
    write(root)
    return Folder(root, log=quiet)


def write_pictures(root):
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(root / name), np.full((40, 60, 3), 90, np.uint8))


def hic(root, hands) -> HIC:
    write_set(root, hands)
    return HIC(hands, root, log=quiet)


@pytest.fixture(params=["InterHand26M", "HIC", "Folder", "RGB2Hands", "EgoHands", "Synthetic"])
def samples(request, tmp_path, interhand, hands):
    """Samples of each data set."""
    if request.param == "Synthetic":
        return unbatched(SyntheticStream(hands, 24, seed=3, samples=24).batch(range(24)))
    data = {
        "InterHand26M": lambda: load(interhand, hands),
        "HIC": lambda: hic(tmp_path, hands),
        "Folder": lambda: folder(tmp_path, write_pictures),
        "RGB2Hands": lambda: folder(tmp_path, write_rgb2hands),
        "EgoHands": lambda: folder(tmp_path, write_egohands),
    }[request.param]()
    return [data[index] for index in range(len(data))]


def test_every_data_set_keeps_the_contract(samples, hands):
    batch = add_targets(collate(samples), hands)
    expected = SHAPES | DERIVED | {key: OPTIONAL_SHAPES[key] for key in OPTIONAL_SHAPES if key in batch}
    assert batch.keys() == expected.keys() | TYPES.keys()
    for key, shape in expected.items():
        assert batch[key].dtype == torch.float32 and batch[key].shape == (len(samples), *shape), key
        assert batch[key].isfinite().all(), key
    flags = {key for key in expected if key.endswith("_valid")} | {"in_picture", "joints_seen", "present"}
    for key in flags:
        assert set(batch[key].unique().tolist()) <= {0.0, 1.0}, key
    for key in expected.keys() - flags - ALWAYS:
        valid = batch[FLAG.get(key, f"{key}_valid")]
        while valid.dim() > batch[key].dim():  # pose_valid (B,2,1,1)
            valid = valid.squeeze(-1)
        while valid.dim() < batch[key].dim():
            valid = valid.unsqueeze(-1)
        assert not batch[key][(valid == 0).expand_as(batch[key])].any(), key
    assert set(batch["hand_type"]) <= {"right", "left", "interacting", "none"}
    assert 0 <= batch["img"].min() and batch["img"].max() <= 1


def raw_batch(hands) -> dict:
    """Three synthetic samples with two hands each."""
    stream = SyntheticStream(hands, 8, seed=3, samples=40)
    both = [sample for sample in unbatched(stream.batch(range(24))) if sample["pose_valid"].all()]
    return collate(both[:3])


def test_what_is_derived_from_the_annotation(hands):
    """Known cases: no wrist, an unannotated joint, one behind the camera, one outside picture or crop."""
    batch = raw_batch(hands)
    batch["joints"][:] = torch.tensor([0.01, 0.02, 0.8])
    batch["K"][:] = torch.tensor([[800.0, 0, 100], [0, 800, 100], [0, 0, 1]])
    batch["joints_valid"][:] = batch["in_picture"][:] = 1
    batch["joints"][0, :, 1] = torch.tensor([0.03, 0.0, 0.9])
    batch["joints"][0, RIGHT, 2, 2] = -0.8
    batch["joints"][0, RIGHT, 3, 0] = 0.8
    batch["in_picture"][0, RIGHT, 4] = 0
    batch["joints_valid"][0, RIGHT, 5] = 0
    batch["joints_valid"][1, LEFT, WRIST] = 0
    found = add_targets(batch, hands)
    plain = torch.tensor([110.0, 120, 0])
    torch.testing.assert_close(found["joints_img"][2], plain.expand(2, 21, 3))
    expected = torch.tensor([800 * 0.03 / 0.9 + 100, 100, 0.1])
    torch.testing.assert_close(found["joints_img"][0, :, 1], expected.expand(2, 3))
    torch.testing.assert_close(found["joints_cam"][0, LEFT, 1], torch.tensor([0.02, -0.02, 0.1]))
    assert found["joints_img_valid"][0, RIGHT, :6, 0].tolist() == [1, 1, 0, 0, 0, 0]
    assert found["joints_cam_valid"][0, RIGHT, :6, 0].tolist() == [1, 1, 1, 1, 1, 0]
    assert found["joints_seen"][0, RIGHT, :6, 0].tolist() == [1, 1, 1, 1, 0, 0]
    for key in ("joints_img", "joints_img_valid", "joints_cam_valid", "joints_seen", "root_cam"):
        assert not found[key][1, LEFT].any() and found[key][1, RIGHT].any(), key
    assert found["rel_trans_valid"].flatten().tolist() == [1, 0, 1]


def test_a_joint_annotated_in_the_picture_alone_needs_no_depth(hands):
    batch = raw_batch(hands)
    batch["joints_valid"][:] = batch["joints"][:] = batch["in_picture"][:] = 0
    batch["pixels"] = torch.full((3, 2, 21, 2), 50.0)
    batch["pixels"][0, 0, 0] = -1
    batch["pixels_valid"] = torch.ones(3, 2, 21)
    found = add_targets(batch, hands)
    assert found["joints_img_valid"].sum() == 3 * 42 - 1 and not found["joints_cam_valid"].any()
    assert found["joints_img"][2, 0, 0].tolist() == [50, 50, 0]
