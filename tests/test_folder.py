"""Folders of pictures: plain ones, and RGB2Hands and EgoHands as written here with known answers."""

import cv2
import numpy as np
import pytest
import torch
from scipy.io import savemat

from common.hand.joints import LEFT, RIGHT
from common.targets import add_targets, annotated
from common.utils.errors import UserError
from data.augment import AugmentParams
from data.Folder import Folder
from tests.interhand_set import collate, cut_out, quiet


def batch_of(samples):
    """Samples with what follows from their annotation."""
    batch = collate(samples)
    return {**batch, **annotated(batch)}


def write_picture(path, width=60, height=40, grey=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((height, width, 3), grey, np.uint8))


@pytest.fixture
def plain(tmp_path):
    for name in ("img10.png", "img2.jpg", "b/1.JPEG", "a10/1.png", "a9/1.png", ".trash/1.png", "._img2.jpg"):
        write_picture(tmp_path / "pictures" / name)
    (tmp_path / "pictures" / "notes.txt").write_text("none")
    return tmp_path / "pictures"


def test_plain_folder_in_natural_order(plain, hands):
    data = Folder(plain, log=quiet)
    assert data.ids() == ["a9/1.png", "a10/1.png", "b/1.JPEG", "img2.jpg", "img10.png"]
    assert Folder(plain, limit=2, log=quiet).ids() == data.ids()[:2]
    batch = batch_of([data[index] for index in range(len(data))])
    assert batch["id"] == data.ids() and batch["hand_type"] == ["interacting"] * 5
    assert batch["box"][0].tolist() == [0, -10, 60, 60] and batch["image_size"][0].tolist() == [60, 40]
    assert torch.allclose(batch["brightness"], torch.tensor(100.0), atol=1)
    for key in batch:
        if key.endswith("_valid") and key != "hand_type_valid":
            assert not batch[key].any(), key
    assert batch["K_orig"][0].tolist() == [[60, 0, 29.5], [0, 60, 19.5], [0, 0, 1]]
    assert "silhouette" not in batch and all(
        v.isfinite().all() for v in add_targets(batch, hands).values() if torch.is_tensor(v)
    )


def test_empty_and_missing_folders_are_named(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match="folder_path"):
            Folder(path, log=quiet)


def write_rgb2hands(folder):
    """Two sequences: three annotated frames and one that is not; one table of another length."""
    root, rng = folder / "RGB2HANDS_Benchmark", np.random.default_rng(0)
    joints = {frame: rng.integers(100, 300, (42, 2)).astype(float) for frame in (2, 9, 10)}
    joints[9][21:] = 0  # the second hand is not annotated
    joints[10][5] = 0
    for frame in (10, 9, 2, 11):
        write_picture(root / "data/seq01_crossed/color" / f"{frame}_color.png", 640, 480)
    write_picture(root / "data/seq01_crossed/depth" / "2_depth.png", 640, 480)
    write_picture(root / "data/seq02_occlusion/color" / "1_color.png", 640, 480)
    for sequence, frame, rows in [("seq01_crossed", f, joints[f]) for f in joints] + [
        ("seq02_occlusion", 1, np.array([[50.0, 60], [150, 100]]))
    ]:
        path = root / "data" / sequence / "annotation/annot2D_color" / f"{frame}_color2.5D.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{x} {y} 0 1\n" for x, y in rows))
    (root / "color_intrinsics.txt").write_text("600 610 320 240\n")
    return joints


@pytest.fixture
def rgb2hands(tmp_path):
    return tmp_path, write_rgb2hands(tmp_path)


def test_rgb2hands_joints_land_in_the_crop(rgb2hands):
    lines = []
    root, joints = rgb2hands
    data = Folder(root, log=lines.append)
    assert any("assumed" in line for line in lines)
    assert [id.split("/")[-1] for id in data.ids()] == [f"{n}_color.png" for n in (2, 9, 10, 11, 1)]
    batch = batch_of([data[index] for index in range(len(data))])
    assert batch["K_orig"][0].tolist() == [[600, 0, 320], [0, 610, 240], [0, 0, 1]]
    assert batch["hand_type"] == ["interacting", "right", "interacting", "interacting", "interacting"]
    assert batch["present"][1].tolist() == [1, 0] and not batch["joints_cam_valid"].any()
    points = np.concatenate(list(joints.values()))
    points = points[points[:, 0] > 0]
    side = np.ptp(points, axis=0).max() / 0.8
    corner = (points.min(0) + points.max(0) - side) / 2
    assert np.allclose(batch["box"][:4], [*corner, side, side], atol=1e-3)
    for row, rows in enumerate(joints.values()):
        expected = ((rows - corner) * 256 / side).reshape(2, 21, 2)
        valid = (rows[:, 0] > 0).reshape(2, 21)
        assert np.array_equal(batch["joints_img_valid"][row, ..., 0], valid)
        found = batch["joints_img"][row].numpy()
        assert np.abs(found[..., :2] - expected)[valid].max() < 1e-3 and not found[..., 2].any()
        assert not found[~valid].any()
    assert batch["box"][4].tolist() == [37.5, 17.5, 125, 125]  # about 50..150, 60..100
    assert not batch["joints_img_valid"][3:].any()


