"""What a run leaves when it stops: snapshots that are whole, the newest readable one, going on to the bit."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from common.base import Trainer
from common.training.snapshots import Snapshots
from common.utils import checkpoint
from common.utils.checkpoint import (
    load_snapshot,
    newest_readable,
    require_whole,
    save_snapshot,
    snapshot_epochs,
    snapshot_path,
    snapshots,
)
from common.utils.dist import launch, rank, world_size
from common.utils.errors import UserError
from common.utils.interrupt import StopRequest, deaf_workers
from data.loader import RepeatedBatches
from data.Synthetic.stream import SyntheticStream
from main import cli, train
from tests.scripts import TINY, output_in, run, settings
from tests.tiny_trainer import tiny_trainer

CPUS = [torch.device("cpu")] * 2
GOOD = {"network": {"w": torch.arange(1000.0)}, "config": {"model": {"name": "lgnet"}}}
STATE = ("network", "live", "optimizer", "step", "epoch", "batch", "best", "random")
STEPS = 4  # of the one epoch of `whole_and_half`


def same_to_the_bit(one: Path, two: Path) -> None:
    ours, theirs = load_snapshot(one), load_snapshot(two)
    for key in STATE:
        torch.testing.assert_close(ours[key], theirs[key], rtol=0, atol=0)
    assert ours["epoch_so_far"]["sums"] == theirs["epoch_so_far"]["sums"]


# ---- files ----


def test_order_of_snapshots(tmp_path):
    for place in [(1, None), (0, None), (2, 10), (1, 5), (2, 9)]:
        snapshot_path(tmp_path, *place).touch()
    (tmp_path / "snapshot_3_batch_.pth").touch()
    (tmp_path / "snapshot_3.pth.partial").touch()
    assert snapshots(tmp_path) == [(0, None), (1, 5), (1, None), (2, 9), (2, 10)]
    assert snapshot_epochs(tmp_path) == [0, 1]


def test_the_newest_readable_one_is_used(tmp_path):
    for place in [(0, None), (1, 3), (1, 6), (1, None)]:
        save_snapshot(GOOD, snapshot_path(tmp_path, *place))
    cut, flipped = snapshot_path(tmp_path, 1), snapshot_path(tmp_path, 1, 6)
    cut.write_bytes(cut.read_bytes()[:-100])
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 1  # among the weights
    flipped.write_bytes(content)
    said = []
    assert newest_readable(tmp_path, said.append) == snapshot_path(tmp_path, 1, 3)
    assert len(said) == 2 and f"skipped: {cut}: it is damaged" in said[0]
    assert f"skipped: {flipped}: it is damaged" in said[1]
    for place in [(0, None), (1, 3)]:
        snapshot_path(tmp_path, *place).write_bytes(b"")
    with pytest.raises(UserError, match="snapshot_1.pth: it is damaged"):
        newest_readable(tmp_path, said.append)
    assert newest_readable(tmp_path / "none", print) is None


def test_what_was_written_is_read_back(tmp_path, monkeypatch):
    path = tmp_path / "snapshot_0.pth"
    save_snapshot(GOOD, path)
    before, save = path.read_bytes(), torch.save

    def lossy(value, file):
        save(value, file)
        file.truncate(1000)

    monkeypatch.setattr(checkpoint.torch, "save", lossy)
    with pytest.raises(UserError, match="cannot write .*snapshot_0.pth: it is damaged"):
        save_snapshot({**GOOD, "step": 7}, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_the_last_and_the_best_are_kept(tmp_path):
    kept = Snapshots(tmp_path, minutes=0, keep=2)
    for epoch, best in enumerate([0, 1, 1, 1, 1]):
        for batches in (3, 6, 9):
            kept.write(GOOD, epoch, batches, best)
        inside = [batches for _, batches in snapshots(tmp_path) if batches is not None]
        assert inside == [6, 9]
        (tmp_path / "snapshot_9.pth.partial").touch()  # left by a process that was killed
        kept.write(GOOD, epoch, None, best)
        require_whole(snapshot_path(tmp_path, epoch))
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"snapshot_{i}.pth" for i in (1, 3, 4)]


def test_snapshots_by_the_clock(tmp_path):
    now = [0.0]
    timed = Snapshots(tmp_path, minutes=2, keep=1, clock=lambda: now[0])
    now[0] = 119
    assert not timed.due()
    now[0] = 120
    assert timed.due()
    timed.write(GOOD, 0, 5, None)
    assert not timed.due()
    assert not Snapshots(tmp_path, minutes=0, keep=1, clock=lambda: now[0]).due()


# ---- 2 N steps are N steps, and N steps ----


class AfterTwoSteps(Snapshots):
    """One inside the epoch, which stays."""

    calls = 0

    def due(self) -> bool:
        self.calls += 1
        return self.calls == 2

    def prune(self, best):
        pass


def train_on(device: torch.device, folder: Path, start: Path | None) -> None:
    """Four steps of batches that depend on their number alone, from the start or from a snapshot."""
    trainer = tiny_trainer(device, ema=0.5, log_every=3, picture_every=99, lr=1e-3)
    stream = SyntheticStream(
        trainer.plain_step.mano, 2, 1, 2 * STEPS * world_size(), rank=rank(), world=world_size()
    )
    trainer.loader = stream
    trainer.factor = lambda step: 1 / (1 + step)
    if start is not None:
        trainer.load_state_dict(load_snapshot(start))
        assert trainer.batch == 2
    assert trainer.fit(AfterTwoSteps(folder, 1, 1), {"config": {"model": {}}})


@pytest.mark.parametrize("devices", [CPUS[:1], CPUS])
def test_a_restart_inside_an_epoch_changes_no_bit(tmp_path, devices):
    whole, rest = tmp_path / "whole", tmp_path / "rest"
    launch(train_on, devices, whole, None)
    assert snapshots(whole) == [(0, 2), (0, None)]
    launch(train_on, devices, rest, snapshot_path(whole, 0, 2))
    assert snapshots(rest) == [(0, None)]
    same_to_the_bit(snapshot_path(rest, 0), snapshot_path(whole, 0))


def test_repeated_batches_resume():
    batches = RepeatedBatches("abc", repeats=2)
    batches.set_epoch(5, 4)
    assert "".join(batches) == "bc" and len(batches) == 6
    batches.set_epoch(6)
    assert "".join(batches) == "abcabc"


# ---- signals ----


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_between_two_steps(tmp_path, monkeypatch, capsys, number, code):
    step = Trainer.train_step

    def interrupted(self, batch):
        if self.step == 2:
            os.kill(os.getpid(), number)
        step(self, batch)

    longer = settings(epochs=1, synthetic_train=8)
    command = [*TINY, *longer, *output_in(tmp_path), "--exp", "run"]
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", interrupted)
        assert run(train, *command) == code
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("stopped at step 3; go on from snapshot_0_batch_3.pth with: python ")
    assert last.endswith("--exp run --continue")
    assert (tmp_path / "run" / "log.txt").read_text().endswith(f"{last}\n")
    dump = tmp_path / "run" / "model_dump"
    assert snapshots(dump) == [(0, 3)]
    newer = snapshot_path(dump, 0, 4)
    newer.write_bytes(b"cut short")
    assert run(train, *command, "--continue") == 0
    assert f"skipped: {newer}: it is damaged" in capsys.readouterr().out
    assert newer.with_suffix(".damaged").exists() and not newer.exists()
    assert run(train, *TINY, *longer, *output_in(tmp_path), "--exp", "whole") == 0
    same_to_the_bit(snapshot_path(dump, 0), snapshot_path(tmp_path / "whole" / "model_dump", 0))
    shutil.rmtree(tmp_path)


def test_the_second_signal_acts_as_ever():
    with StopRequest() as request:
        os.kill(os.getpid(), signal.SIGINT)
        assert request.number == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
    with StopRequest(patient=True) as request:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        assert request.number == signal.SIGTERM


def hears(batches):
    """A process says whether it hears of Ctrl-C, then come the batches."""
    program = "import signal; print(signal.getsignal(signal.SIGINT) != signal.SIG_IGN)"
    yield subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip()
    yield from batches


class StartsAtOnce:
    """A loader whose processes start before it is asked for a batch."""

    def __iter__(self):
        return iter(list(hears([1, 2])))


@pytest.mark.parametrize("loader", [hears([1, 2]), StartsAtOnce()])
def test_loader_processes_do_not_hear_of_ctrl_c(loader):
    assert list(deaf_workers(loader)) == ["False", 1, 2]
    assert list(deaf_workers([])) == []
    assert signal.getsignal(signal.SIGINT) != signal.SIG_IGN


def test_two_processes_end_together(tmp_path):
    """The signal reaches the process that started them; each of them hears of it within a step."""
    long = settings(epochs=99, synthetic_train=400, log_every=999, picture_every=999)
    command = [sys.executable, cli.ROOT / "main" / "train.py", *TINY, *long, *output_in(tmp_path)]
    command += ["--gpu", "cpu,cpu", "--exp", "two", "--snapshot_minutes", "0.00001"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    dump = tmp_path / "two" / "model_dump"
    with subprocess.Popen(command, env=env, stdout=-1, stderr=-3, text=True) as process:
        end = time.monotonic() + 120
        while not snapshots(dump) and time.monotonic() < end and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        printed = process.communicate(timeout=60)[0]
    assert process.returncode == 143, printed
    last = printed.splitlines()[-1]
    epoch, batches = snapshots(dump)[-1]
    assert last.startswith(
        f"stopped at step {batches}; go on from snapshot_{epoch}_batch_{batches}.pth with: python "
    )
    assert newest_readable(dump, print) == snapshot_path(dump, epoch, batches)
