"""Pictures that cannot be read: said once by name, replaced in training, left out and counted in a test."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from common.utils.errors import UserError
from data.augment import AugmentSettings
from data.Folder import Folder
from data.loader import build_loader
from main.config import Augment
from tests.interhand_set import load, quiet

AUGMENT = AugmentSettings(**vars(Augment()))


@pytest.fixture
def spoiled(interhand, hands, tmp_path):
    """The samples of a copy of the set, and the files of four pictures, each spoiled in its own way."""
    root = Path(shutil.copytree(interhand, tmp_path / "copy"))
    data = load(root, hands)
    paths = [Path(data.record(index)["image_path"]) for index in (2, 9, 10, 29)]
    content = paths[0].read_bytes()
    paths[0].write_bytes(content[: len(content) // 2])
    paths[1].write_bytes(b"no picture")
    paths[2].write_bytes(b"")
    paths[3].unlink()  # after the data set has seen it
    return data, paths


def read_all(loader):
    return [name for batch in loader for name in batch["id"]]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_test_leaves_them_out_says_each_once_and_counts(spoiled, workers):
    data, paths = spoiled
    lines = []
    loader = build_loader(data, 5, workers=workers, unreadable=0.2, log=lines.append)
    bad = {2, 9, 10, 29}
    expected = [name for index, name in enumerate(data.ids()) if index not in bad]
    for _ in range(2):
        assert read_all(loader) == expected
    assert len(lines) == 4
    for path in paths:
        assert sum(str(path) in line for line in lines) == 1
    assert loader.notes()[-1] == "pictures that cannot be read, left out: 4 of 30"


def test_a_batch_without_any_picture_is_passed_over(spoiled):
    data, _ = spoiled
    loader = build_loader(data, 1, unreadable=0.2, log=quiet)
    assert [len(batch["id"]) for batch in loader] == [1] * 26


def test_training_takes_others_in_their_place(spoiled):
    """Batches stay whole; what is taken depends on (seed, epoch, index) alone."""
    data, _ = spoiled
    data.augment, data.seed = AUGMENT, 5
    lines, epochs = [], []
    loader = build_loader(data, 6, training=True, seed=5, unreadable=0.2, log=lines.append)
    for epoch in (0, 1, 0):
        loader.set_epoch(epoch)
        batches = list(loader)
        assert [len(batch["id"]) for batch in batches] == [6] * 5
        for batch in batches:
            for row, name in enumerate(batch["id"]):
                alone = data[data.ids().index(name)]
                assert torch.equal(batch["img"][row], alone["img"])
                assert torch.equal(batch["joints"][row], alone["joints"])
        epochs.append(batches)
    assert len(lines) == 4
    names = [{name for batch in batches for name in batch["id"]} for batches in epochs]
    bad = {data.ids()[index] for index in (2, 9, 10, 29)}
    assert not any(seen & bad for seen in names)
    for one, again in zip(epochs[0], epochs[2], strict=True):
        assert one["id"] == again["id"] and torch.equal(one["img"], again["img"])
        assert torch.equal(one["affine"], again["affine"])


@pytest.mark.parametrize("workers", [0, 1])
def test_too_many_end_the_run_with_one_sentence(spoiled, workers):
    data, paths = spoiled
    loader = build_loader(data, 5, workers=workers, unreadable=0.1, log=quiet)
    with pytest.raises(UserError, match=r"4 of 30 pictures cannot be read.*unreadable=SHARE.*") as found:
        read_all(loader)
    assert any(str(path) in str(found.value) for path in paths) and "\n" not in str(found.value)


def test_when_none_can_be_read_training_ends(spoiled):
    data, paths = spoiled
    data.augment = AUGMENT
    shutil.rmtree(paths[0].parents[3])
    with pytest.raises(UserError, match="1 of 30 pictures cannot be read"):
        read_all(build_loader(data, 5, training=True, unreadable=0.0, log=quiet))
    with pytest.raises(UserError, match="of 30 pictures cannot be read"):
        read_all(build_loader(data, 5, training=True, unreadable=0.5, log=quiet))


def test_one_sample_of_a_bad_picture_is_an_error_that_names_it(spoiled):
    data, paths = spoiled
    with pytest.raises(UserError, match=paths[0].name):
        data[2]


def test_folders_of_pictures_too(tmp_path):
    """Whose records themselves need the picture."""
    for name in ("a.png", "b.png", "c.png"):
        assert cv2.imwrite(str(tmp_path / name), np.full((40, 60, 3), 90, np.uint8))
    (tmp_path / "b.png").write_bytes(b"no picture")
    lines = []
    loader = build_loader(Folder(tmp_path, log=quiet), 2, unreadable=0.5, log=lines.append)
    assert read_all(loader) == ["a.png", "c.png"]
    assert len(lines) == 1 and "b.png" in lines[0]
    with pytest.raises(UserError, match=r"1 of 3 pictures cannot be read.*b\.png"):
        read_all(build_loader(Folder(tmp_path, log=quiet), 2))
