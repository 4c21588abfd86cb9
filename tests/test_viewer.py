"""The page that one can turn: what it holds, and what a real browser makes of it."""

import base64
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from common.utils.camera import Camera
from main.predictor import Predictor
from main.result.viewer import PAGE, write_viewer
from tests import chromium
from tests.test_predictor import Fixed, grey

needs_browser = pytest.mark.skipif(not chromium.FOUND, reason="needs Chromium")
RIGHT_RED, LEFT_BLUE = (0, 2), (2, 0)  # the channel that leads, the one that follows


@pytest.fixture(scope="module")
def result(hands):
    return Predictor(Fixed(hands), hands, "cpu")(grey(300, 400), (50, 40, 200, 200))


@pytest.fixture
def page(result, tmp_path):
    write_viewer(tmp_path / "x.html", result, "a </title> & more")
    return tmp_path / "x.html"


def scene_of(page):
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="scene">(.*?)</script>', text, re.DOTALL)[1])


def test_the_page_holds_the_hands_as_they_are(page, result):
    scene = scene_of(page)
    assert [hand["name"] for hand in scene["hands"]] == ["right", "left"]
    for i, hand in enumerate(scene["hands"]):
        verts = np.frombuffer(base64.b64decode(hand["verts"]), "<f4").reshape(-1, 3)
        faces = np.frombuffer(base64.b64decode(hand["faces"]), "<u2").reshape(-1, 3)
        assert np.array_equal(verts, result.verts_cam[i]) and np.array_equal(faces, result.faces[i])
    assert (scene["width"], scene["height"]) == (400, 300)
    assert scene["camera"]["fx"] == result.camera.fx and "stand-in hand" in scene["words"]


def test_the_page_is_one_file_with_its_licence(page):
    text = page.read_text(encoding="utf-8")
    assert not re.search(r'(src|href)="', text), "it takes something from elsewhere"
    assert "default-src 'none'" in text and "three.js authors" in text
    assert "a &lt;/title&gt; &amp; more" in text and page.stat().st_size < 1e6
    assert (PAGE / "three.min.js").stat().st_size < 700e3


def test_a_large_picture_is_made_smaller(result, tmp_path):
    write_viewer(tmp_path / "x.html", replace(result, picture=np.zeros((3000, 4000, 3), np.uint8)))
    assert (tmp_path / "x.html").stat().st_size < 1e6


def coloured(shot, channels):
    """(H,W) where the leading channel is far above the following one."""
    lead, follow = channels
    return shot[..., lead].astype(int) - shot[..., follow] > 40


@needs_browser
@pytest.mark.parametrize("hand", [0, 1])
@pytest.mark.parametrize("middle", [(199.5, 149.5), (230.0, 120.0)])
def test_a_hand_is_drawn_where_the_camera_sees_it(result, tmp_path, hand, middle):
    """The window shows the ray (x, y, 1) at its own middle + F (x, y), such that the picture just fits."""
    camera = Camera(500.0, 500.0, *middle, "given")
    present = np.array([0.1, 0.1], np.float32)
    present[hand] = 0.9
    alone = replace(result, camera=camera, present=present)
    write_viewer(tmp_path / "x.html", alone)
    shot, text, asked = chromium.visit(tmp_path / "x.html", tmp_path, size=(800, 600))
    assert asked == [] and 'data-picture="shown"' in text
    assert int(re.search(r'data-drawn="(\d+)"', text)[1]) == 1538 + 2
    reach = [max(c + 0.5, size - 0.5 - c) / 500 for c, size in zip(middle, (400, 300), strict=True)]
    F = min(400 / reach[0], 300 / reach[1])
    points = alone.verts_cam[hand]
    pixels = F * points[:, :2] / points[:, 2:] + [399.5, 299.5]
    v, u = np.nonzero(coloured(shot, (RIGHT_RED, LEFT_BLUE)[hand]))
    low, high = pixels.min(0), pixels.max(0)
    assert 0 < low.min() and high[0] < 799 and high[1] < 599  # else the window's border cuts it
    assert np.abs([u.min() - low[0], v.min() - low[1], u.max() - high[0], v.max() - high[1]]).max() < 2


@needs_browser
def test_another_view_shows_both_hands(page, tmp_path):
    for fragment in ("#side", "#top", "#front"):
        shot, _, asked = chromium.visit(page, tmp_path, fragment)
        assert asked == []
        for channels in (RIGHT_RED, LEFT_BLUE):
            assert coloured(shot, channels).sum() > 500, fragment


@needs_browser
def test_without_a_hand_the_picture_is_there(result, tmp_path):
    nobody = replace(result, present=np.zeros(2, np.float32), rel_trans=None)
    write_viewer(tmp_path / "x.html", nobody)
    shot, text, _ = chromium.visit(tmp_path / "x.html", tmp_path)
    assert "no hand found" in text and 'data-picture="shown"' in text
    assert not coloured(shot, RIGHT_RED).any() and abs(int(np.median(shot)) - 100) < 5


@needs_browser
def test_a_page_that_asks_the_network_is_caught(tmp_path):
    """The check of the pages above can fail."""
    (tmp_path / "x.html").write_text('<img src="http://pictures.invalid/a.png">')
    _, _, asked = chromium.visit(tmp_path / "x.html", tmp_path)
    assert any("pictures.invalid" in line for line in asked)
