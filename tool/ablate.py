"""Train and test several networks under one budget; table.md and figures in output/<exp>/.

python tool/ablate.py lgnet eanet prenorm=lgnet+attention=prenorm --budget 4096 --lr 1e-3,3e-4 --seeds 0,1

All see the same synthetic pictures in the same batches. Killed at any moment, the same command goes on.
"""

import argparse
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from common.eval.protocols import LGNET
from common.hand.mano import load_mano
from common.show import plots
from common.show.report import Found, markdown, number
from common.targets import add_targets, to_device
from common.utils.checkpoint import snapshot_epochs, snapshot_path
from common.utils.dist import parse_devices
from common.utils.errors import UserError, run_script
from common.utils.files import write_bytes, write_json
from common.utils.geometry import IMAGE_SIZE
from common.utils.logger import RunLog
from main import build, cli
from main.config import Config, Model, override, preset
from main.model import build_model
from main.train import build_trainer
from tool.model_summary import forward_ms, multiply_adds, parameters

METRICS = ("MPJPE", "MPVPE", "PA_MPVPE", "MRRPE", "AUC", "joint_px", "IoU_both")
# settings that options decide, and those that may differ when a run goes on
DECIDED = {"epochs": "--budget", "synthetic_train": "--budget", "overfit": "--budget", "seed": "--seeds"}
FREE = {"paths.output_dir", "data.workers", "train.log_every", "train.picture_every"}
BUDGET = {"train.epochs", "data.synthetic_train"}
PICTURES = ("paths.", "data.", "test.", "train.batch_size")  # keys that decide what a run sees
PROBE_STEPS = 8  # of which the first few warm up
COSTS, FORWARDS = ("parameters, M", "multiply-adds, G", "forward, ms"), 30


@dataclass(frozen=True)
class Run:
    """A network and its settings; complete with learning rate, seed and budget it has a folder of its own."""

    label: str
    preset: str
    settings: tuple[str, ...]

    @cached_property
    def config(self) -> Config:
        return override(preset(self.preset), list(self.settings))

    @cached_property
    def folder(self) -> Path:
        train = self.config.train
        return cli.run_folder(self.config, f"{self.label}_lr{train.lr:g}_seed{train.seed}")

    def finished(self) -> bool:
        """report.html is what a test writes last."""
        return all((self.folder / "result" / name).exists() for name in ("metrics.json", "report.html"))


def main() -> None:
    options = cli.parser(__doc__.splitlines()[0])
    options.add_argument("runs", nargs="+", metavar="RUN", help="preset, or label=preset+key=value+...")
    options.add_argument("--budget", help="of each run: pictures (4096) or minutes of training (20m)")
    options.add_argument("--lr", help="one or several with commas; the best counts (default: the run's own)")
    options.add_argument("--seeds", default="0", help="with commas; the table gives mean and spread")
    options.add_argument("--exp", default="ablation", help="folder in output/ (default: ablation)")
    options.add_argument("--jobs", type=int, default=1, help="runs side by side; they share the cores")
    options.add_argument("--keep", action="store_true", help="keep the last snapshot of each run")
    args = options.parse_args()
    if args.jobs < 1:
        raise UserError("--jobs is 1 or more")
    pictures, minutes = parse_budget(args.budget)
    runs = parse_runs(args.runs, args.settings, args.lr is not None)
    if args.jobs > 1:
        os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // args.jobs))
    world = len(parse_devices(args.gpu))
    folder = cli.run_folder(runs[0].config, args.exp)
    jobs = []
    for run in runs:
        if minutes:
            pictures = 60 * minutes * world * measured_speed(run, args.gpu, folder)
        rates = args.lr.split(",") if args.lr else [str(run.config.train.lr)]
        jobs += [complete(run, pictures, world, lr, s, folder) for s in args.seeds.split(",") for lr in rates]
    jobs.sort(key=lambda run: run.config.train.seed)  # first one seed of all, then the next
    require_new_or_same(jobs)
    costs = network_costs(runs, args.gpu, folder)
    head = describe(runs[0].config, args)
    failed = run_all(jobs, args, lambda failed: report(jobs, failed, costs, head, folder))
    print("\n" + report(jobs, failed, costs, head, folder))
    print(f"results: {folder / 'table.md'}")
    if failed:
        sys.exit(1)


