"""What a run writes about itself: text log, a JSON line per epoch, TensorBoard."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm


class RunLog:
    """Writes log.txt, metrics.jsonl and log/ (TensorBoard); nothing if `quiet`, as in other processes."""

    def __init__(self, folder: Path, quiet: bool = False):
        self.folder, self.quiet = folder, quiet
        if not quiet:
            folder.mkdir(parents=True, exist_ok=True)
            self.board = SummaryWriter(str(folder / "log"))

    def say(self, message: str) -> None:
        """One line to the screen (above a progress bar) and to log.txt."""
        if not self.quiet:
            tqdm.write(message)
            self._append("log.txt", message)

    def scalars(self, group: str, values: dict[str, float], step: int) -> None:
        if not self.quiet:
            for name, value in values.items():
                self.board.add_scalar(f"{group}/{name}", value, step)

    def picture(self, name: str, rgb: np.ndarray, step: int) -> None:
        """uint8 RGB (H,W,3)."""
        if not self.quiet:
            self.board.add_image(name, rgb, step, dataformats="HWC")

    def line(self, entry: dict[str, Any]) -> None:
        """One JSON line in metrics.jsonl."""
        if not self.quiet:
            self._append("metrics.jsonl", json.dumps(entry))

    def _append(self, name: str, line: str) -> None:
        with open(self.folder / name, "a", encoding="utf-8") as file:
            file.write(line + "\n")

    def close(self) -> None:
        if not self.quiet:
            self.board.close()
