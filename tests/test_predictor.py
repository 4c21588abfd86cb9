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
from main.predictor import Predictor
from main.result.export import save
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
    assert np.allclose(result.joints_2d_heatmap, predictor.model.pred["joints_img"][0, ..., :2], atol=1e-4)
    assert np.allclose(result.cam_in_picture, result.cam)


def test_a_box_is_squared_and_never_enlarged(predictor):
    result = predictor(grey(400, 600), (100, 50, 200, 100))
    assert result.box.tolist() == [100, 0, 200, 200]
    # u' = (u - x) 256 / w
    crop = predictor.model.pred["joints_img"][0, ..., :2].numpy()
    assert np.allclose(result.joints_2d_heatmap, crop * 200 / 256 + [100, 0], atol=1e-3)


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
    assert np.allclose(verts[0], result.verts_rough, atol=1e-5)


def test_the_parameters_make_the_rough_mesh_and_the_json_says_so(predictor, hands, tmp_path):
    predictor.model.pred["verts"] = predictor.model.pred["verts"] + torch.tensor([0.003, 0.0, 0.004])
    picture = grey(256, 256)
    paths = save(predictor(picture), tmp_path, "x", "x.png")
    said = json.loads((tmp_path / "x.json").read_text())
    assert "make the rough mesh" in said["mano_parameters"] and said["format"] == "two-hands/3"
    pose, shape = (
        torch.tensor([[said["hands"][name][key] for name in ("right", "left")]])
        for key in ("mano_pose", "mano_shape")
    )
    verts, joints = hands(pose, shape)
    for i, name in enumerate(("right", "left")):
        hand = said["hands"][name]
        expected = (verts[0, i] - joints[0, i, :1]).numpy() + hand["wrist"]
        rough, _ = read_obj(tmp_path / said["meshes_rough"][name])
        final, _ = read_obj(tmp_path / said["meshes"][name])
        assert np.allclose(rough, expected, atol=1e-5)
        assert np.allclose(final - rough, [0.003, 0, 0.004], atol=1e-6)
        assert hand["refinement"] == pytest.approx(0.005, rel=1e-3)
        assert tmp_path / said["meshes_rough"][name] in paths


def test_a_network_with_one_mesh_exports_one(predictor, hands, tmp_path):
    picture = grey(256, 256)
    save(predictor(picture), tmp_path, "x", "x.png")
    for key in ("verts_rough", "joints_rough"):
        del predictor.model.pred[key]
    result = predictor(picture)
    assert result.verts_rough is None and result.joints_rough is None
    save(result, tmp_path, "x", "x.png")
    said = json.loads((tmp_path / "x.json").read_text())
    assert "make the mesh itself" in said["mano_parameters"]
    assert said["meshes_rough"] == {"right": None, "left": None}
    assert said["hands"]["right"]["joints_3d_rough"] is None and said["hands"]["left"]["refinement"] is None
    assert not list(tmp_path.glob("*_rough.obj"))  # of the first export


@pytest.mark.parametrize("bbox", [None, (90, 60, 300, 260)])
def test_pixels_of_the_mesh_and_of_the_heat_maps(predictor, hands, tmp_path, bbox):
    picture = grey(480, 640)
    result = predictor(picture, bbox)
    save(result, tmp_path, "x", "x.png")
    said = json.loads((tmp_path / "x.json").read_text())
    assert said["joints"].keys() == {"joints_3d", "joints_3d_rough", "joints_2d", "joints_2d_heatmap"}
    for i, name in enumerate(("right", "left")):
        hand = said["hands"][name]
        camera = said["camera"]
        expected = [
            [camera["fx"] * x / z + camera["cx"], camera["fy"] * y / z + camera["cy"]]
            for x, y, z in hand["joints_3d"]
        ]
        assert np.allclose(hand["joints_2d"], expected, atol=1e-2)
        assert np.allclose(hand["joints_2d"], result.joints_2d[i])
        assert np.allclose(hand["joints_2d_heatmap"], result.joints_2d_heatmap[i])
        assert np.abs(np.subtract(hand["joints_2d"], hand["joints_2d_heatmap"])).max() > 5