def parse_budget(text: str | None) -> tuple[float, float]:
    """Pictures or minutes, the other is 0: `4096` -> (4096, 0), `20m` -> (0, 20)."""
    match = re.fullmatch(r"(\d+)|(\d+(?:\.\d+)?)m", text or "")
    pictures, minutes = (float(part or 0) for part in match.groups()) if match else (0.0, 0.0)
    if not pictures + minutes:
        given = f"--budget {text}" if text else "--budget is missing"
        raise UserError(f"{given}: give pictures, like 4096, or minutes of training, like 20m")
    return pictures, minutes


def parse_runs(texts: list[str], common: list[str], lr_given: bool) -> list[Run]:
    """The runs; UserError where they would not compare: equal labels or networks, other pictures."""
    runs = [parse_run(text, common) for text in texts]
    decided = DECIDED | ({"lr": "--lr"} if lr_given else {})
    for setting in (setting for run in runs for setting in run.settings):
        key = setting.partition("=")[0].strip().rpartition(".")[2]
        if key in decided:
            raise UserError(f"{setting}: {decided[key]} decides it, leave it out")
    if build.uses_real_data(runs[0].config):
        raise UserError("ablate.py trains on the synthetic stream: leave interhand_anno_dir unset")
    for index, run in enumerate(runs):
        for other in runs[:index]:
            require_comparable(other, run)
    return runs


def parse_run(text: str, common: list[str]) -> Run:
    """`preset` or `label=preset+key=value+...`; the common settings come before its own."""
    head, *settings = text.split("+")
    label, named, name = head.partition("=")
    if not re.fullmatch(r"[\w.-]+", label) or (settings and not named):
        raise UserError(f"run '{text}': write a preset, or label=preset+key=value with a plain word as label")
    return Run(label, name if named else label, (*common, *settings))


def require_comparable(one: Run, other: Run) -> None:
    if one.label == other.label:
        raise UserError(f"two runs are called '{one.label}': give one another label, label=preset")
    changed = differences(one.config.to_dict(), other.config.to_dict(), BUDGET)
    if not changed:
        raise UserError(f"{one.label} and {other.label} have the same settings: leave one out")
    for key, (value, other_value) in changed.items():
        if key.startswith(PICTURES):
            raise UserError(
                f"{one.label} has {key}={value}, {other.label} {other_value}: they would not see the same "
                f"pictures; add --set {key}=... for all"
            )


def differences(one: dict, other: dict, free: set[str]) -> dict[str, tuple[Any, Any]]:
    """{section.key: both values} where two configurations differ; a key that `other` lacks is None."""
    pairs = {
        f"{part}.{key}": (value, other.get(part, {}).get(key))
        for part, values in one.items()
        for key, value in values.items()
    }
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1] and key not in free}


def schedule(pictures: float, batch: int) -> tuple[int, int]:
    """Epochs and pictures of each: the budget in whole batches, in about four parts, so that a stop
    loses little."""
    steps = max(1, round(pictures / batch))
    epochs = next((parts for parts in (4, 5, 3, 6, 7, 2) if steps % parts == 0), min(4, steps))
    return epochs, round(steps / epochs) * batch


def complete(run: Run, pictures: float, world: int, lr: str, seed: str, folder: Path) -> Run:
    """The run with all that the options decide."""
    epochs, samples = schedule(pictures, run.config.train.batch_size * world)
    budget = (f"train.epochs={epochs}", f"data.synthetic_train={samples}", f"paths.output_dir={folder}")
    return replace(run, settings=(*run.settings, f"train.lr={lr}", f"train.seed={seed}", *budget))


