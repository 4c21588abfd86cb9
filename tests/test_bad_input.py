"""Bad input to the three commands: one sentence on stderr, exit code 2, no traceback, nothing run."""

import json
import os
import pickle
import shutil

import cv2
import numpy as np
import pytest
import torch

from common.hand.mano_file import FILE_NAMES
from common.utils.checkpoint import half_precision, load_snapshot, save_snapshot, snapshot_path
from main import demo, test, train
from tests.scripts import TINY, output_in, run, settings

SCRIPTS = [train, test, demo]
NEEDED = {train: [], test: ["--test_epoch", 0], demo: []}
NOWHERE = settings(interhand_anno_dir="/none", interhand_images_path="/none")


class Hostile:
    """Makes a file when unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.fixture
def refused(capfd, tmp_path):
    """refused(words, script, *arguments): ends with code 2 and one sentence that has these words."""

    def check(words, script, *arguments):
        capfd.readouterr()
        code, error = run(script, *output_in(tmp_path), *arguments), capfd.readouterr().err
        assert code == 2, error
        assert error.startswith("error: ") and error.count("\n") == 1, error
        assert words in error, error

    return check


@pytest.fixture(scope="module")
def weights(tmp_path_factory, trained):
    """The tiny run's network as demo weights are shipped: half precision, no optimizer."""
    snapshot = load_snapshot(snapshot_path(trained.folder / "model_dump", 1))
    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    save_snapshot({"network": half_precision(snapshot["network"]), "config": snapshot["config"]}, path)
    return path


synthetic = pytest.mark.parametrize("trained", ["synthetic"], indirect=True, scope="session")


# ---- arguments ----


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("unknown setting 'smplx_pth'; did you mean smplx_path", ["--set", "smplx_pth=/x"]),
        ("write it as key=value", ["--set", "smplx_path"]),
        ("--exp a/b: give a plain folder name", ["--exp", "a/b"]),
        ("--exp ..: give a plain folder name", ["--exp", ".."]),
        ("no GPU 99", ["--gpu", "99"]),
        ("--gpu one: write numbers", ["--gpu", "one"]),
        ("--gpu 3-1: write numbers", ["--gpu", "3-1"]),
        ("--gpu 0,0: write numbers", ["--gpu", "0,0"]),
    ],
)
def test_arguments(refused, script, words, arguments):
    refused(words, script, *NEEDED[script], *arguments)


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("unknown preset 'big'; there are lgnet", ["--preset", "big"]),
        ("train.epochs takes int values, not 'two'", settings(epochs="two")),
        ("train.lr takes float values, not 'fast'", settings(train__lr="fast")),
        ("train.lr is more than 0, not 'nan'", settings(train__lr="nan")),
        ("train.batch_size is between 1 and 2147483647, not '0'", settings(train__batch_size=0)),
        ("data.workers is between 0 and 2147483647, not '-1'", settings(workers=-1)),
        ("data.subset is one of H, M, H+M, not 'h'", settings(subset="h")),
        ("train.batch_size is between 1 and", settings(batch_size=0)),  # not "ambiguous" with the test's
        ("unknown setting 'batchsize'; did you mean train.batch_size?", settings(batchsize=2)),
        ("model.channels=3: choose a multiple of 16", settings(channels=3, backbone="resnet18")),
        ("model.refine_maps=5: a backbone has 4 early maps", settings(refine_maps=5, backbone="resnet18")),
        ("no such file: /none.pth", settings(backbone_weights="/none.pth", backbone="resnet18")),
        ("set both interhand_anno_dir and", settings(interhand_anno_dir="/none")),
        ("set both interhand_anno_dir and", settings(interhand_images_path="/none")),
        ("interhand_anno_dir: /none holds no folder train", NOWHERE),
        ("no MANO_RIGHT.pkl and MANO_LEFT.pkl in /none", settings(smplx_path="/none")),
        ("holds no snapshot to continue from", ["--continue"]),
    ],
)
def test_training_settings(refused, words, arguments):
    refused(words, train, "--gpu", "cpu", *arguments)


def test_an_output_folder_that_cannot_be(refused, tmp_path):
    (tmp_path / "file").touch()
    refused(f"{tmp_path / 'file'}", train, *TINY, *output_in(tmp_path / "file"))


def test_a_bare_key_is_the_tests_own(refused):
    refused("test.batch_size is between 1 and", test, "--test_epoch", 0, *settings(batch_size=0))


def test_model_keys_belong_to_the_snapshot(refused):
    refused("--set channels: a snapshot knows its own", test, "--test_epoch", 0, *settings(channels=3))
    refused("--set channels: a snapshot knows its own", demo, *settings(channels=3))


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="a Mac with a GPU")
def test_the_gpu_of_a_mac_that_is_none(refused):
    refused("--gpu mps: this torch finds no GPU of a Mac here; use --gpu cpu", demo, "--gpu", "mps")


# ---- what a test is given ----


