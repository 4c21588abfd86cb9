"""HIC: a tiny set written here from the stand-in hand, its meshes by trimesh, its fits by pickle."""

import json
import pickle

import cv2
import numpy as np
import pytest
import torch
import trimesh

from common.hand.joints import JOINT_NAMES, LEFT, RIGHT
from common.targets import add_targets
from common.utils.errors import UserError
from data import augment
from data.augment import AugmentParams
from data.HIC import HIC
from data.HIC.files import read_ply
from tests.interhand_set import collate, cut_out, quiet

F, CX, CY = 525, 319.5, 239.5
# what each annotation has: hands with a mesh, its type, what is missing on disk
ROWS = [
    ((1, 1), "interacting", ""),
    ((1, 0), "right", ""),
    ((1, 0), "interacting", ""),
    ((0, 1), "left", ""),
    ((1, 1), "interacting", "rgb"),
    ((1, 1), "interacting", "pkl"),
    ((0, 0), "interacting", ""),
]
KEPT = 4


def posed(hands, seed, components=False):
    """Numbers of a fit per hand, and the meshes (2,778,3) they give in the camera."""
    rng = np.random.default_rng(seed)
    numbers = 0.3 * rng.standard_normal((2, 48))
    pose = numbers.copy()
    if components:
        pose[:, 3:] = np.einsum("hc,hcd->hd", numbers[:, 3:], hands.components.numpy())
    shape = 0.5 * rng.standard_normal((2, 10))
    trans = np.array([[-0.12, 0.0, 0.6], [0.12, 0.02, 0.65]]) + 0.02 * rng.standard_normal((2, 3))
    verts = hands(torch.tensor(pose).float().view(1, 2, 16, 3), torch.tensor(shape).float()[None])[0][0]
    return numbers, shape, trans, verts.numpy() + trans[:, None]


def picture(verts, there, faces):
    """(480,640,3) with the hands that are there filled white, by each triangle's own pixels."""
    image = np.full((480, 640, 3), 20, np.uint8)
    for side in np.flatnonzero(there):
        pixels = verts[side, :, :2] / verts[side, :, 2:] * F + (CX, CY)
        for face in faces[side]:
            cv2.fillConvexPoly(image, np.rint(16 * pixels[face]).astype(np.int32), (255, 255, 255), shift=4)
    return image


def write_fit(path, pose, shape, trans, verts):
    content = {"pose": pose, "betas": shape, "trans": trans, "v": verts, "ncomps": np.int64(45)}
    path.write_bytes(pickle.dumps(content | {"model_name": "MANO"}, protocol=2))


def write_set(root, hands, components=False):
    """The files of ROWS; returns the true meshes of the rows that are complete."""
    folder = root / "data" / "HIC" / "data"
    (folder / "01/1/rgb").mkdir(parents=True)
    content, truth = {"images": [], "annotations": []}, []
    for row, (there, hand_type, missing) in enumerate(ROWS):
        *numbers, verts = posed(hands, row, components)
        paths = [f"fits/{row:03d}_{'RL'[side]}.ply" if there[side] else None for side in (RIGHT, LEFT)]
        for side in np.flatnonzero(there):
            mesh = trimesh.Trimesh(verts[side], hands.faces[side].numpy(), process=False)
            (folder / "fits").mkdir(exist_ok=True)
            encoding = ("ascii", "binary")[row % 2]
            (folder / paths[side]).write_bytes(mesh.export(file_type="ply", encoding=encoding))
            if missing != "pkl":
                fit = (folder / paths[side]).with_suffix(".pkl")
                write_fit(fit, *(values[side] for values in numbers), verts[side])
        name = f"01/1/rgb/{row:03d}.png"
        if missing != "rgb":
            cv2.imwrite(str(folder / name), picture(verts, there, hands.faces.numpy()))
        image = {"id": 50 - row, "file_name": name, "width": 640, "height": 480, "seq_name": "01"}
        content["images"].insert(0, image)  # another order than that of the annotations
        annotation = {"id": row, "image_id": 50 - row, "hand_type": hand_type, "bbox": [0, 0, 1, 1]}
        content["annotations"].append(
            annotation | {"right_mano_path": paths[RIGHT], "left_mano_path": paths[LEFT]}
        )
        truth.append(verts * np.array(there)[:, None, None])
    (folder / "HIC.json").write_text(json.dumps(content))
    return np.stack(truth[:KEPT])