@pytest.mark.parametrize("hand", [0, 1])
def test_a_lone_hand_has_its_own_origin(hands, tmp_path, hand):
    logits = [-3.0, -3.0]
    logits[hand] = 3.0
    predictor = Predictor(Fixed(hands, logits), hands, "cpu", "fixed")
    result = predictor(grey(256, 256))
    assert result.rel_trans is None and np.abs(result.joints[hand, 0]).max() < 1e-6
    name, other = (("right", "left"), ("left", "right"))[hand]
    (tmp_path / f"x_{other}.obj").write_text("of an earlier run")
    save(result, tmp_path, "x", "x.png")
    found = json.loads((tmp_path / "x.json").read_text())
    assert found["rel_trans"] is None and found["hands_present"] == [name]
    assert found["hands"][other]["joints_3d"] is None
    names = {path.name for path in tmp_path.iterdir()}
    meshes = {f"x_{name}.obj", f"x_{name}_rough.obj", "x.ply", "x.glb"}
    assert names == {"x_overlay.png", "x_skeleton.png", "x_views.png", "x.npz", "x.json"} | meshes


def test_no_hand_draws_nothing(hands, tmp_path):
    result = Predictor(Fixed(hands, (-3.0, -3.0)), hands, "cpu")(grey(256, 256))
    (tmp_path / "x.glb").write_text("of an earlier run")
    save(result, tmp_path, "x", "x.png")
    assert {path.name for path in tmp_path.iterdir()} == {"x_overlay.png", "x.json"}
    assert (read_image(tmp_path / "x_overlay.png")[:256] == 100).all()
    assert json.loads((tmp_path / "x.json").read_text())["hands_present"] == []


@pytest.mark.parametrize(
    "size,bbox", [((256, 256), None), ((333, 512), None), ((480, 640), (90, 60, 300, 260))]
)
def test_exported_meshes_reprojected_lie_in_the_overlay(predictor, hands, tmp_path, size, bbox):
    picture = grey(*size)
    save(predictor(picture, bbox), tmp_path, "x", "x.png")
    drawn = read_image(tmp_path / "x_overlay.png")[: size[0], : size[1]]
    silhouette = (drawn != 100).any(-1)
    near = cv2.dilate(silhouette.astype(np.uint8), np.ones((3, 3))) > 0
    found = json.loads((tmp_path / "x.json").read_text())
    K = found["camera"]
    for name in ("right", "left"):
        verts, faces = read_obj(tmp_path / f"x_{name}.obj")
        pixels = verts[:, :2] / verts[:, 2:] * [K["fx"], K["fy"]] + [K["cx"], K["cy"]]
        u, v = pixels.round().astype(int).T
        inside = (u >= 0) & (v >= 0) & (u < size[1]) & (v < size[0])
        assert inside.sum() > 300 and near[v[inside], u[inside]].all()
        assert faces.shape == (1538, 3)


def test_the_json_says_everything(predictor, hands, tmp_path):
    picture = grey(300, 400)
    save(predictor(picture), tmp_path, "x", "some/x.png")
    found = json.loads((tmp_path / "x.json").read_text())
    expected = {"input", "meshes", "hands", "hands_present", "rel_trans", "crop", "image_size"}
    expected |= {"camera", "units", "frames", "hand_model", "weights", "joint_names", "format"}
    assert expected <= found.keys()
    assert found["hand_model"] == "stand-in hand" and found["weights"] == "fixed"
    assert found["frames"]["metric"] is False and "not metric" in found["frames"]["depth"]
    right = found["hands"]["right"]
    assert np.shape(right["mano_pose"]) == (16, 3) and np.shape(right["mano_shape"]) == (10,)
    assert np.shape(right["joints_3d"]) == np.shape(right["joints_3d_rough"]) == (21, 3)
    assert np.shape(right["joints_2d"]) == np.shape(right["joints_2d_heatmap"]) == (21, 2)
    depth = np.subtract(found["hands"]["left"]["wrist"], right["wrist"])[2]
    assert depth == pytest.approx(found["rel_trans"][2], abs=1e-6)


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
    assert predictor(picture).overlay().shape[0] > 60


def test_a_picture_of_one_pixel_is_refused(predictor):
    with pytest.raises(UserError, match="1x1 pixels"):
        predictor(grey(1, 1))


def test_weights_that_give_no_numbers_are_named(hands):
    model = Fixed(hands)
    model.pred["verts"][0, 0, 0] = torch.inf
    with pytest.raises(UserError, match="broken.pth"):
        Predictor(model, hands, "cpu", "broken.pth")(grey(64, 64))


# ---- what a caller may hand over ----

