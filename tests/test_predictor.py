"""The picture-in, hands-out API with a network that always predicts the same."""

import json

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from common.hand.mano import load_mano
from common.utils.errors import UserError
from common.utils.image import read_image
from main.export import export, overlay
from main.predictor import Predictor
from tests.obj_file import read_obj
from tests.two_hands import make_batch, perfect


class Fixed(nn.Module):
    """Predicts two given hands whatever it sees, and keeps what it saw."""

    def __init__(self, hands, present=(4.0, 4.0)):
        super().__init__()
        self.pred = perfect(hands, make_batch(hands, 1))
        self.pred["present"] = torch.tensor([present])
        self.pred["cam"] = torch.tensor([[[500.0, 90, 128], [500.0, 170, 128]]])

    def forward(self, img):
        self.seen = img
        return self.pred


@pytest.fixture(scope="module")
def hands():
    return load_mano()


@pytest.fixture
def predictor(hands):
    return Predictor(Fixed(hands), hands, "cpu", "fixed")


def grey(height, width):
    return np.full((height, width, 3), 100, np.uint8)


def test_a_wide_picture_is_padded_about_its_centre(predictor):
    result = predictor(grey(300, 600))
    assert result.box.tolist() == [0, -150, 600, 600]
    crop = predictor.model.seen[0]
    assert crop.shape == (3, 256, 256) and crop[:, :62].max() == 0 and crop[:, 70:180].min() > 0.25
    assert result.image_size == (600, 300)


def test_a_square_picture_of_the_crop_size_stays_as_it_is(predictor):
    picture = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    result = predictor(picture)
    assert np.allclose(predictor.model.seen[0].permute(1, 2, 0) * 255, picture, atol=0.6)
    assert np.allclose(result.joints_img, predictor.model.pred["joints_img"][0, ..., :2], atol=1e-4)
    assert np.allclose(result.cam_in_picture, result.cam)


def test_a_box_is_squared_and_never_enlarged(predictor):
    result = predictor(grey(400, 600), (100, 50, 200, 100))
    assert result.box.tolist() == [100, 0, 200, 200]
    # u' = (u - x) 256 / w
    crop = predictor.model.pred["joints_img"][0, ..., :2].numpy()
    assert np.allclose(result.joints_img, crop * 200 / 256 + [100, 0], atol=1e-3)


@pytest.mark.parametrize("bbox", [(0, 0, 0, 10), (700, 0, 50, 50), (0, 0, float("nan"), 9)])
def test_a_box_that_is_none(predictor, bbox):
    with pytest.raises(UserError, match="bbox"):
        predictor(grey(400, 600), bbox)


def test_one_common_frame(predictor):
    result, pred = predictor(grey(256, 256)), predictor.model.pred
    assert np.abs(result.joints[0, 0]).max() < 1e-6
    assert np.allclose(result.joints[1, 0], pred["rel_trans"][0], atol=1e-6)
    assert np.allclose(result.verts[1], pred["verts"][0, 1] + pred["rel_trans"][0], atol=1e-6)


def test_pose_is_what_the_hand_layer_takes(predictor, hands):
    result = predictor(grey(256, 256))
    verts, joints = hands(torch.from_numpy(result.pose)[None], torch.from_numpy(result.shape)[None])
    verts = verts - joints[:, :, :1] + torch.from_numpy(result.wrists)[None, :, None]
    assert np.allclose(verts[0], result.verts, atol=1e-5)


@pytest.mark.parametrize("hand", [0, 1])
def test_a_lone_hand_has_its_own_origin(hands, tmp_path, hand):
    logits = [-3.0, -3.0]
    logits[hand] = 3.0
    predictor = Predictor(Fixed(hands, logits), hands, "cpu", "fixed")
    result = predictor(grey(256, 256))
    assert result.rel_trans is None and np.abs(result.joints[hand, 0]).max() < 1e-6
    name, other = (("right", "left"), ("left", "right"))[hand]
    (tmp_path / f"x_{other}.obj").write_text("of an earlier run")
    export(result, grey(256, 256), hands.faces, tmp_path, "x", "x.png")
    found = json.loads((tmp_path / "x.json").read_text())
    assert found["rel_trans"] is None and found["hands_found"] == [name]
    assert found["hands"][other]["joints_3d"] is None
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"x_overlay.png", f"x_{name}.obj", "x.json"}


