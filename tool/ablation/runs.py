"""What an ablation's command line means: networks, the runs of each, and whether they compare."""

import json
import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from common.utils.errors import UserError
from main import build, cli
from main.config import Config, override
from main.presets import preset

# settings that options decide, those that the budget makes, and those that may differ when a run goes on
DECIDED = {"epochs": "--budget", "synthetic_train": "--budget", "overfit": "--budget", "seed": "--seeds"}
BUDGET = {"train.epochs", "data.synthetic_train"}
FREE = {"paths.output_dir", "data.workers", "train.log_every", "train.picture_every"}
PICTURES = ("paths.", "data.", "test.", "train.batch_size")  # keys that decide what a run sees
EPOCHS = (4, 5, 3, 6, 7, 2)  # into how many parts a budget is cut, the best first


@dataclass(frozen=True)
class Run:
    """A network and its settings; complete with learning rate, seed and budget it has a folder of its own."""

    label: str
    preset: str
    settings: tuple[str, ...]

    @cached_property
    def config(self) -> Config:
        return override(preset(self.preset), list(self.settings), prefer="train")

    @cached_property
    def folder(self) -> Path:
        train = self.config.train
        return cli.run_folder(self.config, f"{self.label}_lr{train.lr:g}_seed{train.seed}")

    @property
    def pictures(self) -> int:
        """How many it sees in training."""
        return self.config.train.epochs * self.config.data.synthetic_train

    @property
    def results(self) -> Path:
        """Where test.py writes those of the last epoch."""
        return self.folder / "result" / f"epoch_{self.config.train.epochs - 1}_synthetic"

    def finished(self) -> bool:
        """report.html is what a test writes last."""
        return (self.results / "metrics.json").exists() and (self.results / "report.html").exists()


def parse_budget(text: str | None) -> int:
    """Pictures that each run sees."""
    if text is None or not text.isdecimal() or int(text) == 0:
        raise UserError(f"--budget {text or 'is missing'}: give the number of pictures of a run, like 4096")
    return int(text)


def parse_runs(texts: list[str], common: list[str], lr_given: bool) -> list[Run]:
    """The networks; UserError where they would not compare: equal labels or networks, other pictures."""
    networks = [parse_run(text, common) for text in texts]
    decided = DECIDED | ({"lr": "--lr"} if lr_given else {})
    for network in networks:
        for setting in network.settings:
            key = setting.partition("=")[0].strip().rpartition(".")[2]
            if key in decided:
                raise UserError(f"{setting}: {decided[key]} decides it, leave it out")
    if build.uses_real_data(networks[0].config):
        raise UserError(
            "ablate.py trains on the synthetic stream: --set interhand_anno_dir=none "
            "--set interhand_images_path=none"
        )
    for index, network in enumerate(networks):
        for other in networks[:index]:
            require_comparable(other, network)
    return networks


def parse_run(text: str, common: list[str]) -> Run:
    """`preset` or `label=preset+key=value+...`; the common settings come before its own."""
    head, *settings = text.split("+")
    label, named, name = head.partition("=")
    if not re.fullmatch(r"[\w.-]+", label) or (settings and not named):
        raise UserError(f"run '{text}': write a preset, or label=preset+key=value with a plain word as label")
    return Run(label, name if named else label, (*common, *settings))


def require_comparable(one: Run, other: Run) -> None:
    """UserError for equal labels, equal networks, or networks that would see other pictures."""
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
    changed = {}
    for section, values in one.items():
        for key, value in values.items():
            other_value = other.get(section, {}).get(key)
            if value != other_value and f"{section}.{key}" not in free:
                changed[f"{section}.{key}"] = (value, other_value)
    return changed


def schedule(pictures: int, batch: int) -> tuple[int, int]:
    """Epochs and pictures of each: the budget in whole batches, in parts, so that a stop loses little."""
    steps = max(1, round(pictures / batch))
    even = [epochs for epochs in EPOCHS if steps % epochs == 0]
    epochs = even[0] if even else min(EPOCHS[0], steps)
    return epochs, round(steps / epochs) * batch


def complete(run: Run, pictures: int, world: int, lr: str, seed: str, folder: Path) -> Run:
    """The run with all that the options decide."""
    epochs, samples = schedule(pictures, run.config.train.batch_size * world)
    decided = (
        f"train.lr={lr}",
        f"train.seed={seed}",
        f"train.epochs={epochs}",
        f"data.synthetic_train={samples}",
        f"paths.output_dir={folder}",
    )
    return replace(run, settings=(*run.settings, *decided))


def require_new_or_same(runs: list[Run]) -> None:
    """A folder that exists holds the same run; no two runs share one."""
    if len({run.folder for run in runs}) < len(runs):
        raise UserError("a learning rate or a seed is given twice")
    for run in runs:
        path = run.folder / "config.json"
        if not path.exists():
            continue
        before = json.loads(path.read_text())["config"]
        for key, (value, value_before) in differences(run.config.to_dict(), before, FREE).items():
            raise UserError(
                f"{run.folder} was made with {key}={value_before}, now it is {value}: use the same "
                "settings, or --exp NAME for a new table"
            )