@pytest.fixture(scope="module")
def made(tmp_path_factory, hands):
    root = tmp_path_factory.mktemp("hic")
    return root, write_set(root, hands)


@pytest.fixture(scope="module")
def batch(made, hands):
    data = HIC(hands, made[0], log=quiet)
    return add_targets(collate([data[index] for index in range(len(data))]), hands)


def test_counts_and_where_it_is_found(made, hands):
    lines = []
    root, _ = made
    data = HIC(hands, root, log=lines.append)
    assert (
        data.ids() == [f"01/1/rgb/{row:03d}" for row in range(KEPT)] == [data[i]["id"] for i in range(KEPT)]
    )
    assert any("4 (3 left out)" in line for line in lines)
    assert any("3 right and 2 left" in line for line in lines)
    assert any("axis-angle" in line for line in lines) and any("stand-in hand" in line for line in lines)
    for above in ("data", "data/HIC", "data/HIC/data"):
        assert len(HIC(hands, root / above, limit=2, log=quiet)) == 2
    with pytest.raises(UserError, match=r"HIC\.json"):
        HIC(hands, root / "data/HIC/data/fits", log=quiet)


def test_true_meshes_come_back_in_the_camera(made, batch, hands):
    there = torch.tensor([row[0] for row in ROWS[:KEPT]]).float()
    assert torch.equal(batch["pose_valid"].flatten(1), there)
    found = batch["verts_cam"] + batch["mano_root_cam"][:, :, None]
    truth = torch.from_numpy(made[1]).float()
    torch.testing.assert_close(found, truth, atol=2e-7, rtol=0)  # float32 at 0.6 m
    tip = JOINT_NAMES.index("middle4")
    joints = batch["joints_cam"] + batch["root_cam"][:, :, None]
    torch.testing.assert_close(joints[:, :, tip], truth[:, :, 445], atol=2e-7, rtol=0)
    torch.testing.assert_close(batch["mano_root_cam"], batch["root_cam"], atol=2e-7, rtol=0)
    assert torch.equal(batch["joints_seen"], batch["joints_cam_valid"])


def test_rotations_are_those_of_the_fits(batch, hands):
    pose = torch.from_numpy(np.stack([posed(hands, row)[0] for row in range(KEPT)])).float()
    valid = batch["pose_valid"].flatten(1) > 0
    expected = hands.rotations(pose.view(KEPT, 2, 16, 3))
    torch.testing.assert_close(batch["rotmat"][valid], expected[valid], atol=1e-5, rtol=0)


def test_one_hand_has_no_translation_between_hands(batch):
    assert batch["hand_type"] == ["interacting", "right", "interacting", "left"]
    assert batch["rel_trans_valid"].flatten().tolist() == [1, 0, 0, 0]
    assert batch["present"].tolist() == [[1, 1], [1, 0], [1, 1], [0, 1]]
    assert all(batch["human_annotated"])
    expected = batch["mano_root_cam"][0, LEFT] - batch["mano_root_cam"][0, RIGHT]
    torch.testing.assert_close(batch["rel_trans"][0], expected, atol=1e-6, rtol=0)


def test_meshes_land_on_the_picture(made, batch):
    for row in range(KEPT):
        verts = made[1][row][np.array(ROWS[row][0]) > 0].reshape(-1, 3)
        pixels = verts[:, :2] / verts[:, 2:] * F + (CX, CY)
        side = 1.25 * np.ptp(pixels, axis=0).max()
        corner = (pixels.min(0) + pixels.max(0) - side) / 2
        assert np.allclose(batch["box"][row], [*corner, side, side], atol=1e-2)
        crop = verts @ batch["K"][row].double().numpy().T
        crop = np.rint(crop[:, :2] / crop[:, 2:]).astype(int)
        light = cv2.dilate((batch["img"][row].mean(0) > 0.5).numpy().astype(np.uint8), np.ones((3, 3)))
        assert light[crop[:, 1], crop[:, 0]].all() and light.mean() < 0.5
        valid = batch["joints_img_valid"][row, ..., 0] > 0
        assert valid.sum() == 21 * sum(ROWS[row][0])