def struct(rows):
    """A MATLAB struct array (1,N) from dicts."""
    array = np.empty((1, len(rows)), [(key, object) for key in rows[0]])
    for index, row in enumerate(rows):
        array[0, index] = tuple(row.values())
    return array


def rectangle(x, y, w, h):
    return np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]], float)


def write_egohands(folder):
    """Four frames: both hands, the left one, neither, and one without its picture."""
    none, my, other = np.zeros((0, 0)), rectangle(300, 300, 80, 100), rectangle(500, 250, 120, 60)
    hands = [(12, other, my), (7, my, none), (8, none, none), (9, my, none)]  # frame, left, right; 9: no file
    for frame in (12, 7, 8):
        write_picture(
            folder / "egohands_data/_LABELLED_SAMPLES/CARDS_A" / f"frame_{frame:04d}.jpg", 1280, 720
        )
    keys = ("frame_num", "myleft", "myright", "yourleft", "yourright")
    frames = [dict(zip(keys, (n, left, right, other, none), strict=True)) for n, left, right in hands]
    videos = [{"video_id": "CARDS_A", "labelled_frames": struct(frames)}]
    savemat(folder / "egohands_data" / "metadata.mat", {"video": struct(videos)})


@pytest.fixture
def egohands(tmp_path):
    write_egohands(tmp_path)
    return tmp_path


def test_egohands_outlines_become_silhouettes(egohands):
    lines = []
    data = Folder(egohands, log=lines.append)
    assert [id[-14:] for id in data.ids()] == ["frame_0007.jpg", "frame_0012.jpg"]
    assert any("2 left out" in line for line in lines)
    batch = batch_of([data[0], data[1]])
    assert batch["hand_type"] == ["left", "interacting"]
    assert batch["silhouette_valid"].tolist() == [[0, 1], [1, 1]]
    assert batch["box"][0].tolist() == [277.5, 287.5, 125, 125]  # 100 x 1.25 about (340, 350)
    assert batch["box"][1].tolist() == [260, 125, 400, 400]  # 320 x 1.25 about (460, 325)
    zoom = 256 / 400
    areas = batch["silhouette"].sum((-1, -2))
    assert abs(areas[1, RIGHT] - 80 * 100 * zoom**2) < 180 * 2 * zoom
    assert abs(areas[1, LEFT] - 120 * 60 * zoom**2) < 180 * 2 * zoom
    assert abs(areas[0, LEFT] - 80 * 100 * (256 / 125) ** 2) < 180 * 2 * 256 / 125 and areas[0, RIGHT] == 0
    rows, columns = batch["silhouette"][1, RIGHT].nonzero().unbind(-1)
    middle = torch.stack((columns, rows)).float().mean(1)
    assert torch.allclose(middle, torch.tensor([340 - 260, 350 - 125]) * zoom, atol=1)


def test_mirror_moves_outlines_and_pixels(egohands, rgb2hands):
    """rgb2hands lies in the same folder and is found first; EgoHands is asked for by its own."""
    for data, key in (
        (Folder(egohands / "egohands_data", log=quiet), "silhouette"),
        (Folder(rgb2hands[0], log=quiet), "joints_img"),
    ):
        sides = [cut_out([data.record(1)], AugmentParams(mirror=mirror)) for mirror in (False, True)]
        both = batch_of([{key: rows[0] for key, rows in side.items()} for side in sides])
        plain, flipped = ({k: v[row] for k, v in both.items()} for row in (0, 1))
        if key == "silhouette":
            expected = plain[key].flip(0, -1)
            assert (expected != flipped[key]).float().mean() < 0.005  # borders round
        else:
            shown = plain["joints_img_valid"].flip(0)
            expected = plain[key].flip(0)
            expected[..., 0] = 255 - expected[..., 0]
            torch.testing.assert_close(flipped[key], expected * shown, atol=1e-3, rtol=0)


def test_damaged_labels_are_named(egohands, rgb2hands):
    (egohands / "egohands_data" / "metadata.mat").write_bytes(b"not MATLAB")
    with pytest.raises(UserError, match="metadata.mat"):
        Folder(egohands / "egohands_data", log=quiet)
    (rgb2hands[0] / "RGB2HANDS_Benchmark" / "color_intrinsics.txt").write_text("600 610\n")
    with pytest.raises(UserError, match="color_intrinsics"):
        Folder(rgb2hands[0], log=quiet)
