"""Drawing and mesh files: what is drawn lies where it belongs."""

import json

import numpy as np
import pytest
import torch

from common.hand.joints import BONES
from common.hand.mano import load_mano
from common.show import vis
from common.show.figures import comparison, prediction_overlay
from common.utils.errors import UserError
from common.utils.files import LinesWriter, write_json, write_obj, write_picture
from common.utils.image import read_image
from tests.obj_file import read_obj
from tests.two_hands import make_batch, perfect


@pytest.fixture(scope="module")
def hands():
    return load_mano()


def square(left, top, side, depth):
    """A flat square as one mesh: points (1,4,3) and faces (1,2,3)."""
    corners = [[0, 0], [1, 0], [1, 1], [0, 1]]
    points = [[left + side * u, top + side * v, depth] for u, v in corners]
    return torch.tensor([points]), torch.tensor([[[0, 1, 2], [0, 2, 3]]])


def test_a_mesh_covers_its_pixels_and_nothing_else():
    points, faces = square(10.0, 20.0, 8.0, 0.0)
    grey = np.full((64, 48, 3), 100, np.uint8)
    drawn = vis.draw_meshes(grey, points, points, faces, torch.tensor([[1.0, 0, 0]]), alpha=1.0)
    rows, columns = np.nonzero((drawn != 100).any(-1))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 28, 10, 18)
    assert len(rows) == 81 and (grey == 100).all()


@pytest.mark.parametrize("nearer", [0, 1])
def test_the_nearer_mesh_is_on_top(nearer):
    depths = [0.1, 0.1]
    depths[nearer] = -0.2
    points, faces = zip(*(square(5.0, 5.0, 20.0, depth) for depth in depths), strict=True)
    colors = torch.tensor([[1.0, 0, 0], [0, 0, 1.0]])
    black = np.zeros((32, 32, 3), np.uint8)
    points, faces = torch.cat(points), torch.cat(faces)
    drawn = vis.draw_meshes(black, points, points, faces, colors, alpha=1.0)
    assert drawn[15, 15].argmax() == (0 if nearer == 0 else 2)


def test_a_mesh_over_the_border_or_outside():
    black = np.zeros((32, 32, 3), np.uint8)
    color = torch.ones(1, 3)
    points, faces = square(-10.0, -10.0, 20.0, 0.0)
    drawn = vis.draw_meshes(black, points, points, faces, color)
    assert drawn[:11, :11].any(-1).all() and not drawn[11:].any()
    for left in (40.0, -60.0, float("nan")):
        points, faces = square(left, 0.0, 20.0, 0.0)
        assert not vis.draw_meshes(black, points, points, faces, color).any()


def test_hands_are_ordered_by_the_translation_between_them(hands):
    pred = perfect(hands, make_batch(hands, 1))
    pred["cam"] = torch.tensor([[[600.0, 128, 128], [600.0, 128, 128]]])
    black = np.zeros((256, 256, 3), np.uint8)

    def draw(depth, present):
        changed = {"rel_trans": torch.tensor([[0.0, 0, depth]]), "present": torch.tensor([present])}
        return prediction_overlay(black, {**pred, **changed}, 0, hands.faces).astype(int)

    left = draw(0.0, [-1.0, 1.0])
    covered = left.any(-1)
    assert (draw(-0.5, [1.0, 1.0])[covered] == left[covered]).all()
    assert (draw(0.5, [1.0, 1.0])[covered] != left[covered]).any()


def test_skeletons_skip_what_is_not_there():
    picture = np.zeros((64, 64, 3), np.uint8)
    joints = np.full((21, 2), 32.0)
    joints[3] = np.nan
    assert vis.draw_skeleton(picture, joints, BONES, (1, 0, 0)).any()
    assert not vis.draw_skeleton(picture, joints, BONES, (1, 0, 0), np.zeros(21)).any()


def test_a_caption_moves_no_pixel():
    picture = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    captioned = vis.caption(picture, "prediction")
    assert (captioned[:300, :400] == picture).all() and captioned[300:].any()
    assert vis.caption(picture[:1, :1], "x" * 500).shape == (23, 256, 3)


def test_panels(hands):
    batch = make_batch(hands, 2)
    batch["img"] = torch.rand(2, 3, 256, 256)
    batch["pose_valid"][1, 1] = 0
    batch["mano_root_cam"] = batch["mano_root_cam"].clone()
    batch["mano_root_cam"][1, 1] = 0
    panel = comparison(perfect(hands, batch), batch, hands.faces)
    assert panel.shape == (2 * (256 + 22) + 4, 3 * 256 + 8, 3)


def test_obj_round_trip(hands, tmp_path):
    verts, faces = hands.template[0].numpy(), hands.faces[0].numpy()
    write_obj(tmp_path / "a" / "hand.obj", verts, faces, ("metres",))
    found_verts, found_faces = read_obj(tmp_path / "a" / "hand.obj")
    assert np.abs(found_verts - verts).max() <= 1e-7 and (found_faces == faces).all()
    assert not list(tmp_path.rglob("*.partial"))


def test_picture_round_trip(tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (9, 12, 3), np.uint8)
    write_picture(tmp_path / "a.png", picture)
    assert (read_image(tmp_path / "a.png") == picture).all()


def test_json_is_strict_and_a_bad_place_is_a_user_error(tmp_path):
    write_json(tmp_path / "a.json", {"x": None})
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": None}
    with pytest.raises(UserError, match="cannot write"):
        write_json(tmp_path / "a.json" / "b.json", {})


def test_lines_appear_when_they_are_whole(tmp_path):
    with LinesWriter(tmp_path / "a" / "x.jsonl") as lines:
        lines.write("1")
        lines.write("2")
        assert not (tmp_path / "a" / "x.jsonl").exists()
    assert (tmp_path / "a" / "x.jsonl").read_text() == "1\n2\n"
    with pytest.raises(ZeroDivisionError), LinesWriter(tmp_path / "a" / "x.jsonl") as lines:
        lines.write("3")
        raise ZeroDivisionError
    assert (tmp_path / "a" / "x.jsonl").read_text() == "1\n2\n" and len(list(tmp_path.rglob("*.*"))) == 1
    with pytest.raises(UserError, match="cannot write"), LinesWriter(tmp_path / "a" / "x.jsonl" / "y"):
        pass


def test_a_box_is_an_outline():
    drawn = vis.draw_box(np.zeros((40, 50, 3), np.uint8), np.array([10.0, 5, 20, 30]))
    rows, columns = np.nonzero(drawn.any(-1))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (5, 34, 10, 29)
    assert not drawn[6:34, 11:29].any()
    assert not vis.draw_box(np.zeros((40, 50, 3), np.uint8), np.array([-1e9, -1e9, 2e9, 2e9])).any()
