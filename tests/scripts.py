"""How the tests run the entry scripts in this process."""

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from common.utils.errors import run_script


def settings(**values: object) -> list[str]:
    return [part for key, value in values.items() for part in ("--set", f"{key.replace('__', '.')}={value}")]


NET = settings(backbone="resnet18", channels=16, sjt_blocks=1, refine_channels=8)
TINY = [*NET, *settings(train__batch_size=2, epochs=2, synthetic_train=4, picture_every=2), "--gpu", "cpu"]


@dataclass
class Run:
    """A finished run of two epochs of two steps, and the data settings it was given."""

    folder: Path
    data: list[str]


def output_in(folder: Path) -> list[str]:
    return settings(output_dir=folder)


def run(script: ModuleType, *arguments: object) -> int | str | None:
    """Exit code of an entry script with these arguments."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [script.__name__, *map(str, arguments)])
        try:
            run_script(script.main)
        except SystemExit as stop:
            return stop.code
    return 0
