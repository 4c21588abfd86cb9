"""Train and test several networks under one budget; table.md in output/<exp>/.

python tool/ablation/ablate.py lgnet eanet prenorm=lgnet+attention=prenorm --budget 4096 --lr 1e-3 --seeds 0,1

All see the same synthetic pictures in the same batches. Killed at any moment, the same command goes on.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from common.hand.mano import ManoLayer, load_mano
from common.nets.costs import multiply_adds, parameters
from common.utils.checkpoint import snapshot_epochs, snapshot_path, snapshots
from common.utils.dist import parse_devices
from common.utils.errors import UserError, run_script
from common.utils.geometry import IMAGE_SIZE
from common.utils.timing import seconds_each
from main import build, cli
from main.config import Config
from main.model import build_model
from tool.ablation.runs import Run, complete, parse_budget, parse_runs, require_new_or_same
from tool.ablation.table import write_table

FORWARDS = 30  # timed, of each network


def parse_args() -> argparse.Namespace:
    options = cli.parser(__doc__.splitlines()[0])
    options.add_argument("runs", nargs="+", metavar="RUN", help="preset, or label=preset+key=value+...")
    options.add_argument("--budget", help="pictures that each run sees, like 4096")
    options.add_argument("--lr", help="one or several with commas; the best counts (default: the run's own)")
    options.add_argument("--seeds", default="0", help="with commas; the table gives mean and spread")
    options.add_argument("--exp", default="ablation", help="folder in output/ (default: ablation)")
    options.add_argument("--jobs", type=int, default=1, help="runs side by side; they share the cores")
    options.add_argument("--keep", action="store_true", help="keep the last snapshot of each run")
    return options.parse_args()


def main() -> None:
    args = parse_args()
    if args.jobs < 1:
        raise UserError("--jobs is 1 or more")
    pictures = parse_budget(args.budget)
    networks = parse_runs(args.runs, args.settings, args.lr is not None)
    folder = cli.run_folder(networks[0].config, args.exp)
    devices = parse_devices(args.gpu)
    if args.jobs > 1:
        threads = max(1, (os.cpu_count() or 1) // args.jobs)
        os.environ["OMP_NUM_THREADS"] = str(threads)
    runs = []
    for seed in args.seeds.split(","):  # one seed of all networks, then the next
        for network in networks:
            rates = args.lr.split(",") if args.lr else [str(network.config.train.lr)]
            for lr in rates:
                runs.append(complete(network, pictures, len(devices), lr, seed, folder))
    require_new_or_same(runs)
    mano = load_mano(networks[0].config.paths.smplx_path)
    costs = {network.label: network_costs(network, mano, devices[0]) for network in networks}
    torch.cuda.empty_cache()  # the device is for the runs
    head = describe(networks[0].config, args, mano)

    def table(failed: dict[Run, str]) -> str:
        return write_table(runs, failed, costs, head, folder)

    failed = run_all(runs, args, table)
    print("\n" + table(failed))
    print(f"results: {folder / 'table.md'}")
    if failed:
        sys.exit(1)


def is_path(setting: str, config: Config) -> bool:
    """Whether a setting is a place on this machine, which the table does not tell."""
    key = setting.partition("=")[0].strip().removeprefix("paths.")
    return key in vars(config.paths)


def network_costs(run: Run, mano: ManoLayer, device: torch.device) -> list[str]:
    """Cells: parameters, multiply-adds, time of a forward; UserError for a setting not of this network."""
    settings = replace(run.config.model, backbone_weights="none")
    model = build_model(settings, mano).to(device)
    image = torch.rand(1, 3, IMAGE_SIZE, IMAGE_SIZE, device=device)
    macs = multiply_adds(model, image)[""]
    with torch.inference_mode():
        seconds = seconds_each({"": partial(model, image)}, device, FORWARDS)[""]
    return [f"{parameters(model) / 1e6:.2f}", f"{macs / 1e9:.2f}", f"{1000 * seconds.median:.0f}"]


def run_all(
    runs: list[Run], args: argparse.Namespace, progress: Callable[[dict[Run, str]], Any]
) -> dict[Run, str]:
    """What is not finished, `--jobs` at a time -> why runs failed; progress(failed) after each."""
    failed: dict[Run, str] = {}
    pool = ThreadPoolExecutor(args.jobs)
    try:
        unfinished = [run for run in runs if not run.finished()]
        futures = {pool.submit(train_and_test, run, args.gpu, args.keep): run for run in unfinished}
        for future in as_completed(futures):
            run, error = futures[future], future.result()
            if error:
                failed[run] = error
            say(f"{run.folder.name}: {error or 'finished'}")
            progress(failed)
    finally:
        pool.shutdown(cancel_futures=True)
    return failed


def train_and_test(run: Run, gpu: str | None, keep: bool) -> str:
    """Train what is missing, test, delete the snapshots -> "" or the last line of the error."""
    dump, train = run.folder / "model_dump", run.config.train
    say(f"{run.folder.name}: {run.pictures} pictures, log: {run.folder / 'ablate.log'}")
    common = ["--exp", run.folder.name]
    if gpu:
        common += ["--gpu", gpu]
    epochs, last = snapshot_epochs(dump), train.epochs - 1
    if last not in epochs:
        options = ["--preset", run.preset, *as_options(run.settings)]
        if snapshots(dump):
            options.append("--continue")
        if error := call(run, "train.py", *common, *options):
            return error
    data = test_settings(run.config)
    if error := call(run, "test.py", *common, "--test_epoch", str(last), *as_options(data)):
        return error
    if not keep:
        shutil.rmtree(dump)
    return ""


def test_settings(config: Config) -> list[str]:
    """All that a test may be told: it takes the network alone from the snapshot."""
    values = config.to_dict()
    settings = []
    for section in build.TEST_SECTIONS:
        for key, value in values[section].items():
            if key not in build.DRAWN:
                settings.append(f"{section}.{key}={value}")
    return settings


def say(text: str) -> None:
    """A whole line, whatever other threads say."""
    print(text + "\n", end="", flush=True)


def as_options(settings: Iterable[str]) -> list[str]:
    options = []
    for setting in settings:
        options += ["--set", setting]
    return options


def call(run: Run, script: str, *arguments: str) -> str:
    """Run a script of main/ -> "" or the last line it printed. Its output goes through a pipe, so that it
    ends soon after this process, however that ended."""
    run.folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(cli.ROOT / "main" / script), *arguments]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    last = "it printed nothing"
    with (
        open(run.folder / "ablate.log", "a", buffering=1, encoding="utf-8") as log,
        subprocess.Popen(command, **pipe) as process,
    ):
        for line in process.stdout:
            last = line.strip() or last
            if line.strip() and "%|" not in line:  # no progress bars
                log.write(line)
            for epoch in snapshot_epochs(run.folder / "model_dump")[:-1]:  # some take gigabytes
                snapshot_path(run.folder / "model_dump", epoch).unlink()
    if process.returncode < 0:
        return f"killed by signal {-process.returncode}"
    return last if process.returncode else ""


def describe(config: Config, args: argparse.Namespace, mano: ManoLayer) -> list[str]:
    """What stands above the table."""
    devices = parse_devices(args.gpu)
    is_cuda = devices[0].type == "cuda"
    device = torch.cuda.get_device_name(devices[0]) if is_cuda else "CPU"
    shared = [f"`{setting}`" for setting in args.settings if not is_path(setting, config)]
    return [
        f"- data: synthetic two-hand pictures, {config.data.synthetic_test} fixed ones to test on; hand "
        f"model: {mano.name}",
        f"- budget: {args.budget} pictures a run, batch {config.train.batch_size}",
        f"- machine: {len(devices)} x {device}, {os.cpu_count()} cores, {args.jobs} run(s) side by side",
        f"- forward: one picture, float32, median of {FORWARDS}, before the runs",
        "- runs: " + ", ".join(f"`{text}`" for text in args.runs),
        "- settings of all: " + (", ".join(shared) or "none"),
    ]


if __name__ == "__main__":
    run_script(main)
