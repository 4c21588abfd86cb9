"""Files of predictions: the same numbers from the file as from the network, and bad files."""

import numpy as np
import pytest
import torch

from common.eval.metrics import Metrics
from common.eval.predictions import Predictions, read_predictions
from common.eval.reduce import shared_scores
from common.utils.errors import UserError
from tests.two_hands import make_batch, perfect

PIXELS = {"scale": 0.7, "shift": (-31.0, 12.5)}  # crop = scale * original + shift


def with_crop(batch):
    size, (x, y) = len(batch["id"]), PIXELS["shift"]
    affine = torch.tensor([[PIXELS["scale"], 0, x], [0, PIXELS["scale"], y]])
    return batch | {"affine": affine.expand(size, 2, 3)}


def test_a_file_gives_the_numbers_of_the_network(hands, tmp_path):
    batch = with_crop(make_batch(hands, 6))
    pred = perfect(hands, batch)
    pred["verts"] = pred["verts"] + 0.004 * torch.randn(
        6, 2, 778, 3, generator=torch.Generator().manual_seed(0)
    )
    direct, kept = Metrics(hands), Predictions()
    direct.update(pred, batch)
    kept.add(pred, batch)
    kept.write(tmp_path / "p.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["p.npz"]
    with np.load(tmp_path / "p.npz") as file:  # pixels of the original picture
        original = (batch["joints_img"][0, ..., :2].numpy() - PIXELS["shift"]) / PIXELS["scale"]
        np.testing.assert_allclose(file["joints_img"][0], original, rtol=1e-5)
    read, again = read_predictions(tmp_path / "p.npz"), Metrics(hands)
    again.update(read.of(batch), batch)
    for ours, theirs in (
        (direct.summary()["lgnet"], again.summary()["lgnet"]),
        (shared_scores(direct.columns()), shared_scores(again.columns())),
    ):
        assert ours.keys() == theirs.keys()
        for key, score in ours.items():
            expected = score.value if score.value is None else pytest.approx(score.value, abs=1e-4)
            assert theirs[key].value == expected, key


def test_parts_of_processes_and_repeats_become_one_file(hands, tmp_path):
    batch = with_crop(make_batch(hands, 5))
    pred = perfect(hands, batch)
    parts = [Predictions(), Predictions()]
    for part, index in zip(parts, ([4, 0, 1], [1, 2, 3]), strict=True):
        chosen = {k: [v[i] for i in index] if isinstance(v, list) else v[index] for k, v in batch.items()}
        part.add({k: v[index] for k, v in pred.items()}, chosen)
    parts[1].write(tmp_path / "part1.npz")
    parts[0].merge(read_predictions(tmp_path / "part1.npz"))
    parts[0].write(tmp_path / "p.npz")
    read = read_predictions(tmp_path / "p.npz")
    assert read.ids == batch["id"]
    torch.testing.assert_close(read.of(batch)["verts"], pred["verts"])


def test_ids_that_are_not_in_the_file_are_not_predicted(hands):
    batch = with_crop(make_batch(hands, 2))
    read = Predictions(["frame0_1", "other"], {"verts": np.ones((2, 2, 778, 3), np.float32)})
    verts = read.of(batch)["verts"]
    assert verts[0].isnan().all() and (verts[1] == 1).all()


GOOD = {"id": np.array([7, 8]), "verts": np.zeros((2, 2, 778, 3), np.float32)}
BAD = {
    "no vertices": ({"id": GOOD["id"]}, "holds no 'verts'"),
    "no ids": ({"verts": GOOD["verts"]}, "holds no 'id'"),
    "an id twice": (GOOD | {"id": np.array([7, 7])}, "every annotation id once"),
    "another shape": (GOOD | {"rel_trans": np.zeros((2, 2), np.float32)}, r"expected floats \(2, 3\)"),
    "whole numbers": (GOOD | {"verts": np.zeros((2, 2, 778, 3), int)}, "'verts' is int64"),
    "objects": (GOOD | {"rel_trans": np.array([[print] * 3] * 2, object)}, "nothing of it was run"),
}


@pytest.mark.parametrize("scale, refused", [(1.0, False), (10.0, False), (1000.0, True)])
def test_millimetres_are_refused(hands, tmp_path, scale, refused):
    """A hand of some 0.2 m; ten times as long it is a bad prediction, a thousand times another unit."""
    verts = scale * hands.template[None].repeat(3, 1, 1, 1).numpy()
    verts[0, 0] = np.nan  # not predicted
    verts[1, 1, 5] = np.inf  # broken
    np.savez(tmp_path / "p.npz", id=np.arange(3), verts=verts)
    if refused:
        with pytest.raises(UserError, match="look like millimetres"):
            read_predictions(tmp_path / "p.npz")
    else:
        assert len(read_predictions(tmp_path / "p.npz").ids) == 3


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_sentence(tmp_path, name):
    arrays, sentence = BAD[name]
    np.savez(tmp_path / "p.npz", **arrays)
    with pytest.raises(UserError, match=sentence):
        read_predictions(tmp_path / "p.npz")


def test_whole_numbers_are_good_ids_and_other_files_are_refused(tmp_path):
    np.savez(tmp_path / "p.npz", **GOOD)
    assert read_predictions(tmp_path / "p.npz").ids == ["7", "8"]
    content = (tmp_path / "p.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.npz").write_text("no numbers")
    np.save(tmp_path / "one.npy", GOOD["verts"])
    for file in ("half.npz", "text.npz", "one.npy", "none.npz"):
        with pytest.raises(UserError, match=file):
            read_predictions(tmp_path / file)
