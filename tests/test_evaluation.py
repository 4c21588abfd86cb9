"""test.py: looks before it works, prints before it writes, and says what the numbers stand on."""

import json
from pathlib import Path

import numpy as np
import pytest

from common.utils.errors import UserError
from main import build, evaluation, test
from tests.scripts import output_in, run, settings

SYNTHETIC, INTERHAND = (
    pytest.mark.parametrize("trained", [name], indirect=True) for name in ("synthetic", "interhand")
)


@pytest.fixture
def command(trained):
    """Tests a snapshot of the tiny run on its five pictures."""
    where = [*output_in(trained.folder.parent), "--exp", trained.folder.name]
    return lambda *more: run(test, *where, *trained.data, *more)


def plain_results(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


@SYNTHETIC
def test_a_place_that_cannot_be_written_is_said_before_any_work(trained, tmp_path, monkeypatch, capsys):
    def read(*_):
        raise AssertionError("the data were read first")

    monkeypatch.setattr(build, "test_data", read)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "result").touch()
    snapshot = trained.folder / "model_dump" / "snapshot_1.pth"
    assert run(test, "--checkpoint", snapshot, *output_in(tmp_path), "--exp", "here") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: cannot write") and "result" in error and error.count("\n") == 1


@SYNTHETIC
def test_a_full_disk_does_not_take_the_table(trained, command, monkeypatch, capsys):
    def full(path, *_):
        raise UserError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr(evaluation, "write_json", full)
    assert command("--test_epoch", 0, "--protocol", "lgnet") == 2
    printed = capsys.readouterr()
    assert "MPVPE" in printed.out and "contact_deviation" in printed.out
    assert "No space left" in printed.err.splitlines()[-1]


@pytest.fixture(scope="module")
def predictions(trained, tmp_path_factory) -> dict[str, np.ndarray]:
    """What the tiny run predicts of its five test pictures."""
    file = tmp_path_factory.mktemp("predictions") / "all.npz"
    where = [*output_in(trained.folder.parent), "--exp", trained.folder.name]
    assert run(test, "--test_epoch", 0, *where, *trained.data, "--save_predictions", file) == 0
    with np.load(file) as arrays:
        return dict(arrays)


@SYNTHETIC
def test_predictions_of_some_samples_say_of_how_many(trained, predictions, tmp_path, capsys):
    some = {key: rows[1:3] for key, rows in predictions.items()}
    np.savez(tmp_path / "some.npz", **some | {"id": np.array([some["id"][0], "elsewhere"])})
    assert run(test, "--predictions", tmp_path / "some.npz", *trained.data, *output_in(tmp_path)) == 0
    printed = capsys.readouterr().out
    whole, results = (
        plain_results(folder)
        for folder in (trained.folder / "result/epoch_0_synthetic", tmp_path / "some/result/some_synthetic")
    )
    assert results["samples"] == results["frames"]["interhand"] == 5
    one = results["protocols"]["interhand"]["MPVPE"]["final"]["overall"]
    assert one["n"] == 1 and whole["protocols"]["interhand"]["MPVPE"]["final"]["overall"]["n"] == 5
    assert "n 1 of 5" in printed
    for metric, meshes in results["shared"].items():  # what was not predicted is no wrong answer either
        if not metric.endswith("_truth"):
            assert meshes["final"]["overall"]["n"] <= 1, metric
    assert "4 samples of the data are not in some.npz" in printed
    assert "1 ids of some.npz are not in the data, the first: elsewhere" in printed
    about = results["about"]  # nothing was predicted here, so that no speed is told
    assert about["pictures_per_second"] is None and about["checkpoint"] is None and about["epoch"] is None
    assert "predicted" not in next(line for line in printed.splitlines() if line.startswith("pictures a sec"))
    assert whole["about"]["pictures_per_second"] > 0


@SYNTHETIC
def test_predictions_for_other_data_are_refused(trained, predictions, tmp_path, capsys):
    other = np.array([f"other/{number}" for number in range(len(predictions["id"]))])
    np.savez(tmp_path / "other.npz", **predictions | {"id": other})
    assert run(test, "--predictions", tmp_path / "other.npz", *trained.data, *output_in(tmp_path)) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and "no id in common" in error
    assert "other/0" in error and str(predictions["id"][0]) in error


@INTERHAND
def test_the_training_split_can_be_tested_and_has_a_folder_of_its_own(trained, command, capsys):
    assert command("--test_epoch", 1, "--protocol", "lgnet", *settings(test__split="train")) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    folder = trained.folder / "result" / "epoch_1_train"
    assert last == f"results: {folder / 'metrics.json'}"
    about = plain_results(folder)["about"]
    assert about["data"].endswith(", train split") and about["config"]["test"]["split"] == "train"


def test_where_the_time_went():
    spent = {"pictures": 64.0, "predict": 2.0, "metrics": 1.0}
    line = evaluation.time_line(spent, whole=4.5, report=0.25)
    assert line == "seconds: data 1.5, predict 2.0, metrics 1.0, results and report 0.2"
