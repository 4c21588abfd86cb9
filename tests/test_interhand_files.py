"""InterHand2.6M's files: missing, cut short, malformed, elsewhere; and the loader on top."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from common.utils.errors import UserError
from data import loader as loader_module
from data.augment import AugmentSettings
from data.HIC import files as hic_files
from data.InterHand26M import InterHand26M, files
from data.loader import EpochSampler, available_cores, build_loader
from main.config import Augment
from tests.interhand_set import load, quiet, samples

DOCS = Path(__file__).resolve().parents[1] / "docs" / "data.md"
AUGMENT = AugmentSettings(**vars(Augment()))


@pytest.fixture
def copy(interhand, tmp_path):
    return Path(shutil.copytree(interhand, tmp_path / "copy"))


def test_missing_pictures_are_counted_and_left_out(copy, hands):
    files = sorted((copy / "images" / "train").rglob("*.jpg"))
    for path in files[:4]:
        path.unlink()
    lines = []
    data = load(copy, hands, log=lines.append)
    assert len(data) == 26 and any("26 (4 left out)" in line for line in lines)
    shutil.rmtree(copy / "images" / "train" / "Capture0")
    shutil.rmtree(copy / "images" / "train" / "Capture1")
    with pytest.raises(UserError, match="picture in"):
        load(copy, hands)


@pytest.mark.parametrize("kind", ["data", "camera", "joint_3d", "MANO_NeuralAnnot"])
def test_cut_annotations_name_the_file_and_the_place(copy, hands, kind):
    path = copy / "annotations" / "train" / f"InterHand2.6M_train_{kind}.json"
    path.write_text(path.read_text()[:1000])
    with pytest.raises(UserError, match=rf"{path.name}.*line 1 column \d+ \(character \d+\)"):
        load(copy, hands)


def test_malformed_rows_are_named(copy, hands):
    path = copy / "annotations" / "train" / "InterHand2.6M_train_data.json"
    content = json.loads(path.read_text())
    number = content["annotations"][3].pop("id")
    content["annotations"][3]["id"] = number
    del content["annotations"][3]["joint_valid"]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"annotation {number} has no 'joint_valid'"):
        load(copy, hands)


def spoiled(copy, kind, change):
    """Change the content of one annotation file of the training split."""
    path = copy / "annotations" / "train" / f"InterHand2.6M_train_{kind}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def set_box(value):
    return "data", lambda content: content["annotations"][3].update(bbox=value)


def set_focal(value):
    return "camera", lambda content: content["0"]["focal"].update({"400002": value})


def set_joint(value):
    def change(content):
        frame = next(iter(content["0"].values()))
        frame["world_coord"][20] = [value, 0, 0]
        frame["joint_valid"][20] = [True]

    return "joint_3d", change


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (set_box("wide"), "annotation 909021 is malformed: bbox is not 4 numbers"),
        (set_box([1, 2]), "annotation 909021 is malformed: bbox is not 4 numbers"),
        (set_box([1, 2, 3, float("nan")]), "annotation 909021 is malformed: bbox is not finite"),
        (set_focal([0, 1200]), "capture 0 camera 400002 is malformed: focal is 0, 1200, not positive"),
        (set_focal([float("nan"), 1200]), "capture 0 camera 400002 is malformed: focal is not finite"),
        (set_joint(float("nan")), "capture 0 frame 4973 is malformed: an annotated joint is not finite"),
        (("data", lambda content: content["annotations"].insert(0, [])), "holds no rows of images and"),
        (("MANO_NeuralAnnot", lambda content: content["0"].update({"4973": [1]})), "frame 4973 is malformed"),
    ],
)
def test_senseless_numbers_are_named(copy, hands, spoil, words):
    spoiled(copy, *spoil)
    with pytest.raises(UserError, match=words):
        load(copy, hands)


def test_brackets_nested_without_end(copy, hands):
    path = copy / "annotations" / "train" / "InterHand2.6M_train_joint_3d.json"
    path.write_text(100_000 * "[")
    with pytest.raises(UserError, match=f"{path.name} is damaged"):
        load(copy, hands)


def test_fits_of_another_hand_are_refused(copy, hands):
    """As the real fits are on the stand-in hand; without them the joints remain."""

    def move(content):
        for frame in content["0"].values():
            for fit in filter(None, frame.values()):
                fit["trans"][1] += 0.02

    spoiled(copy, "MANO_NeuralAnnot", move)
    with pytest.raises(UserError, match="stand-in hand, lie 2[0-9] mm.*smplx_path.*use_fits=false"):
        load(copy, hands)
    assert len(load(copy, hands, use_fits=False)) == 30


@pytest.mark.skipif(not DOCS.is_file(), reason="docs/data.md comes with the other documents")
@pytest.mark.parametrize("see", [hic_files.SEE, files.SEE])
def test_errors_point_to_sections_that_exist(see):
    section = re.search('"(.*)" in docs/data.md', see)[1]
    assert f"\n## {section}\n" in DOCS.read_text(encoding="utf-8")


def test_no_more_workers_than_cores(interhand, hands, recwarn):
    wanted = available_cores() + 3
    loader = build_loader(load(interhand, hands, limit=4), 2, workers=wanted)
    assert loader.num_workers == available_cores() and not recwarn.list


def test_processes_of_a_machine_share_its_cores(interhand, hands, monkeypatch):
    data = load(interhand, hands, limit=4)
    monkeypatch.setattr(loader_module, "available_cores", lambda: 16)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert build_loader(data, 2, workers=4, world=32).num_workers == 2
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    assert build_loader(data, 2, workers=4, world=32).num_workers == 1
    assert build_loader(data, 2, workers=0, world=32).num_workers == 0


def test_missing_files_and_folders_are_named(copy, hands, tmp_path):
    with pytest.raises(UserError, match="interhand_anno_dir"):
        load(tmp_path / "nowhere", hands)
    (copy / "annotations" / "train" / "InterHand2.6M_train_camera.json").unlink()
    with pytest.raises(UserError, match="camera.json"):
        load(copy, hands)
    with pytest.raises(UserError, match="aid_human_annot_train.txt"):
        (copy / "annotations" / "aid_human_annot_train.txt").unlink()
        load(copy, hands, subset="H")
    with pytest.raises(UserError, match="choose one of"):
        load(copy, hands, hands="both")


def test_without_a_mano_file_the_joints_remain(copy, hands):
    (copy / "annotations" / "train" / "InterHand2.6M_train_MANO_NeuralAnnot.json").unlink()
    lines = []
    for sample in samples(load(copy, hands, log=lines.append)).values():
        assert not sample["pose_valid"].any() and not sample["pivot_cam"].any()
    assert any("joints alone" in line for line in lines)


def test_folders_one_above_are_found(interhand, hands):
    assert len(InterHand26M(hands, interhand, interhand, split="val", log=quiet, limit=2)) == 2


def test_augmentation_depends_on_seed_epoch_and_index_alone(interhand, hands):
    one, two = (load(interhand, hands, augment=AUGMENT, limit=3, seed=7) for _ in range(2))
    assert torch.equal(one[1]["img"], two[1]["img"])
    two.set_epoch(1)
    assert not torch.equal(one[1]["img"], two[1]["img"])
    two.set_epoch(0)
    assert torch.equal(one[1]["affine"], two[1]["affine"])


def test_loader_resumes_in_the_middle_with_workers(interhand, hands):
    """Epochs from persistent workers equal those of this process, from any batch on."""
    data = load(interhand, hands, augment=AUGMENT, limit=12)
    alone = build_loader(data, 4, training=True, seed=3)
    crowd = build_loader(data, 4, workers=1, training=True, seed=3)
    maps = []
    for epoch in (0, 1):
        alone.set_epoch(epoch)
        whole = list(alone)
        maps.append({id: m for b in whole for id, m in zip(b["id"], b["affine"], strict=True)})
        crowd.set_epoch(epoch, batch=epoch)
        rest = list(crowd)
        assert len(whole) == len(alone) == 3 and len(rest) == 3 - epoch
        for a, b in zip(whole[epoch:], rest, strict=True):
            assert a["id"] == b["id"] and torch.equal(a["img"], b["img"])
    assert all(not torch.equal(maps[1][id], affine) for id, affine in maps[0].items())
    assert whole[0]["img"].shape == (4, 3, 256, 256) and isinstance(whole[0]["hand_type"], list)


def test_less_than_a_batch_is_one_batch(interhand, hands):
    data = load(interhand, hands, limit=3)
    assert [len(batch["id"]) for batch in build_loader(data, 8, training=True)] == [3]


def test_sampler_shares_out_every_epoch():
    shuffled = [EpochSampler(11, True, rank=rank, world=2) for rank in (0, 1)]
    assert [len(list(s)) for s in shuffled] == [5, 5] and not set(shuffled[0]) & set(shuffled[1])
    plain = [list(EpochSampler(11, False, rank=rank, world=2)) for rank in (0, 1)]
    assert sorted(plain[0] + plain[1]) == list(range(11))


def test_skeleton_file_names_the_joints(interhand):
    lines = (interhand / "annotations" / "skeleton.txt").read_text().splitlines()
    assert lines[1] == "r_thumb4 0 1" and lines[21] == "r_wrist 20 -1" and lines[42] == "l_wrist 41 -1"
    for line in lines[1:]:
        name, index, parent = line.split()
        if parent != "-1":
            assert lines[1 + int(parent)].split()[0].startswith(name[:2])
