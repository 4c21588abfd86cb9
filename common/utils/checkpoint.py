"""Snapshots: written whole or not at all, read as plain data only."""

import math
import pickle
import re
import subprocess
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.utils.errors import UserError
from common.utils.files import write_file


def save_snapshot(value: dict[str, Any], path: Path) -> None:
    """Whole or not at all, and read back; UserError when it cannot be written, and earlier snapshots are
    untouched."""
    write_file(path, lambda file: torch.save(value, file), require_whole)


def require_whole(path: Path) -> None:
    """OSError unless every record of the file is there and has its checksum."""
    try:
        with zipfile.ZipFile(path) as records:
            damaged = records.testzip()
    except (zipfile.BadZipFile, EOFError) as error:
        raise OSError(f"it is damaged: {error}") from None
    if damaged is not None:
        raise OSError(f"it is damaged: {damaged} is not what was written")


def load_tensors(path: Path) -> dict[str, Any]:
    """A file of tensors and plain values; anything that would run code is refused."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on files that are no snapshot; what follows says so
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"no such file: {path}") from None
    except pickle.UnpicklingError:
        raise UserError(f"{path} holds more than tensors and plain values; nothing of it was run") from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is not a readable snapshot: {reason}") from None


def load_snapshot(path: Path) -> dict[str, Any]:
    """A snapshot of this project: at least `network` (state dict) and `config` (nested plain dict).

    Raises UserError on any other file, of which nothing is run.
    """
    snapshot = load_tensors(path)
    if not isinstance(snapshot, dict) or not {"network", "config"} <= snapshot.keys():
        raise UserError(f"{path} is not an LGNet snapshot: it has no network or no config")
    if not isinstance(snapshot["config"], dict) or "model" not in snapshot["config"]:
        raise UserError(f"{path} is not an LGNet snapshot: its config has no model")
    return snapshot


def snapshot_path(folder: Path, epoch: int, batches: int | None = None) -> Path:
    """Where a snapshot lies in a run's model_dump/: of an epoch's end, or after so many of its batches."""
    inside = "" if batches is None else f"_batch_{batches}"
    return folder / f"snapshot_{epoch}{inside}.pth"


def snapshots(folder: Path) -> list[tuple[int, int | None]]:
    """Epoch and batches, None at its end, of every snapshot in the folder, in the order of training."""
    found = []
    for path in folder.glob("snapshot_*.pth"):
        match = re.fullmatch(r"snapshot_(\d+)(?:_batch_(\d+))?\.pth", path.name)
        if match:
            found.append((int(match[1]), None if match[2] is None else int(match[2])))
    return sorted(found, key=lambda place: (place[0], math.inf if place[1] is None else place[1]))


def snapshot_epochs(folder: Path) -> list[int]:
    """Epochs at whose end there is a snapshot, ascending."""
    return [epoch for epoch, batches in snapshots(folder) if batches is None]


def newest_readable(folder: Path, say: Callable[[str], None]) -> Path | None:
    """The newest snapshot that can be read, None without any; `say` is told of newer ones that cannot.

    Raises the newest one's UserError where none can be read.
    """
    first_error = None
    for place in reversed(snapshots(folder)):
        path = snapshot_path(folder, *place)
        try:
            require_whole(path)
            load_snapshot(path)
            return path
        except (UserError, OSError) as error:
            reason = error if isinstance(error, UserError) else f"{path}: {error}"
            first_error = first_error or UserError(reason)
            say(f"skipped: {reason}")
    if first_error is not None:
        raise first_error
    return None


def half_precision(network: dict[str, Tensor]) -> dict[str, Tensor]:
    """Floating-point entries in half precision, for shipping; loading copies them back into float32."""
    halved = {}
    for name, value in network.items():
        halved[name] = value.half() if value.is_floating_point() else value
    return halved


def git_commit(root: Path) -> str:
    """The commit of the code, "+changes" if the tree differs from it, "unknown" outside git."""

    def git(*args: str) -> str:
        return subprocess.check_output(
            ["git", "-C", root, *args], text=True, stderr=subprocess.DEVNULL
        ).strip()

    try:
        commit = git("rev-parse", "HEAD")
        return f"{commit}+changes" if git("status", "--porcelain") else commit
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
