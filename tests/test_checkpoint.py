"""Snapshots: whole or not at all, plain data or refused."""

import pickle

import pytest
import torch

from common.utils.checkpoint import half_precision, load_snapshot, save_snapshot, snapshot_epochs
from common.utils.errors import UserError

GOOD = {"network": {"w": torch.arange(3.0)}, "config": {"model": {"name": "lgnet"}}}


class Hostile:
    """Writes a file when unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_round_trip_and_listing(tmp_path):
    for epoch in (10, 2):
        save_snapshot(GOOD, tmp_path / f"snapshot_{epoch}.pth")
    (tmp_path / "snapshot_3.pth.partial").write_bytes(b"half")
    assert snapshot_epochs(tmp_path) == [2, 10]
    torch.testing.assert_close(load_snapshot(tmp_path / "snapshot_2.pth")["network"], GOOD["network"])


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "snapshot_0.pth"
    save_snapshot(GOOD, path)
    before = path.read_bytes()

    def full_disk(value, file):
        file.write(b"some bytes")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(UserError, match="No space left"):
        save_snapshot(GOOD, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("save", [torch.save, lambda v, p: p.write_bytes(pickle.dumps(v))])
def test_hostile_snapshot_runs_nothing(tmp_path, save):
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    save({"network": Hostile(trace), "config": {}}, path)
    with pytest.raises(UserError, match="nothing of it was run|not a readable snapshot"):
        load_snapshot(path)
    assert not trace.exists()


def test_damaged_missing_and_foreign_files(tmp_path):
    whole = tmp_path / "whole.pth"
    save_snapshot(GOOD, whole)
    cut = tmp_path / "cut.pth"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    foreign = tmp_path / "foreign.pth"
    torch.save({"state_dict": {}}, foreign)
    empty = tmp_path / "empty.pth"
    empty.touch()
    for path, words in (
        (cut, "not a readable"),
        (foreign, "no network"),
        (empty, "not a readable"),
        (tmp_path / "none.pth", "no such file"),
        (tmp_path, "not a readable"),
    ):
        with pytest.raises(UserError, match=words):
            load_snapshot(path)


def test_half_precision_keeps_counters():
    halved = half_precision({"w": torch.ones(2), "n": torch.tensor(3)})
    assert halved["w"].dtype == torch.float16 and halved["n"].dtype == torch.int64
