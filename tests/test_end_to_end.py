"""The three commands from end to end, tiny: what they write, exact resuming, several processes."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from common.base import Trainer
from common.eval.results import Results
from common.utils.checkpoint import load_snapshot, snapshot_path
from common.utils.dist import launch
from common.utils.errors import run_script
from main import build, cli, demo, test, train
from main.config import Config, override
from tests.scripts import TINY, output_in, run, settings

SYNTHETIC, INTERHAND = (
    pytest.mark.parametrize("trained", [name], indirect=True) for name in ("synthetic", "interhand")
)
CPUS = [torch.device("cpu")] * 2


def metrics_of(printed: str) -> dict:
    """The file that test.py names in its last line."""
    name, path = printed.splitlines()[-1].split(": ", 1)
    assert name == "results"
    return json.loads(Path(path).read_text())


def lines(folder: Path) -> list[dict]:
    """metrics.jsonl without the times."""
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in entry.items() if key != "seconds"} for entry in entries]


def test_a_run_leaves_its_files(trained):
    folder = trained.folder
    assert json.loads((folder / "config.json").read_text())["config"]["model"]["channels"] == 16
    assert "stand-in hand" in (folder / "log.txt").read_text().splitlines()[0]
    assert [entry["epoch"] for entry in lines(folder)] == [0, 1]
    assert list((folder / "log").glob("events.*"))
    for epoch in (0, 1):
        snapshot = load_snapshot(snapshot_path(folder / "model_dump", epoch))  # loads plain data only
        assert snapshot["last_epoch"] == epoch and snapshot["step"] == 2 * (epoch + 1)
        assert snapshot["config"]["train"]["epochs"] == 2


@SYNTHETIC
def test_a_run_may_start_from_another_s_network(trained, tmp_path):
    """At a learning rate of nothing, what it leaves is what it began with, but for BatchNorm's statistics."""
    file = snapshot_path(trained.folder / "model_dump", 1)
    still = settings(start_from=file, lr=1e-20, weight_decay=0)
    assert run(train, *TINY, *still, "--exp", "after", *output_in(tmp_path), *trained.data) == 0
    before = load_snapshot(file)["network"]
    after = load_snapshot(snapshot_path(tmp_path / "after" / "model_dump", 1))["network"]
    for name, value in before.items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(after[name], value, atol=1e-6, rtol=0)


def test_train_test_demo(trained, tmp_path, capsys):
    where = [*output_in(trained.folder.parent), "--exp", trained.folder.name]
    assert run(test, "--test_epoch", 1, *where, *trained.data) == 0
    printed = capsys.readouterr().out
    assert "MPVPE" in printed and printed.splitlines()[0].startswith("data: ")
    results = metrics_of(printed)
    about = results["about"]
    assert about["epoch"] == 1 and about["synthetic"] == (trained.folder.name == "synthetic")
    assert list(results["protocols"]) == ["lgnet", "intaghand", "interhand", "interwild", "eanet"]
    boxes = {"synthetic": "synthetic test set v2: 5 of", "interhand": "boxes: "}[trained.folder.name]
    assert about["data_notes"] == results["notes"][:1] and boxes in results["notes"][0]
    assert f"note: {boxes}" in printed
    assert results["samples"] == results["frames"]["interhand"] == 5
    suffix = {"synthetic": "_synthetic", "interhand": ""}[trained.folder.name]
    result = trained.folder / "result" / f"epoch_1{suffix}"
    assert (result / "report.html").stat().st_size > 10_000
    assert len((result / "per_sample.csv").read_text().splitlines()) == 6
    assert run(demo, "--output", tmp_path, "--input", demo.EXAMPLE, *where) == 0
    written = {path.name for path in tmp_path.iterdir()}
    assert {"example_overlay.png", "example.json"} <= written
    assert "snapshot_1.pth (epoch 1" in json.loads((tmp_path / "example.json").read_text())["weights"]


