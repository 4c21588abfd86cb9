"""One pinhole camera draws both hands where their own weak cameras saw them."""

import numpy as np
import pytest
from PIL import Image

from common.utils.camera import Camera, centred_camera, exif_focal, file_camera, place_hands

RNG = np.random.default_rng(0)
POINTS = 0.06 * RNG.standard_normal((2, 21, 3))
PLACES = np.array([[-0.1, 0.05, 0.6], [0.08, -0.02, 0.68]])
CAMERA = Camera(900.0, 850.0, 310.0, 250.0, "given")


def seen(points, places, camera):
    """Pixels by hand: divide by depth, stretch, shift."""
    x, y, z = np.moveaxis(points + places[:, None], -1, 0)
    return np.stack([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy], -1)


def test_hands_seen_in_perspective_are_placed_where_they_were():
    pixels = seen(POINTS, PLACES, CAMERA)
    depth = PLACES[:, 2] - PLACES[0, 2]
    found = place_hands(POINTS, pixels, np.array([1400.0, 1300]), depth, CAMERA)
    assert np.allclose(found, PLACES, atol=1e-9)
    alone = place_hands(POINTS[1:], pixels[1:], np.array([1300.0]), [0.0], CAMERA)
    assert np.allclose(alone, PLACES[1:], atol=1e-9)


def test_far_away_weak_cameras_are_met():
    scale, shift = np.array([60.0, 60.0]), np.array([[200.0, 100], [420, 300]])
    pixels = scale[:, None, None] * POINTS[..., :2] + shift[:, None]
    camera = Camera(30000.0, 30000.0, 310.0, 250.0, "given")
    places = place_hands(POINTS, pixels, scale, [0.0, 0.0], camera)
    assert np.allclose(places[:, 2], 30000 / 60, rtol=0.01)  # f / s
    assert np.abs(camera.project(POINTS + places[:, None]) - pixels).max() < 0.05


@pytest.mark.parametrize("scale", [-500.0, 0.0])
def test_cameras_that_see_nothing_still_place_hands_in_front(scale):
    pixels = scale * POINTS[..., :2] + 100
    places = place_hands(POINTS, pixels, np.full(2, scale), [0.0, 0.1], CAMERA)
    assert np.isfinite(places).all() and (POINTS[..., 2] + places[:, 2:] > 0).all()


def test_the_default_looks_at_the_middle():
    camera = centred_camera((640, 480))
    assert camera.source == "default" and camera.fx == camera.fy == pytest.approx(1.5 * 640)
    assert np.allclose(camera.project([0, 0, 2.0]), [319.5, 239.5])
    assert np.allclose(camera.K @ [0, 0, 1], [319.5, 239.5, 1])
    assert centred_camera((640, 480), 500.0).source == "given"


@pytest.mark.parametrize(("millimetres", "expected"), [(26, 26 / 36), (0, None), (65535, None)])
def test_exif(tmp_path, millimetres, expected):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = millimetres  # FocalLengthIn35mmFilm
    Image.new("RGB", (400, 300)).save(tmp_path / "x.jpg", exif=exif)
    assert exif_focal(tmp_path / "x.jpg") == (pytest.approx(expected) if expected else None)
    camera = file_camera(tmp_path / "x.jpg", (300, 400))
    assert camera.source == ("exif" if expected else "default")
    assert camera.fx == pytest.approx(400 * (expected or 1.5))
    (tmp_path / "broken.jpg").write_bytes((tmp_path / "x.jpg").read_bytes()[:50])
    assert exif_focal(tmp_path / "broken.jpg") is None and exif_focal(tmp_path / "none.jpg") is None


def test_the_turn_takes_straight_ahead_to_the_pixel():
    turn = CAMERA.turn_to((700.0, 20.0))
    assert np.allclose(turn @ turn.T, np.eye(3)) and np.linalg.det(turn) == pytest.approx(1)
    assert np.allclose(CAMERA.project(turn @ [0, 0, 1]), [700, 20])
    axis = np.cross([0, 0, 1], turn @ [0, 0, 1])  # of the least rotation
    assert np.allclose(turn @ axis, axis)
    assert np.allclose(CAMERA.turn_to((310.0, 250.0)), np.eye(3))
