"""The doctor: what it finds, and what it says is to be done."""

import json
import shutil
from importlib import metadata

import pytest

from tests.scripts import run
from tool import doctor


def visit(capsys, *arguments) -> tuple[int, str]:
    code = run(doctor, *arguments)
    return code, capsys.readouterr().out


def test_a_machine_that_lacks_nothing(capsys):
    code, printed = visit(capsys)
    assert code == 0 and "!!" not in printed and "nothing is missing" in printed
    assert f"torch        {metadata.version('torch')}" in printed
    assert "stand-in hand (smplx_path = not set)" in printed and "main/demo.py" in printed


def test_data_in_counts(capsys, interhand):
    keys = (("anno_dir", "annotations"), ("images_path", "images"))
    given = [f"interhand_{key}={interhand / folder}" for key, folder in keys]
    code, printed = visit(capsys, "--set", given[0], "--set", given[1], "--set", "use_fits=false")
    assert code == 0 and "--validate" in printed
    for split in ("train", "test"):
        file = interhand / "annotations" / split / f"InterHand2.6M_{split}_data.json"
        count = len(json.loads(file.read_text())["annotations"])
        assert f"InterHand2.6M {split}: {count:,} annotations" in printed
    assert printed.count(f"picture in {interhand / 'images'}") == 2
    assert printed.count("joints alone: switched off") == 2  # the settings reach both


def test_all_that_is_wrong_is_said_at_once(capsys, tmp_path):
    missing = tmp_path / "nowhere"
    paths = [f"{key}={missing}" for key in ("smplx_path", "interhand_anno_dir", "interhand_images_path")]
    code, printed = visit(capsys, *[word for path in paths for word in ("--set", path)])
    assert code == 2 and printed.count("!! ") == 3  # the hands, training, test
    todo = printed.partition("to do:")[2].splitlines()[1:]
    assert [line[:2] for line in todo] == ["1.", "2.", "3."]
    assert "mano.is.tue.mpg.de" in todo[0] and "holds no folder train" in todo[1]


@pytest.mark.parametrize(("found", "words"), [(None, "not installed"), ("1.0.3", "1.0.3 is too old")])
def test_packages_that_are_missing_or_old(capsys, monkeypatch, found, words):
    version_of = doctor.version_of
    monkeypatch.setattr(doctor, "version_of", lambda name: found if name == "timm" else version_of(name))
    code, printed = visit(capsys)
    assert code == 2 and f"!! timm         {words}" in printed
    assert printed.endswith("1. pip install -r requirements.txt\n")


def test_versions_are_compared_as_numbers():
    assert doctor.numbers("2.10.0+cu128") == [2, 10, 0] > doctor.numbers("2.9") == [2, 9]


def test_a_full_disk(capsys, monkeypatch, tmp_path):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda place: usage._replace(free=10**9))
    code, printed = visit(capsys, "--set", f"output_dir={tmp_path / 'new' / 'folder'}")
    assert code == 2 and "1 GB free" in printed and "--set output_dir=FOLDER elsewhere" in printed