def require_new_or_same(runs: list[Run]) -> None:
    """A folder that exists holds the same run; no two runs share one."""
    if len({run.folder for run in runs}) < len(runs):
        raise UserError("a learning rate or a seed is given twice")
    for run in runs:
        path, now = run.folder / "config.json", run.config.to_dict()
        then = json.loads(path.read_text())["config"] if path.exists() else now
        for key, (value, before) in differences(now, then, FREE).items():
            raise UserError(
                f"{run.folder} was made with {key}={before}, now it is {value}: use the same settings, or "
                "--exp NAME for a new table"
            )


def network_costs(runs: list[Run], gpu: str | None, folder: Path) -> dict[str, list[str]]:
    """Cells by label: parameters, multiply-adds, time of a forward. Builds every network that is new here,
    which refuses settings it does not take."""
    device, mano = parse_devices(gpu)[0], load_mano(runs[0].config.paths.smplx_path)
    image = torch.rand(1, 3, IMAGE_SIZE, IMAGE_SIZE, device=device)

    def cells(settings: Model) -> list[str]:
        model = build_model(settings, mano).to(device)
        macs = multiply_adds(model, image)[""]
        time_ms = forward_ms({"": lambda: model(image)}, device, FORWARDS)[""]
        return [f"{parameters(model) / 1e6:.2f}", f"{macs / 1e9:.2f}", f"{time_ms:.0f}"]

    found = {}
    for run in runs:
        settings = replace(run.config.model, backbone_weights="none")
        about = {"model": vars(settings), "device": str(device)}
        found[run.label] = once(folder / f"cost_{run.label}.json", about, partial(cells, settings))
    torch.cuda.empty_cache()  # the device is for the runs
    return found


def once(path: Path, about: Any, measure: Callable[[], Any]) -> Any:
    """What is measured, or what was measured before under the same circumstances: kept beside the runs."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    if kept.get("about") != about:
        kept = {"about": about, "found": measure()}
        write_json(path, kept)
    return kept["found"]


def measured_speed(run: Run, gpu: str | None, folder: Path) -> float:
    """Pictures a second of this network's training on one device."""

    def measure() -> float:
        with multiprocessing.get_context("spawn").Pool(1) as pool:  # leaves no memory behind on the device
            return pool.apply(probe, (run.config, gpu))

    speed = once(folder / f"speed_{run.label}.json", run.config.to_dict(), measure)
    print(f"{run.label}: {speed:.2f} pictures/s in a probe of {PROBE_STEPS} steps")
    return speed


def probe(config: Config, gpu: str | None) -> float:
    """Pictures a second by the median of a few steps: a busy machine makes single ones slow."""
    device, samples = parse_devices(gpu)[0], PROBE_STEPS * config.train.batch_size
    model = replace(config.model, backbone_weights="none")
    config = replace(config, data=replace(config.data, synthetic_train=samples), model=model)
    mano = load_mano(config.paths.smplx_path).to(device)
    trainer = build_trainer(config, mano, device, RunLog(Path(), quiet=True))
    ends = []
    for batch in trainer.loader:
        trainer.train_step(add_targets(to_device(batch, device), mano))
        ends.append(time.perf_counter())
    return config.train.batch_size / median(end - start for start, end in pairwise(ends[2:]))


def run_all(
    runs: list[Run], args: argparse.Namespace, progress: Callable[[dict[Run, str]], Any]
) -> dict[Run, str]:
    """What is not finished, `--jobs` at a time -> why runs failed; progress(failed) after each."""
    failed: dict[Run, str] = {}
    with ThreadPoolExecutor(args.jobs) as pool:
        todo = [run for run in runs if not run.finished()]
        futures = {pool.submit(work, run, args.gpu, args.keep): run for run in todo}
        try:
            for future in as_completed(futures):
                if error := future.result():
                    failed[futures[future]] = error
                say(f"{futures[future].folder.name}: {error or 'finished'}")
                progress(failed)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return failed


