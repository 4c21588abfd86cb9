"""The command lines of the scripts: common options, and the folder of a run."""

import argparse
from pathlib import Path

from common.eval.protocols import ON_REQUEST, PROTOCOLS
from common.utils.errors import UserError
from main.config import Config

ROOT = Path(__file__).resolve().parents[1]


def parser(description: str) -> argparse.ArgumentParser:
    """The options common to all scripts."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--gpu", metavar="0,1 | 0-3 | cpu", help="default: the first GPU, else the CPU")
    options.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="settings",
        help="change a setting of main/config.py; repeat for more",
    )
    return options


def add_protocol(options: argparse.ArgumentParser) -> None:
    """Which numbers a test gives."""
    names = ", ".join(PROTOCOLS | ON_REQUEST)
    options.add_argument("--protocol", default="all", help=f"all (default) or some of {names}, with commas")


def run_folder(config: Config, experiment: str) -> Path:
    """output/<exp>, from the repository root unless output_dir is absolute."""
    if Path(experiment).name != experiment or experiment in ("", ".", ".."):
        raise UserError(f"--exp {experiment}: give a plain folder name")
    return ROOT / config.paths.output_dir / experiment
