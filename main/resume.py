"""Going on with a run: its last snapshot, and the settings that must still be the same."""

from dataclasses import replace
from pathlib import Path

from common.utils.checkpoint import load_snapshot, newest_readable, snapshots
from common.utils.errors import UserError
from main.config import Config, from_dict, override
from main.presets import preset

# What may differ between a run and its continuation: nothing that changes what is learned.
FREE_SETTINGS = (
    "train.log_every",
    "train.picture_every",
    "train.snapshot_minutes",
    "train.keep",
    "data.workers",
)
# Paths may have moved since, but one gained or lost means other data.
DATA_PATHS = ("smplx_path", "interhand_anno_dir", "interhand_images_path", "root_net_output_path")


def last_snapshot(folder: Path, resume: bool) -> Path | None:
    """The snapshot to go on from, None for a new run; UserError where the folder does not fit the wish.

    The newest one that can be read; newer ones are named on the screen.
    """
    dump = folder / "model_dump"
    found = snapshots(dump)
    if found and not resume:
        raise UserError(
            f"{folder} already holds snapshots up to epoch {found[-1][0]}: add --continue to go "
            "on, or --exp NAME for a new run"
        )
    if resume and not found:
        raise UserError(f"--continue: {dump} holds no snapshot to continue from")
    return newest_readable(dump, print) if resume else None


def continued_config(last: Path, preset_name: str | None, settings: list[str]) -> Config:
    """The run's own configuration; what is given besides, a preset or settings, must agree with it."""
    before = from_dict(load_snapshot(last)["config"])
    start = before
    if preset_name is not None:
        start = replace(preset(preset_name), paths=before.paths)
    now = override(start, settings, prefer="train")
    require_same_settings(before, now)
    return now


def require_same_settings(before: Config, now: Config) -> None:
    """A continued run keeps its settings, or it would not be the same run."""
    for section, values in before.to_dict().items():
        for name, value in values.items():
            key, other = f"{section}.{name}", getattr(getattr(now, section), name)
            if section == "paths":
                differs = name in DATA_PATHS and (value is None) != (other is None)
            else:
                differs = key not in FREE_SETTINGS and value != other
            if differs:
                raise UserError(
                    f"--continue: the run has {key}={value}, now it is {other}; leave settings and --preset "
                    f"out to go on as it was (or --set {key}={value}), or --exp NAME for a new run"
                )
