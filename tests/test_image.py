"""Pictures of every kind, boxes and the affine map."""

import os

import cv2
import numpy as np
import pytest

from common.utils import image as I
from common.utils.errors import UserError

RGB = (250, 130, 10)


def write(path, pixels):
    assert cv2.imencode(path.suffix, pixels)[1].tofile(path) is None
    return path


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (5, 7, 4), (1, 1, 3), (1, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_any_picture_becomes_rgb_bytes(tmp_path, shape, dtype):
    grey = len(shape) == 2
    colour = 200 if grey else (*RGB[::-1], 60)[: shape[2]]
    pixels = np.full(shape, np.array(colour) * (257 if dtype == np.uint16 else 1), dtype)
    image = I.read_image(write(tmp_path / "bild_\u00e4\u4e2d.png", pixels))
    assert image.dtype == np.uint8 and image.shape == (*shape[:2], 3)
    assert (image == (200 if grey else RGB)).all()


def test_bad_pictures_are_named(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.png").write_text("no picture")
    for name in ("empty.jpg", "text.png", "missing.jpg", "."):
        with pytest.raises(UserError, match=name):
            I.read_image(tmp_path / name if name != "." else tmp_path)


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UserError, match=r"pipe\.png: it is no file"):
        I.read_image(tmp_path / "pipe.png")


def test_square_box_and_tight_box():
    points = np.array([[[1.0, 2], [5, 3], [100, 100]]])
    tight = I.tight_box(points, np.array([[1, 1, 0]]))
    assert tight.tolist() == [1, 2, 4, 1]
    assert I.square_box(tight).tolist() == [0.5, 0, 5, 5]
    assert I.tight_box(points, np.zeros((1, 3))) is None
    assert I.square_box([3, 3, 0, 0]).tolist() == [2.5, 2.5, 1, 1]


def test_crop_affine_is_the_agreed_formula():
    affine = I.crop_affine([10, 20, 64, 64], 256)
    points = np.array([[10.0, 20], [30, 50], [73, 83]])
    assert np.allclose(I.apply_affine(affine, points), (points - [10, 20]) * 256 / 64)


def test_crop_affine_turns_u_towards_v_about_the_centre():
    affine = I.crop_affine([0, 0, 256, 256], 256, rotation=np.pi / 2)
    assert np.allclose(I.apply_affine(affine, np.array([[128.0, 128], [138, 128]])), [[128, 128], [128, 138]])


def test_identity_crop_keeps_every_pixel():
    picture = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    assert (I.warp(picture, I.crop_affine([0, 0, 256, 256], 256), 256) == picture).all()


@pytest.mark.parametrize("side", [100, 300, 900, 2100])
def test_picture_and_points_move_together(side):
    """The centre of a bright disc, drawn then cropped, lies where the affine map says."""
    picture = np.zeros((2000, 2200, 3), np.uint8)
    centre = np.array([700.0, 600])
    cv2.circle(picture, (700, 600), side // 20, (255, 255, 255), -1)
    affine = I.crop_affine([700 - side / 2 + side / 7, 600 - side / 2, side, side], 256, rotation=0.4)
    crop = I.warp(picture, affine, 256)[..., 0].astype(float)
    v, u = np.mgrid[:256, :256]
    found = np.array([(u * crop).sum(), (v * crop).sum()]) / crop.sum()
    assert np.abs(found - I.apply_affine(affine, centre)).max() < 0.1


@pytest.mark.parametrize("side", [200, 530, 1100, 2100])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_smaller_decoding_moves_nothing(side, suffix):
    """A disc in a file, cut at once: where the affine map says, quick or not, and nearly the same pixels."""
    picture = np.full((2000, 2200, 3), 40, np.uint8)
    centre = np.array([700.0, 600])
    cv2.circle(picture, (700, 600), side // 8, (250, 240, 230), -1)
    content = cv2.imencode(suffix, picture, [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
    affine = I.crop_affine([700 - side / 2 + side / 7, 600 - side / 2, side, side], 256, rotation=0.4)
    crops = []
    for quick in (False, True):
        out = np.zeros((256, 256, 3), np.uint8)
        level = I.cut_from_file(content, "disc", affine, out, quick)
        assert abs(level - picture.mean()) < 0.5
        light = (out[..., 0] > 130).astype(float)
        v, u = np.mgrid[:256, :256]
        found = np.array([(u * light).sum(), (v * light).sum()]) / light.sum()
        assert np.abs(found - I.apply_affine(affine, centre)).max() < 0.15
        crops.append(out.astype(int))
    assert np.abs(crops[0] - crops[1]).mean() < 1
    if suffix == ".png" or side < 512:
        assert np.array_equal(*crops)


def test_maps_of_many_boxes_are_those_of_each():
    rng = np.random.default_rng(0)
    box = np.concatenate([rng.uniform(0, 99, (5, 2)), rng.uniform(9, 99, (5, 1)).repeat(2, 1)], -1)
    rotation, scale, shift = rng.normal(size=5), rng.uniform(0.7, 1.3, 5), rng.uniform(-0.1, 0.1, (5, 2))
    together = I.crop_affine(box, 256, rotation, scale, shift)
    for row in range(5):
        alone = I.crop_affine(box[row], 256, rotation[row], scale[row], shift[row])
        assert np.allclose(together[row], alone) and np.allclose(I.as_3x3(together)[row], I.as_3x3(alone))


def test_shrinking_averages():
    """A fine chequerboard becomes grey, not a pattern of chance."""
    picture = np.repeat((np.indices((1024, 1024)).sum(0) % 2 * 255).astype(np.uint8)[..., None], 3, 2)
    crop = I.warp(picture, I.crop_affine([3.3, 1.7, 1000, 1000], 256), 256)
    assert np.abs(crop.astype(int) - 127).max() < 20


def test_one_pixel_simply_works():
    picture = np.full((1, 1, 3), 90, np.uint8)
    crop = I.warp(picture, I.crop_affine(I.square_box([0, 0, 1, 1]), 256), 256)
    assert crop.shape == (256, 256, 3) and crop.max() == 90
