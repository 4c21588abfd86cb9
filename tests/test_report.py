"""The screen table and report.html: nothing lost, nothing loaded, nothing injected."""

import base64
import dataclasses
import json
import re
import shutil
from html.parser import HTMLParser

import pytest

from common.eval.catalogue import CATALOGUE, MESHES, PARTS, PER_PROTOCOL, SHARED, Key, Score
from common.eval.results import Results
from common.show.page import page
from common.show.report import screen_text
from common.show.table import Cell, Table, screen
from tests import check_report
from tests.made_results import FRAMES, make_results

PNG = base64.b64decode(  # one grey pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)
HOSTILE = "</title><script>alert(1)</script><img src=\"https://evil.example/x.png\" onerror='x'> &amp; //evil"


class Reader(HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


def hostile_results():
    words = ("title", "data", "hand_model", "checkpoint", "device", "commit", "command")
    about = dict.fromkeys(words[1:], HOSTILE) | {"config": {HOSTILE: [HOSTILE]}}
    made = make_results(HOSTILE, about=about, notes=[HOSTILE])
    choices = {**made.choices, "lgnet": dict.fromkeys(made.choices["lgnet"], HOSTILE)}
    return dataclasses.replace(
        made,
        unavailable={HOSTILE: {HOSTILE: HOSTILE}},
        protocols={HOSTILE: made.protocols["lgnet"], **made.protocols},
        frames={HOSTILE: 3, **made.frames},
        choices={HOSTILE: choices["lgnet"], **choices},
        curves={HOSTILE: made.curves["lgnet"], **made.curves},
    )


@pytest.mark.parametrize("made", [make_results(), hostile_results()], ids=["plain", "hostile"])
def test_a_page_loads_nothing_and_leads_nowhere(made):
    text = page(made, {HOSTILE: PNG}, [(HOSTILE, PNG)])
    bare = re.sub(r'"data:image/png;base64,[A-Za-z0-9+/=]*"', '"data:"', text)
    for banned in ("http:/", "https:/", "//", "href", "@import", "url(", "<script", "<link", "<iframe"):
        assert banned not in bare.lower(), banned
    assert [value for name, value in Reader(bare).attributes if name == "src"] == ["data:", "data:"]
    assert check_report.outside_links(text) == []


def test_hostile_words_stay_words():
    read = Reader(page(hostile_results(), {HOSTILE: PNG}, [(HOSTILE, PNG)]))
    assert "script" not in read.tags and read.tags.count("img") == 2 and read.tags.count("title") == 1
    assert not [name for name, _ in read.attributes if name.startswith("on")]
    assert read.text.count(HOSTILE) > 20 and ("alt", HOSTILE) in read.attributes


def test_pictures_are_inside_byte_for_byte():
    sources = [
        value for name, value in Reader(page(make_results(), {"a": PNG}, [])).attributes if name == "src"
    ]
    assert [base64.b64decode(source.removeprefix("data:image/png;base64,")) for source in sources] == [PNG]


def renumbered(made, first):
    """Every number of the evaluation another one, from `first` up, on as many frames."""
    every = iter(range(first, 100_000))

    def again(scores):
        return {key: Score(float(next(every)), FRAMES) for key in scores}

    protocols = {name: again(scores) for name, scores in made.protocols.items()}
    return dataclasses.replace(made, protocols=protocols, shared=again(made.shared))


def test_every_number_is_on_the_page():
    made = renumbered(make_results(), 1000)
    text = Reader(page(made, {}, [])).text.split("Every number")[1]
    for scores in (*made.protocols.values(), made.shared):
        for key, score in scores.items():
            digits = 4 if CATALOGUE[key.metric].unit == "share" else 2
            assert f"{score.value:.{digits}f}" in text, key


def test_no_column_is_shown_twice():
    """Where no choice of a protocol enters, there is one number, and it is printed once."""
    made = renumbered(make_results(), 1000)
    lines = screen_text(made).splitlines()
    for metric in SHARED:
        if metric.rank != "list":
            digits = 4 if metric.unit == "share" else 2
            value = f"{made.shared[Key(metric.name)].value:.{digits}f}"
            assert sum(line.split().count(value) for line in lines) == 1, metric
    assert not any(key.metric in {m.name for m in SHARED} for s in made.protocols.values() for key in s)


def test_a_number_on_fewer_frames_says_so():
    """10 of 26 frames were predicted: the screen and the page say it at the numbers, not only in the head."""
    made = make_results()
    fewer = {key: Score(score.value, 10) for key, score in made.protocols["lgnet"].items()}
    made = dataclasses.replace(made, protocols={"lgnet": fewer})
    lines = screen_text(made).splitlines()
    place = next(index for index, line in enumerate(lines) if line.startswith("MPJPE"))
    assert lines[place - 1].split() == ["n", "10", "of", "26"]
    assert "24.31 |  24.43<small>n 10 of 26</small>" in page(made, {}, [])
    assert "n 26" in screen_text(make_results()) and "n 26 of" not in screen_text(make_results())


def test_frames_are_said_where_they_change_and_hold_until_then():
    rows = [
        [Cell("a", "never"), Cell("1", "n 3"), Cell("1", "n 4")],
        [Cell("b"), Cell("2", "n 3"), Cell("")],
        [Cell("c"), Cell("3", "n 3"), Cell("3", "n 4")],
        [Cell("d"), Cell("4", "n 2"), Cell("4", "n 4")],
    ]
    lines = [line.split() for line in screen(Table(["x", "p", "q"], rows), [5, 8, 8])]
    n = ["n", "3", "n", "4"], ["n", "2", "n", "4"]
    assert lines == [
        ["x", "p", "q"],
        n[0],
        ["a", "1", "1"],
        ["b", "2"],
        ["c", "3", "3"],
        n[1],
        ["d", "4", "4"],
    ]


def test_the_truth_places_but_gives_no_mrrpe():
    places = [metric.name for metric in PER_PROTOCOL if metric.name.startswith(("MRRPE", "RRVE"))]
    assert "RRVE_gt" in places and "MRRPE_gt" not in places
    headline = page(make_results(), {}, []).split("<h2>Headline")[1].split("<h2>")[0]
    assert "placed by the true translation" in headline and "MRRPE_gt" not in headline


def test_what_is_synthetic_is_said_first():
    text = page(make_results(), {}, [])
    assert text.index("Synthetic pictures: no published") < text.index("<h2>")
    assert any("Synthetic" in line for line in screen_text(make_results()).splitlines()[:3])
    real = make_results(about={"synthetic": False, "hand_model": "MANO"})
    for shown in (page(real, {}, []), screen_text(real)):
        assert "no published number" not in shown and "not MANO" not in shown


def test_the_screen_is_not_overfull():
    made = make_results()
    made = dataclasses.replace(made, protocols={**made.protocols, "eanet": made.protocols["lgnet"]})
    lines = screen_text(made).splitlines()
    assert len(lines) < 60 and max(map(len, lines)) <= 110
    row = next(line for line in lines if line.startswith("MPJPE"))
    assert row.split() == ["MPJPE", *["24.31", "|", "24.43"] * 5]
    assert next(line for line in lines if line.startswith("root ")).split()[1:3] == ["wrist", "middle1"]
    assert not any(line.startswith("tips") for line in lines)  # the same in all
    assert "not available: interwild: MRRPE_rootnet, RRVE_rootnet (no RootNet file)" in lines
    assert any("AUC and IoU are shares of 1" in line for line in lines)


def test_equal_reasons_stand_together():
    both = {"MPJPE": "why", "MPVPE": "why"}
    made = make_results(unavailable={"lgnet": both, "eanet": both})
    assert "not available: lgnet, eanet: MPJPE, MPVPE (why)" in screen_text(made)


def test_nothing_measured_breaks_nothing():
    made = make_results()
    none = {name: {key: Score(None, 0) for key in scores} for name, scores in made.protocols.items()}
    one = {"lgnet": {Key("MPJPE"): Score(None, 0), Key("MPVPE"): Score(3.0, 1)}}
    for protocols in ({}, {"lgnet": {}}, none, one):
        empty = dict.fromkeys(protocols, {})
        few = make_results(protocols=protocols, curves=empty, shared={}, notes=[], unavailable={})
        text = page(few, {}, [])
        assert screen_text(few) and "<h2>Headline</h2>" in text
        assert ("3.00" in text) == (protocols is one)
    assert json.loads(json.dumps(few.to_plain()))["protocols"]["lgnet"]["MPJPE"]["final"]["overall"] == {
        "value": None,
        "n": 0,
    }


def test_plain_data_and_back():
    made = make_results()
    plain = json.loads(json.dumps(made.to_plain(), allow_nan=False))
    assert Results.from_plain(plain) == made
    assert plain["protocols"]["lgnet"]["MPJPE"]["rough"]["overall"] == {"value": 24.43, "n": FRAMES}
    assert plain["metrics"]["AUC"] | {"meaning": ""} == {"unit": "share", "better": "up", "meaning": ""}
    plain["protocols"]["lgnet"]["new_metric"] = {}
    with pytest.raises(ValueError, match="new_metric"):
        Results.from_plain(plain)


def test_the_catalogue_is_whole():
    for metric in CATALOGUE.values():
        assert (
            metric.unit in ("mm", "deg", "px", "%", "cm3", "share") and metric.meaning and metric.unlabelled
        )
    for key in (key for scores in make_results().protocols.values() for key in scores):
        assert key.mesh in MESHES and key.part in PARTS


@pytest.mark.parametrize(
    "harm",
    [
        "<img src=a.png>",
        "<a href=//x.org>x</a>",
        "<style>@import 'a'</style>",
        "<style>p { background: url(a.png) }</style>",
        "<p style='background: url(a.png)'>",
        "see http://x.org",
    ],
)
def test_outside_links_are_found(harm):
    assert len(check_report.outside_links(f"<p>text url(x)</p>{harm}")) >= 1
    assert check_report.outside_links("<style>p { color: red }</style><p>url(x)</p><a href='#x'>") == []


@pytest.mark.skipif(shutil.which(check_report.BROWSER) is None, reason="needs chromium")
def test_in_a_browser(tmp_path):
    good = page(hostile_results(), {"figure": PNG}, [])
    assert check_report.faults(good) == []
    check_report.screenshot(good, tmp_path / "shot.png")
    assert (tmp_path / "shot.png").read_bytes()[:4] == PNG[:4]
    bad = page(make_results(), {"figure": PNG[:-30]}, []).replace("<h2>Headline", "<h2>Other")
    wrong = " ".join(check_report.faults(bad))
    assert "1 of 1 pictures were not decoded" in wrong and "['Headline']" in wrong
