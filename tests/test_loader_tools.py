"""The programs that measure loading: the set they make is in the real one's form, and they print numbers."""

import json
import sys

import cv2
import numpy as np
import pytest

from tests.interhand_set import load, read
from tool import interhand_size, loader_speed
from tool.synthetic.true_size import CAMERAS, write_true_size


@pytest.fixture(scope="module")
def made(tmp_path_factory, hands):
    root = tmp_path_factory.mktemp("true_size")
    write_true_size(root, hands, records=400, pictures=[loader_speed.jpeg_of(25_000, seed=0)])
    return root


@pytest.mark.parametrize("kind", ["data", "camera", "joint_3d", "MANO_NeuralAnnot"])
def test_made_files_have_the_keys_of_the_synthetic_set(made, interhand, kind):
    def form(value):
        """Types and keys down to the leaves; of lists and tables with free names the first entry."""
        if isinstance(value, dict):
            free = all(key.isdigit() for key in value)
            return form(next(iter(value.values()))) if free else {key: form(value[key]) for key in value}
        return [form(value[0])] if isinstance(value, list) else type(value)

    assert form(read(made, "train", kind)) == form(read(interhand, "train", kind))


def test_the_data_set_reads_what_is_made(made, hands):
    data = load(made, hands)
    assert len(data) == 400 and len(data.index["frame_keys"]) == -(-400 // CAMERAS)
    rows = read(made, "train", "data")["annotations"]
    assert data.ids() == [str(row["id"]) for row in rows]
    record = data.record(7)
    assert (record["box"][2:] > 20).all() and record["pose_valid"].any()
    picture = cv2.imread(record["image_path"])
    assert picture.shape == (512, 334, 3)


@pytest.mark.parametrize("size", [8_000, 25_000, 60_000])
def test_pictures_have_about_the_size_asked_for(size):
    content = np.frombuffer(loader_speed.jpeg_of(size, seed=1), np.uint8)
    assert abs(len(content) - size) < 0.1 * size
    assert cv2.imdecode(content, cv2.IMREAD_COLOR).std() > 10


def test_loader_speed_prints_rates(capsys, monkeypatch):
    monkeypatch.setattr(loader_speed, "KINDS", 2)
    arguments = ["loader_speed", "--pictures", "64", "--rounds", "1", "--workers", "1"]
    monkeypatch.setattr(sys, "argv", arguments)
    loader_speed.main()
    lines = capsys.readouterr().out.splitlines()
    rates = [float(line[28:36]) for line in lines[2:]]
    assert len(rates) == 4 and min(rates) > 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads a process' memory from /proc")
def test_later_starts_are_measured(made):
    found = interhand_size.start_data_set(made)
    assert json.dumps(found) and found["records"] > 300 and found["peak"] > found["added"]
