"""What is exported, read back by other libraries, and one camera for all of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import jsonschema
import numpy as np
import pytest
import torch
import trimesh

from common.hand.mano import load_mano
from common.utils.camera import Camera
from common.utils.errors import UserError
from common.utils.image import read_image
from main import cli
from main.predictor import Predictor
from tests.obj_file import read_obj
from tests.test_predictor import Fixed, grey

SCHEMA = json.loads((cli.ROOT / "main" / "result" / "two_hands.schema.json").read_text())
LOGITS = {"both": (4.0, 4.0), "right": (4.0, -4.0), "left": (-4.0, 4.0), "none": (-4.0, -4.0)}


@pytest.fixture(scope="module")
def hands():
    return load_mano()


def predict(hands, who="both", camera=None, size=(300, 400)):
    torch.manual_seed(0)
    return Predictor(Fixed(hands, LOGITS[who]), hands, "cpu", "fixed")(grey(*size), camera=camera)


@pytest.fixture
def saved(hands, tmp_path):
    result = predict(hands)
    return result, result.save(tmp_path, "x"), tmp_path


def covered(points, faces, size):
    """Mask (H,W): pixel centres inside some triangle, by the signs of three half planes."""
    mask = np.zeros(size, bool)
    for corners in points[faces]:
        left, top = np.maximum(np.ceil(corners.min(0)).astype(int), 0)
        right, bottom = np.minimum(np.floor(corners.max(0)).astype(int) + 1, size[::-1])
        if left >= right or top >= bottom:
            continue
        v, u = np.mgrid[top:bottom, left:right]
        signs = []
        for a, b in zip(corners, np.roll(corners, -1, 0), strict=True):
            signs.append((b[0] - a[0]) * (v - a[1]) - (b[1] - a[1]) * (u - a[0]))
        signs = np.stack(signs)
        mask[top:bottom, left:right] |= (signs > 0).all(0) | (signs < 0).all(0)
    return mask


@pytest.mark.parametrize("K", [None, (700.0, 650.0, 180.0, 160.0)])
def test_exported_vertices_under_the_exported_camera_are_the_overlay(hands, tmp_path, K):
    camera = None if K is None else Camera(*K, source="given")
    predict(hands, camera=camera).save(tmp_path, "x")
    said = json.loads((tmp_path / "x.json").read_text())
    K = said["camera"]
    assert said["frames"]["metric"] == K["metric"] == (camera is not None)
    expected = np.zeros((300, 400), bool)
    for name in ("right", "left"):
        verts, faces = read_obj(tmp_path / said["meshes"][name])
        pixels = verts[:, :2] / verts[:, 2:] * [K["fx"], K["fy"]] + [K["cx"], K["cy"]]
        expected |= covered(pixels, faces, (300, 400))
    drawn = (read_image(tmp_path / "x_overlay.png")[:300] != 100).any(-1)
    box = cv2.rectangle(np.zeros((300, 400), np.uint8), (0, -50), (399, 349), 1, 3) > 0  # the crop's outline
    wrong = (expected != drawn) & ~box
    outline = expected ^ (cv2.erode(expected.astype(np.uint8), np.ones((3, 3))) > 0)
    # moved by half a pixel, about half of the outline would be wrong
    assert expected.sum() > 5000 and wrong.sum() < 0.02 * outline.sum()


def test_glb_and_ply_read_by_trimesh(saved):
    result, _, folder = saved
    scene = trimesh.load(folder / "x.glb")
    assert set(scene.geometry) == {"right hand", "left hand"}
    turned = scene.to_geometry() if hasattr(scene, "to_geometry") else scene.dump(concatenate=True)
    ply = trimesh.load(folder / "x.ply", process=False)
    assert np.allclose(ply.vertices, result.verts_cam.reshape(-1, 3), atol=1e-6)
    assert len(ply.faces) == 2 * 1538 and ply.faces.max() == 2 * 778 - 1
    # glTF: y up, looking along -z
    flip = np.array([1, -1, -1])
    assert np.allclose(np.sort(turned.vertices, 0), np.sort(ply.vertices * flip, 0), atol=1e-6)
    assert turned.vertices[:, 2].max() < 0
    for i, name in enumerate(("right hand", "left hand")):
        found = scene.geometry[name]
        assert np.allclose(found.vertices, result.verts_cam[i], atol=1e-6)
        assert found.volume > 1e-5 or found.volume < -1e-5
    colors = np.unique(ply.visual.vertex_colors[:, :3], axis=0)
    assert len(colors) == 2


def test_npz_has_what_the_json_has(saved):
    result, _, folder = saved
    said = json.loads((folder / "x.json").read_text())
    with np.load(folder / "x.npz") as file:
        for i, name in enumerate(("right", "left")):
            hand = said["hands"][name]
            for key in ("joints_3d", "joints_2d", "mano_pose", "mano_shape", "wrist_pose"):
                assert np.allclose(file[key][i], hand[key], atol=1e-5), key
            assert np.allclose(file["verts"][i], read_obj(folder / f"x_{name}.obj")[0], atol=1e-6)
        assert np.allclose(file["K"][:2, 2], [said["camera"]["cx"], said["camera"]["cy"]])
        assert file["faces"].shape == (2, 1538, 3)


@pytest.mark.parametrize("who", LOGITS)
def test_the_json_obeys_its_schema(hands, tmp_path, who):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    result = predict(hands, who)
    jsonschema.validate(result.to_dict(), SCHEMA)
    result.save(tmp_path, "x")
    said = json.loads((tmp_path / "x.json").read_text())
    jsonschema.validate(said, SCHEMA)
    count = {"both": 2, "none": 0}.get(who, 1)
    assert len(list(tmp_path.glob("x_*[tk].obj"))) == count  # right, left
    assert (tmp_path / "x.glb").exists() == (count > 0)


def test_the_schema_can_say_no(hands):
    said = predict(hands).to_dict()
    said["hands"]["left"]["joints_3d"] = said["hands"]["left"]["joints_3d"][:20]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(said, SCHEMA)


def test_wrist_poses_carry_the_rough_hand_to_the_camera(hands):
    result = predict(hands)
    pose = torch.from_numpy(result.pose)[None].clone()  # its wrist is replaced by the exported 4x4
    pose[:, :, 0] = 0
    verts, joints = hands(pose, torch.from_numpy(result.shape)[None])
    at_rest = (verts - joints[:, :, :1])[0].numpy()
    for i in range(2):
        turned = at_rest[i] @ result.wrist_poses[i, :3, :3].T + result.wrist_poses[i, :3, 3]
        assert np.allclose(turned, result.in_camera(result.verts_rough)[i], atol=1e-5)


def test_a_hand_beside_the_middle_is_drawn_where_its_weak_camera_saw_it(hands):
    predictor = Predictor(Fixed(hands), hands, "cpu")
    result = predictor(grey(1080, 1920), (1500, 100, 300, 300), camera=Camera(1500, 1500, 960, 540, "given"))
    cam = result.cam_in_picture
    weak = cam[:, None, :1] * (result.joints - result.wrists[:, None])[..., :2] + cam[:, None, 1:]
    error = np.linalg.norm(result.joints_2d - weak, axis=-1)
    assert error.mean() < 0.02 * 300  # without the turn it is 0.1 of the crop
    rotation = result.turn
    assert np.degrees(np.arccos(rotation[2, 2])) > 20
    verts, joints = hands(torch.from_numpy(result.pose_cam)[None], torch.from_numpy(result.shape)[None])
    rough = (verts - joints[:, :, :1])[0].numpy() + result.wrists_cam[:, None]
    assert np.allclose(rough, result.in_camera(result.verts_rough), atol=1e-5)


def test_a_full_disk_leaves_nothing_half_written(hands, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="cannot write .*x_overlay.png: No space left") as told:
        predict(hands).save(tmp_path, "x")
    assert "\n" not in str(told.value) and not list(tmp_path.iterdir())


def test_kinds(hands, tmp_path):
    paths = predict(hands).save(tmp_path, "x", ["glb", "json"])
    assert {path.name for path in paths} == {"x.glb", "x.json"} == {p.name for p in tmp_path.iterdir()}
    with pytest.raises(UserError, match="cannot save stl"):
        predict(hands).save(tmp_path, "x", ["stl"])


def test_the_example_program(tmp_path):
    command = [sys.executable, cli.ROOT / "examples" / "two_hands.py", cli.ROOT / "main" / "example.png"]
    done = subprocess.run([*command, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "right wrist at" in done.stdout and Path(tmp_path / "hands.glb").is_file()