RGB = np.random.default_rng(3).integers(0, 256, (40, 60, 3), np.uint8)
ALPHA = np.full((40, 60, 1), 7, np.uint8)
FORMS = {
    "rgba": np.concatenate([RGB, ALPHA], -1),
    "float": RGB.astype(np.float32) / 255,
    "double": RGB / 255,
    "channels first": RGB.transpose(2, 0, 1),
    "tensor": torch.from_numpy(RGB),
    "float tensor, channels first": torch.from_numpy(RGB.copy()).permute(2, 0, 1) / 255,
    "not contiguous": np.ascontiguousarray(RGB[:, ::-1])[:, ::-1],
}


@pytest.mark.parametrize("form", FORMS)
def test_one_picture_in_any_form_is_one_picture(predictor, form):
    predictor(RGB)
    expected = predictor.model.seen
    result = predictor(FORMS[form])
    assert torch.equal(predictor.model.seen, expected) and result.image_size == (60, 40)


def test_a_path_is_a_picture(predictor, tmp_path):
    predictor(RGB)
    expected = predictor.model.seen
    cv2.imwrite(str(tmp_path / "x.png"), RGB[..., ::-1])  # OpenCV's order is BGR
    for path in (tmp_path / "x.png", str(tmp_path / "x.png")):
        predictor(path)
        assert torch.equal(predictor.model.seen, expected)


@pytest.mark.parametrize("shape", [(40, 60), (40, 60, 1), (1, 40, 60)])
def test_grey_is_three_times_the_same(predictor, shape):
    predictor(np.repeat(RGB[..., :1], 3, -1))
    expected = predictor.model.seen
    predictor(RGB[..., 0].reshape(shape))
    assert torch.equal(predictor.model.seen, expected)


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("floats that are not all from 0 to 1", RGB.astype(np.float32)),
        ("floats that are not all from 0 to 1", np.full((40, 60, 3), np.nan)),
        ("floats that are not all from 0 to 1", RGB / 127.5 - 1),
        ("values of type int64", RGB.astype(np.int64)),
        ("values of type uint16", RGB.astype(np.uint16)),
        ("values of type bool", RGB > 100),
        (r"shape \(1, 3, 40, 60\); .* one at a time", torch.zeros(1, 3, 40, 60)),
        (r"shape \(40, 60, 2\)", RGB[..., :2]),
        (r"shape \(3,\)", np.zeros(3)),
        ("no picture: NoneType", None),
        ("no picture: list", [[0]]),
        ("0x0 pixels", np.zeros((0, 0, 3), np.uint8)),
        ("cannot read the picture nowhere.png", "nowhere.png"),
    ],
)
def test_what_is_no_picture_costs_a_sentence(predictor, words, value):
    with pytest.raises(UserError, match=words) as told:
        predictor(value)
    assert "\n" not in str(told.value)


def test_a_box_of_three_numbers(predictor):
    with pytest.raises(UserError, match="bbox has 3 numbers"):
        predictor(RGB, (1, 2, 3))


# ---- several pictures at once ----


class Reads(nn.Module):
    """Predicts hands that are shifted by how bright the picture is."""

    def __init__(self, hands):
        super().__init__()
        self.pred = perfect(hands, make_batch(hands, 1))
        self.pred["cam"] = torch.full((1, 2, 3), 500.0)
        self.calls = 0

    def forward(self, img):
        self.calls += 1
        bright = img.mean((1, 2, 3))
        return {key: value[0] + bright.view(-1, *[1] * (value.dim() - 1)) for key, value in self.pred.items()}


def test_a_batch_is_its_pictures_in_one_forward(hands):
    network = Reads(hands)
    predictor = Predictor(network, hands, "cpu")
    pictures = [RGB, grey(300, 200), RGB[:, ::-1] // 2]
    boxes = [None, (10, 20, 100, 50), (5, 5, 30, 30)]
    results = predictor.batch(pictures, boxes)
    assert network.calls == 1
    for result, picture, box in zip(results, pictures, boxes, strict=True):
        alone = predictor(picture, box)
        assert result.image_size == (picture.shape[1], picture.shape[0])
        for name, value in vars(alone).items():
            if isinstance(value, np.ndarray):
                assert np.allclose(getattr(result, name), value, atol=1e-6), name
    assert len(predictor.batch(pictures)) == 3 and predictor.batch([]) == []


def test_a_batch_with_too_few_boxes(predictor):
    with pytest.raises(UserError, match="1 boxes for 2 pictures"):
        predictor.batch([RGB, RGB], [None])
