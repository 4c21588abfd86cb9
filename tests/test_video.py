"""Videos in and out, steady hands, and following them."""

import json
import os

import cv2
import jsonschema
import numpy as np
import pytest
import torch

from common.hand.mano import load_mano
from common.utils.errors import UserError
from common.utils.geometry import axis_angle_to_matrix, geodesic_angle
from common.utils.image import read_image
from common.utils.one_euro import OneEuro
from common.utils.stages import Stages
from common.utils.video import VideoReader, VideoWriter
from main import demo
from main.demonstration.smooth import Smoother, nearest_rotations
from main.find import Tracker
from main.predictor import Predictor
from tests.scripts import run
from tests.test_export import SCHEMA
from tests.test_predictor import Fixed, grey

EXAMPLE = read_image(demo.EXAMPLE)


@pytest.fixture(scope="module")
def hands():
    return load_mano()


def make_video(path, frames, size=(256, 256)):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, size)
    for frame in frames:
        writer.write(frame[..., ::-1])
    writer.release()


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    """The demo on eight frames of the example, steadied."""
    folder = tmp_path_factory.mktemp("video")
    make_video(folder / "clip.mp4", [EXAMPLE] * 8)
    command = ["--input", folder / "clip.mp4", "--output", folder / "out", "--gpu", "cpu", "--smooth"]
    assert run(demo, *command, "--save", "overlay,json,npz,glb") == 0
    return folder / "out"


def test_a_video_becomes_a_video(filmed):
    with VideoReader(filmed / "clip.mp4") as reader:
        frames = list(reader)
    assert len(frames) == 8 and reader.fps == 25 and frames[0].shape == (278, 256, 3)
    drawn = np.abs(frames[3][:256].astype(int) - EXAMPLE).mean()
    assert drawn > 10  # hands are painted
    assert not list(filmed.rglob("*partial*"))


def test_every_frame_has_a_line_and_a_row(filmed):
    lines = [json.loads(line) for line in (filmed / "clip.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(8))
    assert lines[5]["seconds"] == pytest.approx(5 / 25)
    for line in lines:
        jsonschema.validate(line, SCHEMA)
        assert line["hands_present"] == ["right", "left"] and line["smoothed"]
    with np.load(filmed / "clip.npz") as file:
        assert file["verts"].shape == (8, 2, 778, 3) and file["faces"].shape == (2, 1538, 3)
        assert np.allclose(file["joints_3d"][4, 1], lines[4]["hands"]["left"]["joints_3d"], atol=1e-5)
        assert file["fps"] == 25
    assert len(list((filmed / "clip").glob("frame_*.glb"))) == 8


def test_stages_are_told(tmp_path, capsys):
    make_video(tmp_path / "clip.mp4", [EXAMPLE] * 3)
    command = ["--input", tmp_path / "clip.mp4", "--output", tmp_path, "--gpu", "cpu", "--frames", 2]
    assert run(demo, *command, "--save", "json") == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["network", "2"] in [row[:2] for row in rows]
    assert len((tmp_path / "clip.jsonl").read_text().splitlines()) == 2


def test_stages_count_and_take_the_median():
    stages = Stages()
    stages.milliseconds = {"a": [1.0, 2.0, 9.0], "longer": [4.0]}
    assert [line.split() for line in stages.table().splitlines()[1:]] == [
        ["a", "3", "2.0", "0.01"],
        ["longer", "1", "4.0", "0.00"],
    ]


def test_a_video_that_ends_early(tmp_path, capsys):
    make_video(tmp_path / "whole.avi", [EXAMPLE] * 10)
    content = (tmp_path / "whole.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) * 3 // 5])
    command = ["--input", tmp_path / "cut.avi", "--output", tmp_path, "--gpu", "cpu", "--save", "json"]
    assert run(demo, *command, "--whole") == 0
    said = capsys.readouterr().err
    count = len((tmp_path / "cut.jsonl").read_text().splitlines())
    assert 0 < count < 10 and f"ends early: {count} of" in said


def test_control_c_ends_a_video_in_order(tmp_path, monkeypatch, capsys):
    make_video(tmp_path / "clip.mp4", [EXAMPLE] * 5)
    follow, frames = Tracker.__call__, []

    def interrupted(self, frame, camera):
        frames.append(frame)
        if len(frames) == 3:
            raise KeyboardInterrupt
        return follow(self, frame, camera)

    monkeypatch.setattr(Tracker, "__call__", interrupted)
    out = tmp_path / "out"
    assert run(demo, "--input", tmp_path / "clip.mp4", "--output", out, "--gpu", "cpu") == 0
    assert len((out / "clip.jsonl").read_text().splitlines()) == 2
    with VideoReader(out / "clip.mp4") as reader:
        assert len(list(reader)) == 2
    assert {path.name for path in out.iterdir()} == {"clip.jsonl", "clip.mp4", "clip.npz"}
    assert "ends early" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [("x.mp4", b"no video", "cannot read the video"), ("x.mp4", b"", "cannot read the video")],
)
def test_a_video_that_is_none(tmp_path, capfd, name, content, words):
    (tmp_path / name).write_bytes(content)
    assert run(demo, "--input", tmp_path / name, "--output", tmp_path / "out", "--gpu", "cpu") == 2
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ") and words in last
    assert not list((tmp_path / "out").iterdir())


def test_a_camera_that_is_not_there(tmp_path, capfd):
    assert run(demo, "--input", "97", "--output", tmp_path, "--gpu", "cpu") == 2
    assert "no camera 97" in capfd.readouterr().err.splitlines()[-1]


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), VideoWriter(tmp_path / "a.mp4", 30) as writer:
        writer.write(EXAMPLE)
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    with VideoWriter(tmp_path / "a.mp4", 30) as writer:
        writer.write(EXAMPLE[:201, :101])
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    with (
        pytest.raises(UserError, match="cannot write"),
        VideoWriter(tmp_path / "a.mp4" / "b.mp4", 30) as writer,
    ):
        writer.write(EXAMPLE)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_under_a_video(tmp_path):
    writer = VideoWriter(tmp_path / "a.mp4", 30)
    writer.partial.symlink_to("/dev/full")
    with pytest.raises(UserError, match="cannot write .*a.mp4"), writer:
        writer.write(EXAMPLE)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif("GUI:                           NONE" not in cv2.getBuildInformation(), reason="windows")
def test_a_window_without_windows(tmp_path, capfd):
    make_video(tmp_path / "clip.mp4", [EXAMPLE] * 2)
    command = ["--input", tmp_path / "clip.mp4", "--output", tmp_path / "out", "--gpu", "cpu", "--show"]
    assert run(demo, *command) == 2
    assert "--show needs a display and OpenCV with windows" in capfd.readouterr().err.splitlines()[-1]
    assert not list((tmp_path / "out").iterdir())


# ---- steadiness ----


def test_one_euro_is_steady_at_rest_and_prompt_in_motion():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.01, 300)
    steady, prompt = OneEuro(1.0, 5.0), OneEuro(1.0, 5.0)
    rest = np.array([steady(np.array([value]), i / 30)[0] for i, value in enumerate(noise)])
    assert rest[50:].std() < 0.5 * noise.std()
    ramp = np.arange(300) / 30  # one unit a second
    moved = np.array([prompt(np.array([value]), value)[0] for value in ramp])
    assert np.abs(moved - ramp)[50:].max() < 0.05
    slow = OneEuro(1.0, 0.0)
    lagging = np.array([slow(np.array([value]), value)[0] for value in ramp])
    assert np.abs(lagging - ramp)[50:].max() > 0.1