def test_an_interrupted_run_goes_on_to_the_bit(trained, tmp_path, monkeypatch, capsys):
    step = Trainer.train_step

    def interrupted(self, batch):
        if self.step == 3:  # in the middle of epoch 1
            raise KeyboardInterrupt
        return step(self, batch)

    command = [*TINY, *trained.data, *output_in(tmp_path), "--exp", "again"]
    folder = tmp_path / "again"
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", interrupted)
        assert run(train, *command) == 130
    assert capsys.readouterr().err.endswith("stopped\n")
    assert run(train, *command) == 2  # there is a snapshot, and nothing said to continue
    assert "--continue" in capsys.readouterr().err
    assert (folder / "log.txt").read_text().endswith(" stopped\n")
    # the snapshot knows every setting: only where the run lies is said again
    assert run(train, "--gpu", "cpu", *output_in(tmp_path), "--exp", "again", "--continue") == 0
    ours, theirs = (load_snapshot(snapshot_path(f / "model_dump", 1)) for f in (folder, trained.folder))
    for key in ("network", "optimizer", "step", "best", "random"):
        torch.testing.assert_close(ours[key], theirs[key], rtol=0, atol=0)
    assert lines(folder) == lines(trained.folder)  # the same seed, the same losses
    shutil.rmtree(folder)


def test_numbers_that_are_none_stop_the_run(tmp_path, capsys):
    assert run(train, *TINY, *output_in(tmp_path), "--set", "train.lr=1e30") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: the loss ") and "verts" in error and "at step 1" in error
    assert (tmp_path / "lgnet" / "log.txt").read_text().splitlines()[-1].endswith(error)
    assert "samples synthetic/0/000002, synthetic/0/000003:" in error


def test_a_full_disk_leaves_the_last_good_snapshot(tmp_path, monkeypatch, capsys):
    save, count = torch.save, iter(range(9))

    def full(value, file):
        if next(count) == 1:
            file.write(b"a part")
            raise OSError(28, "No space left on device")
        save(value, file)

    monkeypatch.setattr(torch, "save", full)
    assert run(train, *TINY, *output_in(tmp_path), "--exp", "full") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: cannot write") and "No space left" in error
    assert [path.name for path in (tmp_path / "full" / "model_dump").iterdir()] == ["snapshot_0.pth"]
    assert load_snapshot(tmp_path / "full" / "model_dump" / "snapshot_0.pth")["last_epoch"] == 0
    shutil.rmtree(tmp_path / "full")


# ---- several processes ----


def test_two_processes_train_and_so_they_do_under_torchrun(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "parse_devices", lambda text: CPUS)
    command = [*TINY, *settings(synthetic_train=8, epochs=1), *output_in(tmp_path), "--exp", "two"]
    assert run(train, *command) == 0
    snapshot = load_snapshot(tmp_path / "two" / "model_dump" / "snapshot_0.pth")
    assert snapshot["step"] == 2 and not any(key.startswith("module.") for key in snapshot["network"])
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command[-1] = "other"
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*torchrun, cli.ROOT / "main" / "train.py", *command], capture_output=True, text=True, env=env
    )
    assert done.returncode == 0, done.stderr
    other = load_snapshot(tmp_path / "other" / "model_dump" / "snapshot_0.pth")
    for key in ("network", "optimizer"):
        torch.testing.assert_close(other[key], snapshot[key], rtol=0, atol=0)
    assert lines(tmp_path / "other") == lines(tmp_path / "two")
    shutil.rmtree(tmp_path / "other")
    shutil.rmtree(tmp_path / "two")


def same_numbers(one: dict, two: dict, tolerance: float) -> None:
    one, two = Results.from_plain(one), Results.from_plain(two)
    assert two.frames == one.frames and two.samples == one.samples
    for name, scores in {**one.protocols, "shared": one.shared}.items():
        others = two.shared if name == "shared" else two.protocols[name]
        assert others.keys() == scores.keys()
        for key, (value, n) in scores.items():
            expected = value if value is None else pytest.approx(value, rel=1e-4, abs=tolerance)
            assert others[key] == (expected, n), f"{name} {key}"