def test_mirror_moves_the_true_mesh(made, hands):
    """What it needs is there, although the set is for tests only."""
    data = HIC(hands, made[0], limit=1, log=quiet)
    record = data.record(0) | {"image": np.zeros((480, 640, 3), np.uint8)}
    throws = (augment.IDENTITY, AugmentParams(rotation=0.5, mirror=True))
    batches = [cut_out([record], throw) for throw in throws]
    plain, turned = ({key: rows[0] for key, rows in batch.items()} for batch in batches)
    original = plain["mesh_cam"] @ plain["K_orig"].T
    pixels = (original[..., :2] / original[..., 2:]) @ turned["affine"][:, :2].T + turned["affine"][:, 2]
    there = turned["mesh_cam"] @ turned["K"].T
    torch.testing.assert_close(there[..., :2] / there[..., 2:], pixels.flip(0), atol=0.02, rtol=0)


def test_principal_components_are_recognised(tmp_path, hands):
    lines = []
    write_set(tmp_path, hands, components=True)
    data = HIC(hands, tmp_path, log=lines.append)
    assert any("principal components" in line for line in lines)
    truth = posed(hands, 0, components=True)
    fingers = np.einsum("hc,hcd->hd", truth[0][:, 3:], hands.components.numpy())
    assert np.allclose(data.record(0)["pose"][:, 1:].reshape(2, 45), fingers)


def test_fits_of_another_hand_are_refused(tmp_path, hands):
    write_set(tmp_path, hands)
    for path in (tmp_path / "data/HIC/data/fits").glob("*.pkl"):
        write_fit(path, np.zeros(48), np.zeros(10), np.array([0, 0, 0.7]), np.zeros((778, 3)))
    with pytest.raises(UserError, match="smplx_path"):
        HIC(hands, tmp_path, log=quiet)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is damaged or cut short"),
        ('{"images": [], "annotations": [3]}', "holds no rows of images and annotations"),
        ('{"images": [], "annotations": []}', 'holds no annotations; see "HIC" in docs/data.md'),
        ('{"images": [], "annotations": [{"id": 7, "image_id": 1}]}', "annotation 7 is malformed: image_id"),
    ],
)
def test_errors_speak_of_hic(tmp_path, hands, content, words):
    (tmp_path / "HIC.json").write_text(content)
    with pytest.raises(UserError, match=words) as error:
        HIC(hands, tmp_path, log=quiet)
    assert "InterHand" not in str(error.value).replace(str(tmp_path), "")


def test_numbers_that_are_none_are_refused(tmp_path, hands):
    write_set(tmp_path, hands)
    path = next((tmp_path / "data/HIC/data/fits").glob("*.pkl"))
    write_fit(path, np.full(48, np.nan), np.zeros(10), np.zeros(3), np.zeros((778, 3)))
    with pytest.raises(UserError, match=f"{path.name}.*'pose' holds numbers that are not finite"):
        HIC(hands, tmp_path, log=quiet)


class Hostile:
    """Runs a command when a careless reader opens it."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


def test_hostile_fit_is_refused_and_nothing_runs(tmp_path, hands):
    write_set(tmp_path, hands)
    path = tmp_path / "data/HIC/data/fits/000_R.pkl"
    path.write_bytes(pickle.dumps({"pose": Hostile(tmp_path / "ran")}, protocol=2))
    with pytest.raises(UserError, match=r"000_R\.pkl.*open"):
        HIC(hands, tmp_path, log=quiet)
    assert not (tmp_path / "ran").exists()


def test_ascii_and_binary_meshes(tmp_path, hands):
    verts = posed(hands, 0)[3][RIGHT]
    mesh = trimesh.Trimesh(verts, hands.faces[RIGHT].numpy(), process=False)
    path = tmp_path / "hand.ply"
    contents = {form: mesh.export(file_type="ply", encoding=form) for form in ("ascii", "binary")}
    for content in (*contents.values(), contents["ascii"].replace(b"\n", b"\r\n")):
        path.write_bytes(content)
        assert np.abs(read_ply(path) - verts).max() < 1e-7
    extra = contents["binary"].replace(b"property float z", b"property float z\nproperty uchar red")
    rows = np.zeros(778, [("xyz", "<f4", 3), ("red", "u1")])
    rows["xyz"] = verts
    path.write_bytes(extra.partition(b"end_header\n")[0] + b"end_header\n" + rows.tobytes())
    assert np.abs(read_ply(path) - verts).max() < 1e-7
    broken = [b"", b"ply", contents["binary"][:2000], contents["ascii"][:2000], b"solid" + contents["ascii"]]
    broken += [
        contents["binary"].replace(b"little", b"big"),
        contents["ascii"].replace(b"vertex 778", b"vertex 777"),
    ]
    broken += [contents["ascii"].replace(b"float z", b"float w")]
    for content in broken:
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"hand\.ply"):
            read_ply(path)
