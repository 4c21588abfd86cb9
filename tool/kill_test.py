"""Kill a tiny training at random moments, go on each time, and compare its end with an unbroken run's.

python tool/kill_test.py --kills 50 --gpu cpu

Every step leaves a snapshot, so that many kills fall into writing one. A run that reaches its end is compared
bit for bit, and another one begins, until there were so many kills. Exit code 1 if any bit differs.
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from common.utils.checkpoint import load_snapshot, snapshot_path, snapshots
from common.utils.errors import run_script
from main import train

EPOCHS, STEPS = 2, 6  # steps of an epoch
SETTINGS = {
    "model.backbone": "resnet18",
    "model.channels": 16,
    "model.sjt_blocks": 1,
    "model.refine_channels": 8,
    "train.epochs": EPOCHS,
    "train.batch_size": 2,
    "train.ema": 0.9,
    "train.log_every": 4,
    "train.picture_every": 1000,
}
COMPARED = ("network", "live", "optimizer", "epoch", "batch", "step", "best", "random")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--kills", type=int, default=50)
    options.add_argument(
        "--gpu", default="cpu", help="as train.py takes it: cpu, or cpu,cpu for two processes"
    )
    options.add_argument("--seed", type=int, default=0, help="of the moments")
    args = options.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kill_test_"))
    try:
        same = kill_runs(folder, args.gpu, args.kills, random.Random(args.seed))
    finally:
        shutil.rmtree(folder)
    sys.exit(0 if same else 1)


def kill_runs(folder: Path, gpu: str, kills: int, chance: random.Random) -> bool:
    """Run unbroken, then with so many kills -> whether every end was the same."""
    start = time.monotonic()
    finish(life(folder, gpu, "whole"), folder)
    seconds = time.monotonic() - start
    whole = what_it_left(folder / "whole")
    print(f"unbroken: {EPOCHS * STEPS} steps in {seconds:.1f} s; kills come within {seconds / 2:.1f} s")
    killed, rounds, writing, same = 0, 0, 0, True
    while killed < kills:
        name = f"round_{rounds}"
        process = life(folder, gpu, name)
        process.join(chance.uniform(0, seconds / 2))
        if process.exitcode is None:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            killed += 1
            in_writing = bool(list(folder.glob(f"{name}/model_dump/*.partial")))
            writing += in_writing
            print(f"kill {killed}: {state(folder / name)}{', while one was written' if in_writing else ''}")
        elif process.exitcode:
            fail(folder)
        if process.exitcode == 0 or killed == kills:
            finish(life(folder, gpu, name), folder)
            equal = differences(whole, what_it_left(folder / name))
            print(f"{name}: {'the same to the bit' if not equal else 'differs in ' + ', '.join(equal)}")
            same, rounds = same and not equal, rounds + 1
            shutil.rmtree(folder / name)
    print(f"{killed} kills, {writing} of them while a snapshot was written, in {rounds} runs: ", end="")
    print("all ended as the unbroken one, to the bit" if same else "NOT all ended as the unbroken one")
    return same


def life(folder: Path, gpu: str, name: str) -> BaseProcess:
    """A process that begins the run, or goes on with it."""
    arguments = ["--gpu", gpu, "--exp", name, "--snapshot_minutes", "0.00001"]
    processes = len(gpu.split(","))
    values = {**SETTINGS, "paths.output_dir": folder, "data.synthetic_train": 2 * STEPS * processes}
    for key, value in values.items():
        arguments += ["--set", f"{key}={value}"]
    if snapshots(folder / name / "model_dump"):
        arguments.append("--continue")
    # a fork has imported everything: kills fall into training, not into the start of an interpreter
    process = multiprocessing.get_context("fork").Process(target=train_here, args=(arguments, folder))
    process.start()
    return process


def train_here(arguments: list[str], folder: Path) -> None:
    """train.py in this process; what it prints goes to a file."""
    with open(folder / "printed.txt", "a", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    torch.set_num_threads(1)
    sys.argv = ["train.py", *arguments]
    run_script(train.main)


def finish(process: BaseProcess, folder: Path) -> None:
    """Let it run to its end."""
    process.join()
    if process.exitcode:
        fail(folder)


def fail(folder: Path) -> NoReturn:
    """A training ended by itself, with an error: the end of what it said."""
    sys.exit((folder / "printed.txt").read_text(encoding="utf-8")[-3000:])


def state(run: Path) -> str:
    """How far a run has come, in words."""
    found = snapshots(run / "model_dump")
    return f"newest snapshot {snapshot_path(run, *found[-1]).name}" if found else "no snapshot yet"


def what_it_left(run: Path) -> dict[str, Any]:
    """Of a finished run: the parts of its last snapshot, and metrics.jsonl without the times."""
    snapshot = load_snapshot(snapshot_path(run / "model_dump", EPOCHS - 1))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        del line["seconds"]
    return {**{key: snapshot[key] for key in COMPARED}, "metrics.jsonl": lines}


def differences(one: dict[str, Any], two: dict[str, Any]) -> list[str]:
    """The parts that are not equal to the bit."""
    return [key for key in one if not equal(one[key], two[key])]


def equal(one: Any, two: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return one.dtype == two.dtype and torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(equal(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(equal(a, b) for a, b in zip(one, two, strict=True))
    return one == two


if __name__ == "__main__":
    main()