@INTERHAND
def test_two_processes_and_a_file_measure_what_one_process_does(trained, tmp_path, monkeypatch, capfd):
    where = [*output_in(trained.folder.parent), "--exp", trained.folder.name]
    command = ["--test_epoch", 1, *where, *trained.data, *settings(test__penetration=1)]
    assert run(test, *command, "--save_predictions", tmp_path / "one.npz") == 0
    one = metrics_of(capfd.readouterr().out)
    with monkeypatch.context() as patch:
        patch.setattr(test, "parse_devices", lambda text: CPUS)
        assert run(test, *command, "--save_predictions", tmp_path / "two.npz") == 0
    two = metrics_of(capfd.readouterr().out)
    assert two["about"]["device"] == "2 x cpu"
    same_numbers(one, two, 1e-3)  # the network's own rounding in other batches
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.npz", "two.npz"]
    for size, gpu in ((1, "cpu"), (3, "cpu,cpu")):
        data = [*trained.data, *settings(test__batch_size=size, test__penetration=1), "--gpu", gpu]
        assert run(test, "--predictions", tmp_path / "one.npz", *data, *output_in(tmp_path)) == 0
        same_numbers(one, metrics_of(capfd.readouterr().out), 1e-4)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_shares_of_the_synthetic_test_set(hands, monkeypatch, world):
    config = override(Config(), ["synthetic_test=5", "test.batch_size=2"])
    monkeypatch.setattr(build, "world_size", lambda: world)
    ids = []
    for process in range(world):
        monkeypatch.setattr(build, "rank", lambda process=process: process)
        share = build.test_data(config, hands, print)
        batches = [batch["id"] for batch in share]
        assert len(batches) == len(share)
        ids += sum(batches, [])
    assert sorted(ids) == [f"synthetic/v2/{i:06d}" for i in range(5)]


@SYNTHETIC
def test_an_error_in_a_process_is_one_sentence(trained, monkeypatch, capfd):
    monkeypatch.setattr(test, "parse_devices", lambda text: CPUS)
    where = [*output_in(trained.folder.parent), "--exp", trained.folder.name]
    missing = settings(interhand_anno_dir="/none", interhand_images_path="/none")
    assert run(test, "--test_epoch", 1, *where, *missing) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1 and error.startswith("error: interhand_anno_dir: /none holds no")


def failing(device: torch.device, error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileNotFoundError(2, "No such file", "/gone"), "/gone: No such file"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "train.batch_size"),
    ],
)
def test_files_and_memory_are_explained_in_every_process(error, words, capfd, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    for devices in (CPUS[:1], CPUS):
        with pytest.raises(SystemExit, match="2"):
            run_script(lambda devices=devices: launch(failing, devices, error))
        told = capfd.readouterr().err
        assert told.startswith("error: ") and words in told and told.count("\n") == 1
        details = told.rpartition("details: ")[2].rstrip(")\n")
        assert "in failing" in Path(details).read_text() and Path(details).parent == tmp_path


# ---- as a user types it ----


@SYNTHETIC
def test_from_another_folder_by_full_path(trained, tmp_path):
    weights = snapshot_path(trained.folder / "model_dump", 1)
    command = [sys.executable, cli.ROOT / "main" / "demo.py", "--gpu", "cpu", "--output", "here"]
    done = subprocess.run([*command, "--checkpoint", weights], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "here" / "example_overlay.png").is_file()


@SYNTHETIC
def test_from_main(trained):
    command = [sys.executable, "test.py", "--gpu", "cpu", "--exp", trained.folder.name, "--test_epoch", "7"]
    command += output_in(trained.folder.parent)
    done = subprocess.run(command, cwd=cli.ROOT / "main", capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    assert "no snapshot of epoch 7" in done.stderr and "there are: 0, 1" in done.stderr
