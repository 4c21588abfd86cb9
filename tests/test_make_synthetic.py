"""The synthetic set in InterHand2.6M's files: any number of time steps, and what a bad target costs."""

import errno

import numpy as np
import pytest

from common.utils import files
from tests.scripts import run
from tool.synthetic import make_synthetic, steps


def test_every_camera_sees_a_joint_of_every_step(hands):
    rng = np.random.default_rng(0)
    capture = steps.draw_cameras(rng)
    for number in range(60):
        oddity = steps.ODDITIES[number % len(steps.ODDITIES)]
        step = steps.draw_step(rng, oddity, hands, capture)
        for camera, size in steps.CAMERAS.items():
            rotation = np.array(capture["camrot"][camera])
            points = (1000 * step.joints - capture["campos"][camera]) @ rotation.T
            pixels = points[..., :2] / points[..., 2:] * capture["focal"][camera] + capture["princpt"][camera]
            inside = ((pixels >= 0) & (pixels < size)).all(-1)
            assert (inside & step.annotated).any(), (number, camera)


@pytest.fixture
def refused(capsys):
    """refused(words, *arguments): the tool ends with code 2 and one sentence that has these words."""

    def check(words, *arguments):
        assert run(make_synthetic, *arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1 and words in error, error

    return check


@pytest.mark.parametrize("frames", [-3, 0])
def test_frames_are_counted_from_one(refused, frames, tmp_path):
    refused("--frames is 1 or more", tmp_path / "set", "--frames", frames)
    assert not (tmp_path / "set").exists()


def test_a_negative_seed_is_one_sentence(refused, tmp_path):
    refused("--seed is 0 or more", tmp_path, "--seed", -1)


def test_a_file_as_target_is_one_sentence(refused, tmp_path):
    (tmp_path / "set").write_text("mine")
    refused("Not a directory", tmp_path / "set", "--frames", 1)
    assert (tmp_path / "set").read_text() == "mine"


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "No space left"), (errno.EROFS, "Read-only file system")]
)
def test_a_disk_that_takes_nothing_is_one_sentence(refused, monkeypatch, tmp_path, number, words):
    def refuse(descriptor):
        raise OSError(number, words)

    monkeypatch.setattr(files.os, "fsync", refuse)
    refused(words, tmp_path / "set", "--frames", 1)
