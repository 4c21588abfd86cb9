"""The sheet of samples: its size, and counts that make none."""

import cv2
import pytest

from common.utils.errors import UserError
from tests.scripts import run, settings
from tool import show_data

SMALL = [*settings(synthetic_train=4, train__batch_size=2), "--gpu", "cpu"]


def test_a_sheet_has_a_picture_and_its_labels_for_each_sample(tmp_path):
    assert run(show_data, tmp_path / "sheet.png", "--count", 3, "--columns", 2, *SMALL) == 0
    height, width, _ = cv2.imread(str(tmp_path / "sheet.png")).shape
    assert height // 256 == 2 and width // 256 == 4


@pytest.mark.parametrize("option", ["--count", "--columns"])
@pytest.mark.parametrize("number", [0, -1])
def test_a_sheet_of_nothing_is_one_sentence(tmp_path, capsys, option, number):
    assert run(show_data, tmp_path / "sheet.png", option, number) == 2
    error = capsys.readouterr().err
    assert error == "error: --count and --columns are 1 or more\n"


def test_a_sheet_that_cannot_be_written_is_said_before_the_work(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run(show_data, tmp_path / "file" / "sheet.png", *SMALL) == 2
    assert "cannot write" in capsys.readouterr().err


def test_the_test_split_is_the_one_that_a_test_reads(tmp_path, monkeypatch):
    """Whatever the preset trains on."""
    seen = []

    def no_pictures(config, mano, log):
        seen.append(config.data)
        raise UserError("enough")

    monkeypatch.setattr(show_data.build, "test_data", no_pictures)
    assert run(show_data, tmp_path / "sheet.png", "--preset", "eanet", "--split", "test") == 2
    assert seen == [show_data.build.TEST_DATA]
