"""The command lines of the scripts: common options, paths of this machine, and the folder of a run."""

import argparse
import os
from pathlib import Path

from common.eval.protocols import ON_REQUEST, PROTOCOLS
from common.utils.errors import UserError
from main.config import Config, Paths, override

ROOT = Path(__file__).resolve().parents[1]
LOCAL_PATHS = "local_paths.txt"  # in the repository root, ignored by git
LOCAL_PATHS_VARIABLE = "LGNET_PATHS"  # environment: another such file


def parser(description: str) -> argparse.ArgumentParser:
    """The options common to all scripts; `settings` starts with the paths of this machine."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--gpu", metavar="0,1 | 0-3 | cpu", help="default: the first GPU, else the CPU")
    options.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=local_settings(),  # what is typed comes behind it, and so wins
        dest="settings",
        help=f"change a setting of main/config.py; repeat for more; {LOCAL_PATHS} keeps paths for good",
    )
    return options


def add_protocol(options: argparse.ArgumentParser) -> None:
    """Which numbers a test gives."""
    names = ", ".join(PROTOCOLS | ON_REQUEST)
    options.add_argument("--protocol", default="all", help=f"all (default) or some of {names}, with commas")


def local_paths_file() -> Path:
    return Path(os.environ.get(LOCAL_PATHS_VARIABLE) or ROOT / LOCAL_PATHS)


def local_settings() -> list[str]:
    """The lines `key = value` of this machine's file as `--set` settings; none without the file.

    Keys are those of Paths, `#` starts a comment line, relative paths count from the repository root.
    """
    file = local_paths_file()
    if not file.exists() and not os.environ.get(LOCAL_PATHS_VARIABLE):
        return []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the paths in {file}: {error}") from None
    settings = []
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            settings.append(_local_setting(line, f"{file}, line {number}"))
    return settings


def _local_setting(line: str, place: str) -> str:
    """`key = value` -> `paths.key=/absolute/value`."""
    key, equals, value = (part.strip() for part in line.partition("="))
    if not equals or not value:
        raise UserError(f"{place}: write it as key = value")
    if key not in vars(Paths()):
        raise UserError(f"{place}: unknown path '{key}'; there are {', '.join(vars(Paths()))}")
    return f"paths.{key}={ROOT / Path(value).expanduser()}"


def describe_local_paths(config: Config) -> str:
    """Which paths of a configuration this machine's file gave, to end a line with; "" if none."""
    local = override(Config(), local_settings()).paths
    used = [
        key
        for key, value in vars(local).items()
        if value != getattr(Paths(), key) and value == getattr(config.paths, key)
    ]
    return f"; {', '.join(used)} from {local_paths_file()}" if used else ""


def run_folder(config: Config, experiment: str) -> Path:
    """output/<exp>, from the repository root unless output_dir is absolute."""
    if Path(experiment).name != experiment or experiment in ("", ".", ".."):
        raise UserError(f"--exp {experiment}: give a plain folder name")
    return ROOT / config.paths.output_dir / experiment
