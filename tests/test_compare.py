"""tool/compare.py: what differs is said, what is best is marked, bad files end in one sentence."""

import dataclasses
import json

import pytest

from common.eval.catalogue import HEADLINE, Key, Score
from tests.made_results import make_results
from tests.scripts import run
from tool import compare


@pytest.fixture
def together(tmp_path, capsys):
    """Compare evaluations; returns what was printed, with which compare.md begins, and compare.md."""

    def call(*runs, options=()):
        paths = []
        for index, made in enumerate(runs):
            paths.append(tmp_path / f"{index}.json")
            paths[-1].write_text(json.dumps(made.to_plain()))
        assert run(compare, *paths, "--output", tmp_path / "out", *options) == 0
        text, _, last = capsys.readouterr().out.rstrip("\n").rpartition("\n")
        assert last == f"results, every number: {tmp_path / 'out' / 'compare.md'}"
        whole = (tmp_path / "out" / "compare.md").read_text()
        assert whole.startswith(text + "\n")
        return text, whole

    return call


def rows(text, name):
    """{metric: cells} of one table."""
    table = {}
    for line in text.split(f"## {name} ")[1].split("## ")[0].splitlines():
        if line.startswith("| ") and not line.startswith("| --"):
            first, *rest = (cell.strip() for cell in line.strip("|").split("|"))
            table[first] = rest
    return table


def test_the_screen_shows_a_headline_and_the_file_everything(together):
    made = [make_results("a"), make_results("b", 2.0), make_results("c", 1.0)]
    printed, whole = together(*made)
    assert len(printed.splitlines()) < 25
    assert list(rows(printed, "headline, lgnet")) == ["metric", *HEADLINE]
    for name, scores in made[0].protocols.items():
        metrics = {compare.label(key) for key in scores}
        assert not metrics or metrics == set(rows(whole, name)) - {"metric"}
    assert "contact_deviation" not in rows(whole, "shared") and "IoU_both rough" in rows(whole, "shared")


def test_the_best_is_marked_and_nothing_is_warned_of_when_runs_agree(together, tmp_path):
    _, text = together(make_results("a"), make_results("b", 2.0), make_results("b", 1.0))
    assert "WARNING" not in text
    lgnet, shared = rows(text, "lgnet"), rows(text, "shared")
    assert lgnet["metric"] == ["unit", "n", "a", "b", "b (2)"]
    assert lgnet["MPJPE"] == rows(text, "headline, lgnet")["MPJPE"]
    assert lgnet["MPJPE"] == ["mm", "26", "24.31 *", "26.31", "25.31"]
    assert lgnet["AUC"][3].endswith("*") and shared["IoU_both"][3].endswith("*")
    assert not any("*" in cell for cell in shared["penetration_volume_truth"])
    assert "## eanet" not in text
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"pck_lgnet.png", "pck_lgnet.pdf", "pose_interwild.pdf"} <= written


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"data": "InterHand2.6M"}, "WARNING: data differs: a: synthetic"),
        (
            {"data_notes": ["view any"]},
            "WARNING: what the data say differs: a: synthetic pictures: view own; b",
        ),
        ({"synthetic": False}, "WARNING: synthetic differs: a: True; b: False"),
        ({"hand_model": "MANO"}, "WARNING: hand_model differs: a: stand-in hand; b: MANO"),
    ],
)
def test_runs_on_different_things_are_not_ranked(together, changed, words):
    printed, text = together(make_results("a"), make_results("b", 1.0, about=changed))
    assert words in printed and " *" not in text.replace("best: *", "")


def test_different_frames_choices_and_counts(together):
    other = make_results("b", 1.0)
    other.frames["lgnet"] = 25
    other.choices["intaghand"]["root"] = "wrist"
    other.protocols["interhand"][Key("MRRPE")] = Score(other.protocols["interhand"][Key("MRRPE")].value, 3)
    printed, text = together(make_results("a"), other)
    assert "WARNING: count of frames differs: a: 26; b: 25" in printed
    assert "WARNING: choice of root differs: a: middle1; b: wrist" in text
    assert "WARNING: n differs for MRRPE" in text
    assert rows(text, "lgnet")["MPJPE"][2:] == rows(text, "intaghand")["MPJPE"][2:] == ["24.31", "25.31"]
    assert rows(text, "interhand")["MPJPE"][2] == "24.31 *"
    assert rows(text, "interhand")["MRRPE"][1] == "26 / 3" and "*" not in rows(text, "interhand")["MRRPE"][2]


def test_one_protocol_and_the_published_curves(together, tmp_path):
    picture = tmp_path / "out" / "pck_lgnet.png"
    printed, text = together(make_results("a|b"), make_results("c"), options=("--protocol", "lgnet"))
    plain = picture.read_bytes()
    assert "## intaghand" not in text and r"a\|b" in text
    assert "published" in together(make_results("a|b"), options=("--protocol", "lgnet", "--published"))[0]
    assert picture.read_bytes() != plain


def test_a_protocol_without_numbers_is_no_headline(together):
    made = make_results("a")
    made = dataclasses.replace(made, protocols={"lgnet": {}, "interhand": made.protocols["interhand"]})
    assert "## headline, interhand " in together(made)[0]


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"[]", b"{}", b'{"protocols": []}', b"3", b'{"about": 1}']
)
def test_bad_files(tmp_path, capsys, content):
    path = tmp_path / "metrics.json"
    path.write_bytes(content)
    assert run(compare, path, "--output", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert str(path) in error and error.count("\n") == 1 and not (tmp_path / "out").exists()


def test_no_file_and_no_such_protocol(tmp_path, capsys):
    assert run(compare, tmp_path / "none.json") == 2
    (tmp_path / "a.json").write_text(json.dumps(make_results().to_plain()))
    assert run(compare, tmp_path / "a.json", "--protocol", "x", "--output", tmp_path) == 2
    assert "there are: lgnet, intaghand" in capsys.readouterr().err
