"""What the predictor returns: the numbers, and what to do with them."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from common.show.vis import Picture
from main.result import describe, draw, export
from main.result.hand_values import HandValues
from main.result.kinds import KINDS


class TwoHands(HandValues):
    """Two hands of one picture; see HandValues for the arrays."""

    def overlay(self) -> Picture:
        """RGB (H',W,3) uint8: both meshes on the original picture, above a caption."""
        return draw.overlay(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the vertices as plain data, with units and frames in words."""
        return describe.to_dict(self)

    def save(self, folder: str | Path, stem: str = "hands", kinds: Collection[str] = KINDS) -> list[Path]:
        """Pictures, meshes, JSON and NPZ as <stem>... in a folder, which is made; returns the paths."""
        return export.save(self, Path(folder), stem, kinds=kinds)