def test_constant_input_stays():
    filtered = OneEuro(1.0, 1.0)
    for i in range(5):
        assert filtered(np.full(3, 2.5), i / 30).tolist() == [2.5] * 3


def test_smoothing_keeps_still_hands_and_calms_shaking_ones(hands):
    predictor = Predictor(Fixed(hands), hands, "cpu")
    plain = predictor(grey(256, 256))
    smoother, still = Smoother(hands), Smoother(hands)
    assert np.abs(still(plain, 0.0).verts_cam - plain.verts_cam).max() < 1e-5
    rng = torch.Generator().manual_seed(0)
    pose, cam = predictor.model.pred["rotmat"].clone(), predictor.model.pred["cam"].clone()
    shape = predictor.model.pred["shape"].clone()
    raw, calm = [], []
    for frame in range(80):
        shaken = axis_angle_to_matrix(0.05 * torch.randn(1, 2, 16, 3, generator=rng))
        predictor.model.pred["rotmat"] = pose @ shaken
        predictor.model.pred["shape"] = shape + 0.3 * torch.randn(1, 2, 10, generator=rng)
        predictor.model.pred["cam"] = cam + 2 * torch.randn(1, 2, 3, generator=rng)
        found = predictor(grey(256, 256))
        raw.append(found)
        calm.append(smoother(found, frame / 30))
    for name in ("wrists_cam", "joints_2d"):
        steps = [np.diff([getattr(h, name) for h in run_], axis=0)[20:].std() for run_ in (raw, calm)]
        assert steps[1] < 0.5 * steps[0], name
    assert np.ptp([h.shape for h in raw[35:]], 0).max() > 0.3
    assert np.ptp([h.shape for h in calm], 0)[0].max() < np.ptp([h.shape for h in raw], 0)[0].max()
    late = smoother(raw[0], 2.7), smoother(raw[1], 2.8)
    assert np.array_equal(late[0].shape, late[1].shape)  # constant from two seconds on
    verts, joints = hands(torch.from_numpy(calm[-1].pose)[None], torch.from_numpy(calm[-1].shape)[None])
    rough = (verts - joints[:, :, :1])[0].numpy() + calm[-1].wrists[:, None]
    assert np.allclose(rough, calm[-1].verts_rough, atol=1e-5)


def test_nearest_rotation_of_a_mean_lies_between():
    first = axis_angle_to_matrix(torch.tensor([0.0, 0.0, 0.2])).numpy()
    second = axis_angle_to_matrix(torch.tensor([0.0, 0.0, 0.6])).numpy()
    middle = torch.from_numpy(nearest_rotations((first + second) / 2)).float()
    assert geodesic_angle(middle, axis_angle_to_matrix(torch.tensor([0.0, 0.0, 0.4]))) < 1e-3
