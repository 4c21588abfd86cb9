"""Processes of one run: they end with the one that started them, however it ended."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from common.utils.dist import torchrun_device
from common.utils.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = """
import signal, sys, time
from pathlib import Path
import torch
from common.utils.dist import launch, rank

def beat(device, folder):
    for count in range(600):
        (folder / str(rank())).write_text(str(count))
        time.sleep(0.1)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as behind `nohup ... &`, where torch's own way fails
    launch(beat, [torch.device("cpu")] * 2, Path(sys.argv[1]))
"""


def beats(folder: Path) -> list[str]:
    return [(folder / str(process)).read_text() for process in range(2)]


def test_processes_end_with_a_killed_parent(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, program, tmp_path], cwd=ROOT, env=env)
    try:
        wait_for(lambda: (tmp_path / "0").exists() and (tmp_path / "1").exists())
    finally:
        parent.kill()
    parent.wait()
    time.sleep(2)
    before = beats(tmp_path)
    time.sleep(1)
    assert beats(tmp_path) == before


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the processes did not start"
        time.sleep(0.1)


CPU = torch.device("cpu")
GPUS = [torch.device("cuda", i) for i in range(3)]
SECOND_OF_TWO = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
ADDRESS = {"MASTER_ADDR": "one", "MASTER_PORT": "1"}


def test_a_process_of_torchrun_takes_its_own_device():
    variables = {**SECOND_OF_TWO, **ADDRESS}
    assert torchrun_device(GPUS[:2], variables) == GPUS[1]
    assert torchrun_device([GPUS[2], GPUS[0]], variables) == GPUS[0]
    assert torchrun_device([CPU], variables) == torchrun_device([CPU, CPU], variables) == CPU


def test_gpu_may_not_contradict_torchrun():
    with pytest.raises(UserError, match="started 2 processes on this machine, but --gpu names 3 devices"):
        torchrun_device(GPUS, {**SECOND_OF_TWO, **ADDRESS})
    with pytest.raises(UserError, match="not MASTER_ADDR, MASTER_PORT: start the script with torchrun"):
        torchrun_device(GPUS[:2], SECOND_OF_TWO)
