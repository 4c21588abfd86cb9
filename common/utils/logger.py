"""What a run writes about itself: text log, a JSON line per epoch, TensorBoard."""

import contextlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from common.utils.errors import explained, keep_traceback
from common.utils.files import write_bytes


class RunLog:
    """Writes log.txt, metrics.jsonl and log/ (TensorBoard); nothing if `quiet`, as in other processes.

    `with RunLog(folder) as log:` also writes down how a run died, in whatever process that was.
    """

    def __init__(self, folder: Path, quiet: bool = False):
        self.folder, self.quiet = folder, quiet
        if not quiet:
            folder.mkdir(parents=True, exist_ok=True)
            self.board = SummaryWriter(str(folder / "log"))

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        self.close()
        if error is None:
            return
        file = self.folder / "log.txt"
        sentence = explained(error, file) if isinstance(error, Exception) else None
        with contextlib.suppress(OSError):  # a full disk: the error itself says so
            if isinstance(error, KeyboardInterrupt):
                self._note("stopped")
            elif isinstance(error, SystemExit):  # what there was to say is said
                pass
            elif sentence is None:  # a fault of ours
                keep_traceback(error, file)
            else:
                self._note(f"error: {sentence}")
        if sentence is not None:
            raise sentence from error

    def say(self, message: str) -> None:
        """One line to the screen (above a progress bar) and, with the time, to log.txt."""
        if not self.quiet:
            tqdm.write(message)
            self.note(message)

    def note(self, message: str) -> None:
        """One line, with the time, to log.txt alone."""
        if not self.quiet:
            self._note(message)

    def scalars(self, group: str, values: dict[str, float | None], step: int) -> None:
        """Those that were measured."""
        for name, value in values.items():
            if not self.quiet and value is not None:
                self.board.add_scalar(f"{group}/{name}", value, step)

    def picture(self, name: str, rgb: np.ndarray, step: int) -> None:
        """uint8 RGB (H,W,3)."""
        if not self.quiet:
            self.board.add_image(name, rgb, step, dataformats="HWC")

    def line(self, entry: dict[str, Any]) -> None:
        """One JSON line in metrics.jsonl."""
        if not self.quiet:
            self._append("metrics.jsonl", json.dumps(entry))

    def forget(self, epoch: int) -> None:
        """Take out of metrics.jsonl what is about to be trained anew: this epoch and later ones."""
        file = self.folder / "metrics.jsonl"
        if self.quiet or not file.exists():
            return
        kept = []
        for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
            with contextlib.suppress(ValueError):  # a process was killed while it wrote this line
                if json.loads(line)["epoch"] < epoch and line.endswith("\n"):
                    kept.append(line)
        write_bytes(file, "".join(kept).encode())

    def _note(self, message: str) -> None:
        self._append("log.txt", f"{datetime.now():%Y-%m-%d %H:%M:%S} {message}")

    def _append(self, name: str, line: str) -> None:
        with open(self.folder / name, "a", encoding="utf-8") as file:
            file.write(line + "\n")

    def close(self) -> None:
        if not self.quiet:
            self.board.close()