def test_no_hand_draws_nothing(hands, tmp_path):
    result = Predictor(Fixed(hands, (-3.0, -3.0)), hands, "cpu")(grey(256, 256))
    export(result, grey(256, 256), hands.faces, tmp_path, "x", "x.png")
    assert {path.name for path in tmp_path.iterdir()} == {"x_overlay.png", "x.json"}
    assert (read_image(tmp_path / "x_overlay.png")[:256] == 100).all()
    assert json.loads((tmp_path / "x.json").read_text())["hands_found"] == []


@pytest.mark.parametrize(
    "size,bbox", [((256, 256), None), ((333, 512), None), ((480, 640), (90, 60, 300, 260))]
)
def test_exported_meshes_reprojected_lie_in_the_overlay(predictor, hands, tmp_path, size, bbox):
    picture = grey(*size)
    export(predictor(picture, bbox), picture, hands.faces, tmp_path, "x", "x.png")
    drawn = read_image(tmp_path / "x_overlay.png")[: size[0], : size[1]]
    silhouette = (drawn != 100).any(-1)
    near = cv2.dilate(silhouette.astype(np.uint8), np.ones((3, 3))) > 0
    found = json.loads((tmp_path / "x.json").read_text())
    for name in ("right", "left"):
        hand = found["hands"][name]
        verts, faces = read_obj(tmp_path / f"x_{name}.obj")
        s, tx, ty = hand["cam"]
        pixels = s * (verts - hand["wrist"])[:, :2] + [tx, ty]
        u, v = pixels.round().astype(int).T
        inside = (u >= 0) & (v >= 0) & (u < size[1]) & (v < size[0])
        assert inside.sum() > 300 and near[v[inside], u[inside]].all()
        assert faces.shape == (1538, 3)


def test_the_json_says_everything(predictor, hands, tmp_path):
    picture = grey(300, 400)
    export(predictor(picture), picture, hands.faces, tmp_path, "x", "some/x.png")
    found = json.loads((tmp_path / "x.json").read_text())
    expected = {"input", "meshes", "hands", "hands_found", "rel_trans", "crop", "image_size"}
    expected |= {"camera", "units", "frames", "hand_model", "weights", "joint_names", "format"}
    assert expected <= found.keys()
    assert found["hand_model"] == "stand-in hand" and found["weights"] == "fixed"
    assert found["frames"]["metric"] is False and "not metric" in found["frames"]["depth"]
    right = found["hands"]["right"]
    assert np.shape(right["mano_pose"]) == (16, 3) and np.shape(right["mano_shape"]) == (10,)
    assert np.shape(right["joints_3d"]) == (21, 3) and np.shape(right["joints_2d"]) == (21, 2)
    assert np.allclose(np.subtract(found["hands"]["left"]["wrist"], right["wrist"]), found["rel_trans"])


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((60, 80), 100, np.uint8),
        np.full((60, 80, 4), 100, np.uint8),
        np.full((60, 80), 25700, np.uint16),
        np.full((60, 80, 3), 25700, np.uint16),
    ],
    ids=["grey", "rgba", "grey16", "rgb16"],
)
def test_unusual_pictures_work(predictor, tmp_path, pixels):
    cv2.imwrite(str(tmp_path / "x.png"), pixels)
    picture = read_image(tmp_path / "x.png")
    assert picture.shape == (60, 80, 3) and picture.dtype == np.uint8
    assert np.abs(picture.astype(int) - 100).max() <= 1
    assert overlay(predictor(picture), picture, predictor.mano.faces).shape[0] > 60


def test_a_picture_of_one_pixel_is_refused(predictor):
    with pytest.raises(UserError, match="1x1 pixels"):
        predictor(grey(1, 1))


def test_weights_that_give_no_numbers_are_named(hands):
    model = Fixed(hands)
    model.pred["verts"][0, 0, 0] = torch.inf
    with pytest.raises(UserError, match="broken.pth"):
        Predictor(model, hands, "cpu", "broken.pth")(grey(64, 64))
