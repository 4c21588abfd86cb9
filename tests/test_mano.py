"""The hand layer against smplx, and the reader against good, odd and hostile files."""

import pickle
import sys

import numpy as np
import pytest
import smplx
import torch

from common.hand import mano_file
from common.hand.joints import LEFT, RIGHT
from common.hand.mano import load_mano
from common.hand.mano_file import read_hands, read_mano_pickle, read_standin
from common.utils.errors import UserError
from common.utils.geometry import geodesic_angle
from tool.stand_in.export import write_mano

SPIN = torch.tensor([1.0, -1, -1])
FLIP = torch.tensor([-1.0, 1, 1])


@pytest.fixture(scope="module")
def mano_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mano")
    write_mano(folder)
    return folder


def random_parameters(count: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    pose = 0.6 * torch.randn(count, 2, 16, 3, generator=generator)
    return pose, torch.randn(count, 2, 10, generator=generator)


def smplx_hand(folder, side: int):
    name = ("MANO_RIGHT.pkl", "MANO_LEFT.pkl")[side]
    hand = smplx.MANO(str(folder / name), is_rhand=side == RIGHT, use_pca=False, flat_hand_mean=False)
    if side == LEFT:
        hand.shapedirs[:, 0] *= -1  # smplx issue 48
    return hand


@pytest.mark.parametrize("side", [RIGHT, LEFT])
def test_layer_equals_smplx(mano_folder, side, capsys):
    pose, shape = random_parameters()
    layer = load_mano(mano_folder)
    verts, joints = layer(pose, shape)
    theirs = smplx_hand(mano_folder, side)(
        betas=shape[:, side], global_orient=pose[:, side, 0], hand_pose=pose[:, side, 1:].flatten(1)
    )
    assert torch.allclose(verts[:, side], theirs.vertices, atol=1e-6)
    assert torch.allclose(layer.rest_wrist(shape)[:, side], theirs.joints[:, 0], atol=1e-6)
    assert torch.allclose(joints[:, side, 8], theirs.vertices[:, 317], atol=1e-6)  # index tip


def test_rotations_and_pose_are_inverse(hands):
    pose, _ = random_parameters()
    again = hands.rotations(hands.pose(hands.rotations(pose)))
    assert geodesic_angle(again, hands.rotations(pose)).max() < 1e-4


def test_left_hand_is_the_mirrored_right_hand(mano_folder):
    layer = load_mano(mano_folder)
    pose, shape = random_parameters()
    verts, joints = layer(pose, shape)
    mirrored_verts, mirrored_joints = layer((pose * SPIN).flip(1), shape.flip(1))
    assert torch.allclose(mirrored_verts, (verts * FLIP).flip(1), atol=1e-6)
    assert torch.allclose(mirrored_joints, (joints * FLIP).flip(1), atol=1e-6)


def test_wrist_pivots_on_the_rest_wrist(hands):
    """Turning the wrist moves everything about J0(beta) and J0 not at all."""
    pose, shape = random_parameters()
    turned = pose.clone()
    turned[:, :, 0] = 0
    rest = hands.rest_wrist(shape)[:, :, None]
    verts, flat = hands(pose, shape)[0] - rest, hands(turned, shape)[0] - rest
    wrist = hands.rotations(pose)[:, :, 0]
    assert torch.allclose(verts, flat @ wrist.mT, atol=1e-6)


def test_sign_of_the_left_shapes_is_mended_once(mano_folder):
    raw = [read_mano_pickle(mano_folder / f"MANO_{name}.pkl") for name in ("RIGHT", "LEFT")]
    assert np.allclose(raw[RIGHT]["shapedirs"], raw[LEFT]["shapedirs"] * [[[1], [1], [1]]], atol=1e-6)
    right, left = (hand["shapedirs"] for hand in read_hands(mano_folder)[0])
    assert np.allclose(left[:, 0], -right[:, 0], atol=1e-6)
    assert np.allclose(left[:, 1:], right[:, 1:], atol=1e-6)


def test_a_file_that_is_right_already_stays(tmp_path):
    paths = write_mano(tmp_path)
    model = pickle.loads(paths[LEFT].read_bytes(), encoding="latin1")
    model["shapedirs"][:, 0] *= -1
    paths[LEFT].write_bytes(pickle.dumps(model, protocol=2))
    right, left = (hand["shapedirs"] for hand in read_hands(tmp_path)[0])
    assert np.allclose(left[:, 0], -right[:, 0], atol=1e-6)


def test_chumpy_file_reads_equal_without_chumpy(tmp_path, mano_folder):
    paths = write_mano(tmp_path, chumpy=True)
    assert b"chumpy" in paths[0].read_bytes() and "chumpy" not in sys.modules
    for path in paths:
        plain, wrapped = read_mano_pickle(mano_folder / path.name), read_mano_pickle(path)
        assert all(np.array_equal(plain[key], wrapped[key]) for key in plain)


def test_standin_is_recognised_in_mano_files(mano_folder):
    assert read_hands(mano_folder)[1] == read_hands(None)[1] == "stand-in hand"


class Hostile:
    """Runs a command when a careless reader opens it."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_hostile_pickle_is_refused_and_nothing_runs(tmp_path, protocol):
    marker, path = tmp_path / "ran", tmp_path / "MANO_RIGHT.pkl"
    content = {"f": Hostile(marker)}
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    with pytest.raises(UserError, match="open"):
        read_mano_pickle(path)
    assert not marker.exists()


def test_damaged_and_foreign_files_are_named(tmp_path):
    path = tmp_path / "MANO_RIGHT.pkl"
    contents = [b"", b"version https://git-lfs", pickle.dumps([1]), pickle.dumps({"f": np.zeros(3)})]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(UserError, match="MANO_RIGHT.pkl"):
            read_mano_pickle(path)
    with pytest.raises(UserError, match="mano.is.tue.mpg.de"):
        read_hands(tmp_path / "nowhere")


def without_state(mano):
    """A chumpy Select that pickle never gave its state."""
    mano["shapedirs"] = mano_file._ChumpySelect()


def with_wrong_indices(mano):
    select = mano_file._ChumpySelect()
    select.state = {"a": np.zeros(5), "idxs": np.array([9]), "preferred_shape": (1,)}
    mano["shapedirs"] = select


def with_wrong_columns(mano):
    sparse = mano_file._SparseColumns()
    starts = np.minimum(np.arange(779), 1)  # one number, in the first column
    sparse.state = {"shape": (16, 778), "indptr": starts, "indices": np.array([99]), "data": [1.0]}
    mano["J_regressor"] = sparse


def with_words(mano):
    mano["v_template"] = np.full((778, 3), "far")


def with_nan(mano):
    mano["v_template"] = np.where(np.arange(3) == 1, np.nan, mano["v_template"])


def with_a_face_too_far(mano):
    mano["f"] = np.where(np.arange(3) == 1, 900, mano["f"])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without_state, "'shapedirs' is no array of numbers"),
        (with_wrong_indices, "'shapedirs' is no array of numbers"),
        (with_wrong_columns, "'J_regressor' is no array of numbers"),
        (with_words, "'v_template' is no array of numbers"),
        (with_nan, "'v_template' holds numbers that are not finite"),
        (with_a_face_too_far, "its faces name vertices beyond its 778"),
    ],
)
def test_odd_contents_are_one_sentence(tmp_path, monkeypatch, spoil, words):
    mano = read_standin()
    spoil(mano)
    monkeypatch.setattr(mano_file._Reader, "load", lambda self: mano)
    (tmp_path / "MANO_RIGHT.pkl").touch()
    with pytest.raises(UserError, match=f"MANO_RIGHT.pkl.*{words}"):
        read_mano_pickle(tmp_path / "MANO_RIGHT.pkl")


def test_body_model_is_refused_by_its_shape(tmp_path):
    model = {**read_standin(), "v_template": np.zeros((6890, 3))}
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(pickle.dumps(model, protocol=2))
    with pytest.raises(UserError, match="v_template"):
        read_mano_pickle(path)


@pytest.mark.parametrize("sub", ["", "mano", "mano_v1_2/models"])
def test_usual_folders_are_found(tmp_path, sub):
    write_mano(tmp_path / sub)
    assert len(read_hands(tmp_path)[0]) == 2
    assert len(read_hands(tmp_path / sub / "MANO_LEFT.pkl")[0]) == 2


def test_float32_whatever_the_autocast_state(hands):
    pose, shape = random_parameters()
    plain = (*hands(pose, shape), hands.rest_wrist(shape))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = (*hands(pose, shape), hands.rest_wrist(shape))
    assert all(torch.equal(a, b) for a, b in zip(plain, mixed, strict=True))


def test_layer_leaves_no_trace_in_a_state_dict(hands):
    assert not hands.state_dict() and not list(hands.parameters())


def test_batch_equals_single_and_gradients_flow(hands):
    pose, shape = (value.requires_grad_() for value in random_parameters())
    verts, joints = hands(pose, shape)
    alone = hands(pose[1:2], shape[1:2])[0]
    assert torch.allclose(alone, verts[1:2], atol=1e-6)
    (verts.square().sum() + joints.square().sum()).backward()
    assert pose.grad.isfinite().all() and shape.grad.isfinite().all() and (pose.grad != 0).any()