def work(run: Run, gpu: str | None, keep: bool) -> str:
    """Train what is missing, test, delete the snapshots -> "" or the last line of the error."""
    dump, train = run.folder / "model_dump", run.config.train
    pictures = train.epochs * run.config.data.synthetic_train
    say(f"{run.folder.name}: {pictures} pictures, log: {run.folder / 'ablate.log'}")
    common = ["--exp", run.folder.name, *(["--gpu", gpu] if gpu else [])]
    epochs, last, error = snapshot_epochs(dump), train.epochs - 1, ""
    if last not in epochs:
        more = [*as_options(run.settings), *["--continue"] * bool(epochs)]
        error = call(run, "train.py", *common, "--preset", run.preset, *more)
    if not error:
        values = run.config.to_dict()  # a test takes the network alone from the snapshot
        data = []
        for section in build.TEST_SECTIONS:
            data += [f"{section}.{key}={value}" for key, value in values[section].items()]
        error = call(run, "test.py", *common, "--test_epoch", str(last), *as_options(data))
    if not error and not keep:
        shutil.rmtree(dump)
    return error


def say(text: str) -> None:
    """A whole line, whatever other threads say."""
    print(text + "\n", end="", flush=True)


def as_options(settings: Iterable[str]) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


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
    code = process.returncode
    return f"killed by signal {-code}" if code < 0 else last * bool(code)


def describe(config: Config, args: argparse.Namespace) -> list[str]:
    """What stands above the table."""
    devices, unit = parse_devices(args.gpu), "of training" if args.budget.endswith("m") else "pictures"
    cuda = devices[0].type == "cuda"
    device = f"{len(devices)} x {torch.cuda.get_device_name(devices[0]) if cuda else 'CPU'}"
    told = [text for text in args.settings if "output_dir" not in text]
    return [
        f"- data: synthetic two-hand pictures, {config.data.synthetic_test} fixed ones to test on; hand "
        f"model: {load_mano(config.paths.smplx_path).name}",
        f"- budget: {args.budget} {unit} a run, batch {config.train.batch_size}",
        f"- machine: {device}, {os.cpu_count()} cores, {args.jobs} run(s) side by side",
        "- runs: " + ", ".join(f"`{text}`" for text in args.runs),
        "- settings of all: " + (", ".join(f"`{text}`" for text in told) or "none"),
    ]


def report(
    runs: list[Run], failed: dict[Run, str], costs: dict[str, list[str]], head: list[str], folder: Path
) -> str:
    """Write table.md and the figures of what is finished; the table's text."""
    found = {
        run: json.loads((run.folder / "result/metrics.json").read_text()) for run in runs if run.finished()
    }
    units = {key: unit for result in found.values() for key, unit in result["units"].items()}
    metrics = [f"{key}, {units.get(key, 'mm')}" for key in METRICS]
    rows = [["run", *COSTS, "samples", "minutes", "lr", "seeds", *metrics, "state"]]
    results = {}
    for label, cost in costs.items():
        best = chosen([run for run in found if run.label == label], found)
        results[label] = [found[run] for run in best]
        own = [run for run in runs if run.label == label]
        samples = own[0].config.train.epochs * own[0].config.data.synthetic_train
        numbers = [cell(results[label], key) for key in METRICS]
        rows.append([label, *cost, str(samples), *facts(best), *numbers, state(own, found, failed)])
    commits = sorted({str(result["trained_at"]) for result in found.values()})
    caption = (
        f"*Forward: one picture, float32, median of {FORWARDS}, before the runs. "
        f"Protocol {LGNET.name}; samples: pictures seen; minutes: of training; lr: of those tried "
        f"({', '.join(dict.fromkeys(f'{run.config.train.lr:g}' for run in runs))}) the one with the lowest "
        "mean MPVPE on these test pictures; several seeds: mean (largest - smallest).*"
    )
    lines = [*head, f"- commit: {', '.join(commits) or '-'}", "", *markdown(rows), "", caption, ""]
    write_bytes(folder / "table.md", "\n".join(lines).encode())
    draw({label: own for label, own in results.items() if own}, folder)
    return "\n".join(lines)