@synthetic
def test_bad_data_and_predictions_for_a_test(refused, weights, tmp_path, interhand):
    command = [test, "--checkpoint", weights]
    refused("--protocol lgnett: choose all or some of lgnet,", *command, "--protocol", "lgnett")
    refused("hic_path: ", *command, *settings(hic_path=tmp_path))
    refused("folder_path: ", *command, *settings(folder_path=tmp_path))
    refused("are both set", *command, *settings(folder_path=tmp_path, hic_path=tmp_path))
    folders = settings(interhand_anno_dir=interhand / "annotations", workers=0)
    (tmp_path / "images" / "test").mkdir(parents=True)
    folders += settings(interhand_images_path=tmp_path / "images")
    refused("no record is left after the step 'picture in", *command, *folders)
    (tmp_path / "file").touch()
    refused("cannot write", *command, "--save_predictions", tmp_path / "file" / "p.npz")
    refused("cannot read the predictions", test, "--predictions", tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_bytes(pickle.dumps(Hostile(tmp_path / "made")))
    refused("nothing of it was run", test, "--predictions", tmp_path / "bad.npz")
    assert not (tmp_path / "made").exists()


# ---- snapshots ----


@synthetic
def test_a_snapshot_that_is_missing(refused, trained):
    where = [*output_in(trained.folder.parent), "--exp", "synthetic"]
    refused("there are: 0, 1", test, "--test_epoch", 7, *where)
    refused("there are: none", test, "--test_epoch", 7, "--exp", "other")
    refused("no snapshot in", demo, "--exp", "other")


@synthetic
def test_a_snapshot_of_other_settings(refused, trained, tmp_path):
    command = [*TINY, *trained.data, *output_in(trained.folder.parent), "--exp", "synthetic", "--continue"]
    refused("model.channels=16, now it is 32", train, *command, *settings(channels=32))
    refused("train.seed=0, now it is 1", train, *command, *settings(train__seed=1))
    # the schedule is laid over all epochs: more of them would make the learning rate jump
    refused("train.epochs=2, now it is 3", train, *command, *settings(epochs=3))
    bare = ["--gpu", "cpu", *output_in(trained.folder.parent), "--exp", "synthetic", "--continue"]
    refused("train.epochs=2, now it is 3", train, *bare, *settings(epochs=3))
    refused("data.synthetic_train=4, now it is 65536", train, *bare, "--preset", "lgnet")
    refused("paths.smplx_path=None, now it is /d/mano", train, *bare, *settings(smplx_path="/d/mano"))
    snapshot = load_snapshot(snapshot_path(trained.folder / "model_dump", 1))
    snapshot["config"]["model"]["refine_channels"] = 16
    save_snapshot(snapshot, tmp_path / "mixed.pth")
    for script in (test, demo):
        refused("does not fit the network it names", script, "--checkpoint", tmp_path / "mixed.pth")


@pytest.mark.parametrize("script", [test, demo])
def test_files_that_are_no_snapshot(refused, script, tmp_path):
    (tmp_path / "text.pth").write_text("no snapshot")
    (tmp_path / "empty.pth").touch()
    torch.save({"state_dict": {}}, tmp_path / "foreign.pth")
    refused("no such file", script, "--checkpoint", tmp_path / "none.pth")
    refused("not a readable snapshot", script, "--checkpoint", tmp_path)
    refused("not a readable snapshot", script, "--checkpoint", tmp_path / "empty.pth")
    refused("text.pth", script, "--checkpoint", tmp_path / "text.pth")
    refused("not an LGNet snapshot", script, "--checkpoint", tmp_path / "foreign.pth")


@pytest.mark.parametrize("save", [torch.save, lambda v, path: path.write_bytes(pickle.dumps(v))])
def test_a_hostile_snapshot_runs_nothing(refused, tmp_path, save, recwarn):
    folder, trace = tmp_path / "evil" / "model_dump", tmp_path / "trace"
    folder.mkdir(parents=True)
    file = folder / "snapshot_0.pth"
    save({"network": Hostile(trace), "config": {"model": {}}}, file)
    refused("snapshot_0.pth", train, *TINY, "--exp", "evil", "--continue")
    refused("snapshot_0.pth", test, "--exp", "evil", "--test_epoch", 0)
    refused("snapshot_0.pth", demo, "--exp", "evil")
    refused("snapshot_0.pth", train, *TINY, *settings(backbone_weights=file))
    torch.save([torch.zeros(1)], file)
    refused("holds no state dict", train, *TINY, *settings(backbone_weights=file))
    assert not trace.exists()
    assert not [w for w in recwarn if w.category is UserWarning]  # torch's would be a second sentence


@synthetic
def test_a_start_of_another_network_is_refused(refused, weights):
    refused("is of another network", train, *TINY, *settings(start_from=weights, channels=32))
    refused("no such file", train, *TINY, *settings(start_from="/none.pth"))


@synthetic
def test_a_hostile_hand_model_runs_nothing(refused, weights, tmp_path):
    for name in FILE_NAMES:
        (tmp_path / name).write_bytes(pickle.dumps({"v_template": Hostile(tmp_path / "trace")}))
    hand = settings(smplx_path=tmp_path)
    refused("nothing of it was run", train, *TINY, *hand)
    refused("nothing of it was run", test, "--checkpoint", weights, *hand)
    refused("nothing of it was run", demo, "--checkpoint", weights, *hand)
    assert not (tmp_path / "trace").exists()


# ---- pictures ----


@synthetic
def test_pictures_that_are_none(refused, weights, tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no picture")
    cv2.imwrite(str(tmp_path / "dot.png"), np.zeros((1, 1, 3), np.uint8))
    cut = (demo.EXAMPLE).read_bytes()[:40]
    (tmp_path / "cut.png").write_bytes(cut)
    for name, words in {
        "none.png": "No such file",
        "empty.png": "is an empty file",
        "text.png": "not a picture",
        "cut.png": "not a picture",
        "dot.png": "1x1 pixels",
    }.items():
        refused(words, demo, "--checkpoint", weights, "--input", tmp_path / name, "--gpu", "cpu")
    box = ["--bbox", 9999, 0, 5, 5]
    refused("is no box in a picture", demo, "--checkpoint", weights, "--gpu", "cpu", *box)
    blocked = tmp_path / "text.png" / "folder"
    refused("cannot write", demo, "--checkpoint", weights, "--gpu", "cpu", "--output", blocked)


@synthetic
@pytest.mark.parametrize(("channels", "kind"), [(1, np.uint8), (4, np.uint8), (1, np.uint16), (3, np.uint16)])
def test_grey_transparent_and_deep_pictures_work(weights, tmp_path, channels, kind):
    picture = np.full((70, 50, channels), np.iinfo(kind).max // 2, kind)
    cv2.imwrite(str(tmp_path / "odd.png"), picture)
    command = ["--checkpoint", weights, "--input", tmp_path / "odd.png", "--output", tmp_path, "--gpu", "cpu"]
    assert run(demo, *command) == 0
    assert json.loads((tmp_path / "odd.json").read_text())["image_size"] == [50, 70]


# ---- the data set ----


@pytest.fixture
def damaged(interhand, tmp_path):
    """A copy of the small set's annotations to damage, with the settings that read it."""
    shutil.copytree(interhand / "annotations", tmp_path / "annotations")
    images = settings(interhand_images_path=interhand / "images", limit=4)
    return tmp_path / "annotations", [*settings(interhand_anno_dir=tmp_path / "annotations"), *images]


@synthetic
@pytest.mark.parametrize("kind", ["data", "camera", "joint_3d", "MANO_NeuralAnnot"])
def test_annotations_damaged(refused, damaged, weights, kind):
    folder, data = damaged
    commands = {"train": (train, *TINY, *data), "test": (test, "--checkpoint", weights, *data)}
    for split, command in commands.items():
        file = folder / split / f"InterHand2.6M_{split}_{kind}.json"
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        refused(f"{file.name} is damaged or cut short", *command)
        file.write_bytes(b"\x80\x04 no text")
        refused(f"{file.name} is not a JSON file", *command)
        for other in ("[1, 2]", '{"0": [1]}', '{"images": [1], "annotations": [1]}'):
            file.write_text(other)
            refused(file.name, *command)
        file.unlink()
        if kind != "MANO_NeuralAnnot":  # without fits there are still joints
            refused(f"{file.name}: No such file", *command)


@pytest.mark.parametrize(
    ("kind", "before", "new", "words"),
    [
        ("data", '"bbox": [', '"far"', "annotation 909000 is malformed: bbox is not 4 numbers"),
        ("camera", '"focal": {"400002": [', "0", "camera 400002 is malformed: focal is 0"),
        ("camera", '"focal": {"400002": [', "NaN", "camera 400002 is malformed: focal is not finite"),
        ("joint_3d", '"world_coord": [[', "NaN", "frame 4973 is malformed: an annotated joint is not"),
        ("joint_3d", "", 100_000 * "[", "is damaged: its brackets are nested too deep"),
    ],
)
def test_annotations_without_sense(refused, damaged, kind, before, new, words):
    """The first number after `before` is another."""
    folder, data = damaged
    file = folder / "train" / f"InterHand2.6M_train_{kind}.json"
    head, found, tail = file.read_text().partition(before) if before else ("", "", "1,")
    assert tail
    file.write_text(head + found + new + tail[tail.index(",") :])
    refused(words, train, *TINY, *data)


@synthetic
def test_a_pipe_is_no_picture(refused, weights, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    refused("pipe.png: it is no file", demo, "--checkpoint", weights, "--input", tmp_path / "pipe.png")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_picture_of_the_data_set_is_named(interhand, tmp_path, workers, capfd):
    shutil.copytree(interhand / "images" / "train", tmp_path / "images" / "train")
    for path in (tmp_path / "images").rglob("*.jpg"):
        path.write_bytes(b"no picture")
    folders = settings(
        interhand_anno_dir=interhand / "annotations", interhand_images_path=tmp_path / "images"
    )
    command = [*TINY, *folders, *settings(workers=workers, limit=4), *output_in(tmp_path)]
    assert run(train, *command) == 2
    error = capfd.readouterr().err
    assert "Traceback" not in error and "not a picture that OpenCV can read" in error.splitlines()[-1]
    assert "image" in error.splitlines()[-1] and error.splitlines()[-1].startswith("error: ")
