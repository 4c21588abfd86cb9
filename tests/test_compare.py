"""tool/compare.py: what differs is said, what is best is marked, bad files end in one sentence."""

import json

import pytest

from tests.found import make_found
from tests.scripts import run
from tool import compare


@pytest.fixture
def together(tmp_path, capsys):
    """Compare evaluations; returns the printed text, which compare.md repeats."""

    def call(*runs, options=()):
        paths = []
        for index, found in enumerate(runs):
            paths.append(tmp_path / f"{index}.json")
            paths[-1].write_text(json.dumps(found))
        assert run(compare, *paths, "--output", tmp_path / "out", *options) == 0
        printed = capsys.readouterr().out
        text, _, last = printed.rstrip("\n").rpartition("\n")
        assert last == f"results: {tmp_path / 'out' / 'compare.md'}"
        assert (tmp_path / "out" / "compare.md").read_text() == text + "\n"
        return text

    return call


def rows(text, name):
    """{metric: cells} of one protocol's table."""
    lines = text.split(f"## {name} ")[1].split("## ")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return {first: rest for first, *rest in cells}


def test_the_best_is_marked_and_nothing_is_warned_of_when_runs_agree(together, tmp_path):
    text = together(make_found("a"), make_found("b", 2.0), make_found("b", 1.0))
    assert "WARNING" not in text
    found = rows(text, "lgnet")
    assert found["metric"] == ["unit", "n", "a", "b", "b (2)"]
    assert found["MPJPE"] == ["mm", "26", "24.31 *", "26.31", "25.31"]
    assert found["AUC"][3] == "5.0000 *" and found["IoU_right"][3].endswith("*")
    assert not any("*" in cell for cell in found["penetration_volume_truth"])
    assert "contact_deviation" not in found and "## eanet" not in text
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"pck_lgnet.png", "pck_lgnet.pdf", "pose_interwild.pdf"} <= written


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"data": "InterHand2.6M"}, "WARNING: data differs: a: synthetic"),
        ({"synthetic": False}, "WARNING: synthetic differs: a: True; b: False"),
        ({"hand_model": "MANO"}, "WARNING: hand_model differs: a: stand-in hand; b: MANO"),
    ],
)
def test_runs_on_different_things_are_not_ranked(together, changed, words):
    text = together(make_found("a"), make_found("b", 1.0, **changed))
    assert words in text and " *" not in text.replace("best: *", "")


def test_different_frames_choices_and_counts(together):
    other = make_found("b", 1.0)
    other["counts"]["lgnet"]["frames"] = 25
    other["choices"]["intaghand"]["root"] = "wrist"
    other["counts"]["interhand"]["MRRPE"] = 3
    text = together(make_found("a"), other)
    assert "WARNING: count of frames differs: a: 26; b: 25" in text
    assert (
        "WARNING: choice of root differs: a: middle1; b: wrist" in text
        and "WARNING: n differs for MRRPE" in text
    )
    assert rows(text, "lgnet")["MPJPE"][2:] == rows(text, "intaghand")["MPJPE"][2:] == ["24.31", "25.31"]
    assert rows(text, "interhand")["MPJPE"][2] == "24.31 *"
    assert rows(text, "interhand")["MRRPE"][1:] == ["26 / 3", "1.25", "2.25"]


def test_one_protocol_and_the_published_curves(together, tmp_path):
    picture = tmp_path / "out" / "pck_lgnet.png"
    text = together(make_found("a|b"), make_found("c"), options=("--protocol", "lgnet"))
    plain = picture.read_bytes()
    assert "## intaghand" not in text and r"a\|b" in text
    assert "published" in together(make_found("a|b"), options=("--protocol", "lgnet", "--published"))
    assert picture.read_bytes() != plain


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"[]", b"{}", b'{"protocols": []}', b"3"])
def test_bad_files(tmp_path, capsys, content):
    path = tmp_path / "metrics.json"
    path.write_bytes(content)
    assert run(compare, path, "--output", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert str(path) in error and error.count("\n") == 1 and not (tmp_path / "out").exists()


def test_no_file_and_no_such_protocol(tmp_path, capsys):
    assert run(compare, tmp_path / "none.json") == 2
    (tmp_path / "a.json").write_text(json.dumps(make_found()))
    assert run(compare, tmp_path / "a.json", "--protocol", "x", "--output", tmp_path) == 2
    assert "there are: lgnet, intaghand" in capsys.readouterr().err
