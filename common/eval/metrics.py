"""Metrics: predictions and labels in, batch by batch, named numbers out.

Every sample is measured on the device (measure.py) and kept under its id, so that the order, the
batch size, the number of processes and a sample seen twice change nothing. reduce.py averages.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from common.eval.measure import Batch, Prediction, measure
from common.eval.protocols import LGNET, Protocol
from common.eval.reduce import Columns, Score, summarize
from common.hand.mano import ManoLayer


class Metrics:
    """Collects what `update` measures under each protocol; `summary` reduces it.

    penetration: share of the samples whose penetration is measured, chosen by their ids.
    """

    def __init__(self, mano: ManoLayer, protocols: Sequence[Protocol] = (LGNET,), penetration: float = 0.0):
        self.mano, self.protocols, self.penetration = mano, tuple(protocols), penetration
        self.shapes: dict[str, tuple[int, ...]] = {}  # of each column, without the sample axis
        self.ids: list[str] = []
        self.kinds: list[str] = []  # hand_type of each
        self.rows: list[NDArray[np.float32]] = []  # (B,C), all columns side by side
        self.kept: tuple[NDArray[np.str_], NDArray[np.str_], Columns] | None = None  # see `_sorted`

    def update(self, pred: Prediction, batch: Batch) -> None:
        """Measure one batch (DESIGN's prediction and batch contracts, targets added)."""
        columns = measure(self.protocols, self.mano, pred, batch, self.penetration)
        self.shapes = {name: tuple(column.shape[1:]) for name, column in columns.items()}
        flat = [column.flatten(1) if column.ndim > 1 else column[:, None] for column in columns.values()]
        self.rows.append(torch.cat([column.float() for column in flat], 1).cpu().numpy())
        self.ids += batch["id"]
        self.kinds += batch["hand_type"]
        self.kept = None

    def state(self) -> dict[str, Any]:
        """Plain data to send to another process; see `merge`."""
        return {"shapes": self.shapes, "ids": self.ids, "kinds": self.kinds, "rows": self.rows}

    def merge(self, state: Mapping[str, Any]) -> None:
        """Add the `state` of another process."""
        self.shapes = state["shapes"] or self.shapes
        self.ids, self.kinds = self.ids + state["ids"], self.kinds + state["kinds"]
        self.rows = self.rows + state["rows"]
        self.kept = None

    def _sorted(self) -> tuple[NDArray[np.str_], NDArray[np.str_], Columns]:
        """Ids, hand types and columns in the order of the ids, each once; kept until more samples come."""
        if self.kept is None:
            ids, first = np.unique(np.array(self.ids, np.str_), return_index=True)
            table = np.concatenate(self.rows)[first] if self.rows else None
            columns, start = {}, 0
            for name, shape in self.shapes.items():
                part, start = slice(start, start + math.prod(shape)), start + math.prod(shape)
                columns[name] = table[:, part].reshape(-1, *shape).astype(np.float64)
            self.kept = ids, np.array(self.kinds, np.str_)[first], columns
        return self.kept

    def samples(self) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
        """Ids, in their order and each once, and hand types (N,)."""
        return self._sorted()[:2]

    def columns(self) -> Columns:
        """All samples in the order of `samples`: {column: (N,...)}, NaN where nothing was measured. Not to
        be written to."""
        return self._sorted()[2]

    def summary(self) -> dict[str, dict[str, Score]]:
        """{protocol: {metric: Score}}."""
        columns = self.columns()
        return {p.name: summarize(p, columns) for p in self.protocols}