def chosen(runs: list[Run], found: dict[Run, Found]) -> list[Run]:
    """The runs of the learning rate with the lowest mean MPVPE."""
    by_rate: dict[float, list[Run]] = {}
    for run in runs:
        by_rate.setdefault(run.config.train.lr, []).append(run)
    return min(by_rate.values(), key=lambda own: mean([found[run] for run in own], "MPVPE"), default=[])


def values(results: list[Found], key: str) -> list[float]:
    every = (result["protocols"][LGNET.name].get(key) for result in results)
    return [value for value in every if value is not None]


def mean(results: list[Found], key: str) -> float:
    return fmean(values(results, key) or [float("inf")])


def cell(results: list[Found], key: str) -> str:
    """Mean over the seeds with the spread."""
    known = values(results, key)
    if not known:
        return "-"
    unit = results[0]["units"].get(key, "mm")
    spread = f" ({number(max(known) - min(known), unit)})" if len(known) > 1 else ""
    return number(fmean(known), unit) + spread


def facts(runs: list[Run]) -> list[str]:
    """Minutes of training, learning rate and seeds of the chosen runs."""
    if not runs:
        return ["-"] * 3
    minutes = fmean(map(trained_minutes, runs))
    seeds = ", ".join(str(run.config.train.seed) for run in runs)
    return [f"{minutes:.1f}", f"{runs[0].config.train.lr:g}", seeds]


def trained_minutes(run: Run) -> float:
    """Sum over the epochs; of an epoch that was trained again the last time."""
    entries = map(json.loads, (run.folder / "metrics.jsonl").read_text().splitlines())
    return sum({entry["epoch"]: entry["seconds"] for entry in entries}.values()) / 60


def state(runs: list[Run], found: dict[Run, Found], failed: dict[Run, str]) -> str:
    """What is missing of a network, and why."""
    words = {run: f"failed: {failed[run][:200]}" if run in failed else "running" for run in runs}
    missing = [
        (run.folder.name.removeprefix(f"{run.label}_"), words[run]) for run in runs if run not in found
    ]
    return "; ".join(f"{name} {word}" if len(runs) > 1 else word for name, word in missing) or "finished"


def draw(results: dict[str, list[Found]], folder: Path) -> None:
    """PCK curves (of the first seed) and bars of MPJPE and MPVPE (means), as PNG and PDF."""
    if not results:
        return
    from matplotlib.figure import Figure

    curves = {label: own[0]["curves"][LGNET.name] for label, own in results.items()}
    plots.save_figure(plots.pck_figure(curves, published=False), folder / "pck")
    figure = Figure(figsize=(6.4, 1.2 + 0.45 * len(results)), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for key, color, shift in (("MPJPE", plots.COLORS[0], -0.2), ("MPVPE", plots.COLORS[1], 0.2)):
        means = [fmean(values(own, key) or [0.0]) for own in results.values()]
        bars = axes.barh([place + shift for place in range(len(means))], means, 0.38, label=key, color=color)
        axes.bar_label(bars, fmt="%.1f", fontsize=7)
    axes.set_yticks(range(len(results)), list(results))
    axes.set(xlabel="mm", ylim=(len(results) - 0.4, -0.6))  # the first at the top
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper right", ncols=2, fontsize=8)
    plots.save_figure(figure, folder / "errors")


if __name__ == "__main__":
    run_script(main)
