"""Packed pictures give the crops that the files give, and what a pack cannot give is refused."""

import pickle
import zipfile

import numpy as np
import pytest
import torch

from common.utils.errors import UserError
from common.utils.geometry import IMAGE_SIZE
from common.utils.image import as_3x3, crop_affine
from data import augment as A
from data.augment import AugmentSettings
from data.InterHand26M import InterHand26M
from data.loader import build_loader
from data.pack import parts, reach
from main.config import Augment
from tests.interhand_set import load, quiet
from tool import pack as tool

AUGMENT = AugmentSettings(**vars(Augment()))


def packed(root, hands, images, **settings) -> InterHand26M:
    settings = {"split": "train", "hand_type_valid_only": False, "log": quiet} | settings
    return InterHand26M(hands, root / "annotations", images, **settings)


@pytest.fixture(scope="module")
def packs(interhand, hands, tmp_path_factory):
    """Of the training split: parts written again, and at a quality at which no file gets smaller."""
    root = tmp_path_factory.mktemp("packs")
    data = load(interhand, hands)
    for quality in (95, 100):
        assert tool.pack(data, root / str(quality), reach(AUGMENT), quality) > 0
    return root


@pytest.mark.parametrize("settings", [None, AUGMENT], ids=["plain", "augmented"])
def test_crops_are_those_of_the_files(interhand, hands, packs, settings):
    files = load(interhand, hands, augment=settings)
    data = packed(interhand, hands, packs / "95", augment=settings)
    for epoch in range(3):
        files.set_epoch(epoch)
        data.set_epoch(epoch)
        one, two = files.batch(range(30)), data.batch(range(30))
        assert one.keys() == two.keys() and one["id"] == two["id"]
        for key in one.keys() - {"img", "brightness"}:
            assert one[key] == two[key] if isinstance(one[key], list) else torch.equal(one[key], two[key])
        difference = (one["img"].int() - two["img"].int()).abs().float()
        assert difference.mean() < 1.5 and (difference > 24).float().mean() < 1e-3
        assert (one["brightness"] - two["brightness"]).abs().max() < 0.1  # of smaller pictures in training


def test_files_that_are_kept_as_they_are_give_the_same_crops(interhand, hands, packs):
    one = load(interhand, hands, augment=AUGMENT).batch(range(30))
    data = packed(interhand, hands, packs / "100", augment=AUGMENT)
    two = data.batch(range(30))
    sizes = np.stack([data.pack.index["width"], data.pack.index["height"]], -1)[data.packed_row]
    whole = (sizes == data.index["size"][data.rows]).all(-1)
    assert whole.sum() > 20
    assert torch.equal(one["img"][whole], two["img"][whole])


def test_parts_are_smaller_and_hold_what_crops_reach():
    """Corners of crops thrown at random, taken back: inside the part or outside the picture."""
    rng = np.random.default_rng(0)
    size = np.tile([334, 512], (400, 1)).astype(np.int32)
    side = rng.uniform(30, 300, 400)
    box = np.concatenate([rng.uniform(-50, 400, (400, 2)), side[:, None], side[:, None]], -1)
    low, high = parts(box, size, reach(AUGMENT))
    assert ((high - low).prod(-1) < size.prod(-1)).mean() > 0.5
    assert (low >= 0).all() and (high <= size).all() and (high > low).all()
    corners = np.array([[0, 0, 1], [255, 0, 1], [0, 255, 1], [255, 255, 1.0]]).T
    for _ in range(50):
        throws = [A.draw(rng, AUGMENT) for _ in box]
        affine = crop_affine(
            box,
            IMAGE_SIZE,
            np.array([throw.rotation for throw in throws]),
            np.array([throw.scale for throw in throws]),
            np.array([throw.shift for throw in throws]),
        )
        there = (np.linalg.inv(as_3x3(affine)) @ corners)[:, :2].swapaxes(1, 2)  # (400,4,2)
        least, most = there.min(1), there.max(1)
        assert (np.maximum(least, 0) >= np.minimum(low, np.maximum(least, 0))).all()
        shown = (most > 0).all(-1) & (least < size - 1).all(-1)
        assert (low <= np.maximum(least, 0))[shown].all()
        assert (high - 1 >= np.minimum(most, size - 1))[shown].all()


def test_a_pack_of_narrower_crops_is_refused(interhand, hands, tmp_path):
    data = load(interhand, hands, limit=12)
    tool.pack(data, tmp_path / "plain", reach(None), 50)
    assert len(packed(interhand, hands, tmp_path / "plain")) == 12
    with pytest.raises(UserError, match="hold less than these crops reach, in .* of 12 samples"):
        packed(interhand, hands, tmp_path / "plain", augment=AUGMENT)


def test_boxes_of_rootnet_need_a_pack_of_their_own(interhand, hands, tmp_path):
    rootnet = interhand / "rootnet_output"
    tool.pack(load(interhand, hands, split="test"), tmp_path, reach(None), 50)
    with pytest.raises(UserError, match="hold less"):
        packed(interhand, hands, tmp_path, split="test", root_net_output_path=rootnet)


def test_workers_and_other_processes_read_packs(interhand, hands, packs):
    data = packed(interhand, hands, packs / "95", augment=AUGMENT)
    alone = list(build_loader(data, 10, log=quiet))
    crowd = list(build_loader(data, 10, workers=2, log=quiet))
    again = pickle.loads(pickle.dumps(data)).batch(range(10))
    for one, two in zip(alone, crowd, strict=True):
        assert torch.equal(one["img"], two["img"])
    assert torch.equal(alone[0]["img"], again["img"])


def test_any_zip_program_reads_them(packs):
    with zipfile.ZipFile(packs / "95" / "train_00000.zip") as archive:
        assert archive.testzip() is None and len(archive.namelist()) == 31


def test_packing_goes_on_where_it_stopped(interhand, hands, tmp_path, monkeypatch):
    monkeypatch.setattr(tool, "IN_ARCHIVE", 8)
    data = load(interhand, hands)
    tool.pack(data, tmp_path, reach(AUGMENT), 50)
    paths = sorted(tmp_path.glob("*.zip"))
    assert [path.name for path in paths] == [f"train_{number:05d}.zip" for number in range(4)]
    times = [path.stat().st_mtime_ns for path in paths]
    paths[2].rename(tmp_path / "train_00002.zip.partial")
    tool.pack(data, tmp_path, reach(AUGMENT), 50)
    again = [path.stat().st_mtime_ns for path in paths]
    assert [one == two for one, two in zip(times, again, strict=True)] == [True, True, False, True]
    assert len(packed(interhand, hands, tmp_path)) == 30


def test_damaged_archives_and_pictures_are_named(interhand, hands, tmp_path):
    data = load(interhand, hands)
    tool.pack(data, tmp_path, reach(AUGMENT), 50)
    path = tmp_path / "train_00000.zip"
    found = packed(interhand, hands, tmp_path)
    content = bytearray(path.read_bytes())
    start = int(found.pack.index["offset"][found.packed_row[4]])
    content[start : start + 200] = bytes(200)
    path.write_bytes(content)
    lines = []
    loader = build_loader(packed(interhand, hands, tmp_path), 30, unreadable=0.1, log=lines.append)
    batch = next(iter(loader))
    assert len(batch["id"]) == 29 and len(lines) == 1
    assert f"train_00000.zip/{data.ids()[4]}.jpg" in lines[0]
    path.write_bytes(content[:1000])
    with pytest.raises(UserError, match=r"train_00000\.zip is damaged or no pack"):
        packed(interhand, hands, tmp_path)
