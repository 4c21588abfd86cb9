"""The screen table and report.html: nothing lost, nothing loaded, nothing injected."""

import base64
import re
import shutil
from html.parser import HTMLParser

import pytest

from common.show.report import page, split_key, table
from tests.found import make_found
from tests.scripts import run
from tool import check_report

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


def hostile_found():
    words = ("title", "data", "hand_model", "checkpoint", "device", "commit", "command")
    found = make_found(**dict.fromkeys(words, HOSTILE), notes=[HOSTILE], config={HOSTILE: [HOSTILE]})
    found["unavailable"] = {HOSTILE: {HOSTILE: HOSTILE}}
    found["choices"]["lgnet"] = dict.fromkeys(found["choices"]["lgnet"], HOSTILE)
    found["protocols"]["lgnet"][HOSTILE] = 1.0
    found["protocols"] = {HOSTILE: found["protocols"]["lgnet"], **found["protocols"]}
    found["choices"][HOSTILE], found["curves"][HOSTILE] = found["choices"]["lgnet"], found["curves"]["lgnet"]
    return found


@pytest.mark.parametrize("found", [make_found(), hostile_found()], ids=["plain", "hostile"])
def test_a_page_loads_nothing_and_leads_nowhere(found):
    text = page(found, {HOSTILE: PNG}, [(HOSTILE, PNG)])
    bare = re.sub(r'"data:image/png;base64,[A-Za-z0-9+/=]*"', '"data:"', text)
    for banned in ("http:/", "https:/", "//", "href", "@import", "url(", "<script", "<link", "<iframe"):
        assert banned not in bare.lower(), banned
    assert [value for name, value in Reader(bare).attributes if name == "src"] == ["data:", "data:"]
    assert check_report.outside_links(text) == []


def test_hostile_words_stay_words():
    read = Reader(page(hostile_found(), {HOSTILE: PNG}, [(HOSTILE, PNG)]))
    assert "script" not in read.tags and read.tags.count("img") == 2 and read.tags.count("title") == 1
    assert not [name for name, _ in read.attributes if name.startswith("on")]
    assert read.text.count(HOSTILE) > 20 and ("alt", HOSTILE) in read.attributes


def test_pictures_are_inside_byte_for_byte():
    sources = [
        value for name, value in Reader(page(make_found(), {"a": PNG}, [])).attributes if name == "src"
    ]
    assert [base64.b64decode(source.removeprefix("data:image/png;base64,")) for source in sources] == [PNG]


def test_every_number_and_its_count_is_on_the_page():
    found = make_found()
    scores = found["protocols"]["lgnet"]
    scores.update({key: 1000 + 7 * i for i, key in enumerate(scores)})
    found["counts"]["lgnet"] = {key: 5000 + i for i, key in enumerate(scores)} | {"frames": 1, "samples": 2}
    text = Reader(page(found, {}, [])).text
    every = text.split("Every number")[1]
    for key, value in scores.items():
        assert (f"{value}.0000" if found["units"][key] == "share" else f"{value}.00") in every, key
        assert "rough" in key or f"n {found['counts']['lgnet'][key]}" in every, key


def test_the_truth_places_but_gives_no_mrrpe():
    found = make_found()
    found["protocols"] = {"lgnet": {"MRRPE": 1.25, "MRRPE_rootnet": 2.5, "RRVE": 4.5, "RRVE_gt": 8.75}}
    section = page(found, {}, []).split("three relative translations")[1].split("<h2>")[0]
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in section.split("<tr>")[2:]]
    assert [[re.sub("<.*", "", cell) for cell in row] for row in rows] == [
        ["1.25", "2.50", "places only"],
        ["4.50", "-", "8.75"],
    ]


def test_what_is_synthetic_is_said_first():
    text = page(make_found(), {}, [])
    assert text.index("Synthetic pictures: no published") < text.index("<h2>")
    assert any("Synthetic" in line for line in table(make_found()).splitlines()[:3])
    real = make_found(synthetic=False, hand_model="MANO")
    for shown in (page(real, {}, []), table(real)):
        assert "no published number" not in shown and "not MANO" not in shown


def test_the_table_fits_a_screen():
    found = make_found()
    found["protocols"]["eanet"] = found["protocols"]["lgnet"]
    lines = table(found).splitlines()
    assert len(lines) < 60 and max(map(len, lines)) <= 110
    row = next(line for line in lines if line.startswith("MPJPE"))
    assert row.split() == ["MPJPE", *["24.31", "|", "24.43"] * 5]
    assert next(line for line in lines if line.startswith("root ")).split()[1:3] == ["wrist", "middle1"]
    assert not any(line.startswith("tips") for line in lines)  # the same in all
    assert "not available: interwild: MRRPE_rootnet, RRVE_rootnet (no RootNet file)" in lines


def test_equal_reasons_stand_together():
    found = make_found(unavailable={"lgnet": {"A": "why", "B": "why"}, "eanet": {"A": "why", "B": "why"}})
    assert "not available: lgnet, eanet: A, B (why)" in table(found)


def test_nothing_measured_breaks_nothing():
    none = {name: dict.fromkeys(scores) for name, scores in make_found()["protocols"].items()}
    for protocols in ({}, {"lgnet": {}}, none, {"lgnet": {"MPJPE": None, "new_metric": 3.0}}):
        curves = {name: {} for name in protocols}
        found = make_found(protocols=protocols, curves=curves, units={}, counts={}, notes=[], unavailable={})
        text = page(found, {}, [])
        assert table(found) and "<h2>Headline</h2>" in text
        assert ("3.00" in text) == ("new_metric" in protocols.get("lgnet", {}))


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("MPJPE", ("MPJPE", "")),
        ("MPJPE_rough", ("MPJPE", "")),
        ("MPVPE_rough_right", ("MPVPE", "right")),
        ("MPJPE_SH", ("MPJPE", "SH")),
        ("IoU_both", ("IoU_both", "")),
        ("MPJPE_thumb", ("MPJPE_thumb", "")),
    ],
)
def test_keys_come_apart(key, parts):
    assert split_key(key) == parts


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


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_in_a_browser(tmp_path, capsys):
    good, bad, shot = (tmp_path / name for name in ("good.html", "bad.html", "shot.png"))
    good.write_text(page(hostile_found(), {"figure": PNG}, []))
    assert run(check_report, good, "--screenshot", shot) == 0 and shot.read_bytes()[:4] == PNG[:4]
    bad.write_text(page(make_found(), {"figure": PNG[:-30]}, []).replace("<h2>Headline", "<h2>Other"))
    assert run(check_report, bad) == 1
    error = capsys.readouterr().err
    assert "1 of 1 pictures were not decoded" in error and "['Headline']" in error
    assert run(check_report, good, "--browser", "no-such-browser") == 2
