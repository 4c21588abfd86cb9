"""Metrics: predictions and labels in, batch by batch, named numbers out.

Every sample is measured on the device (measure.py) and kept under its id, so that the order, the
batch size, the number of processes and a sample seen twice change nothing. reduce.py averages.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.eval.counting import Columns
from common.eval.measure import Batch, Prediction, measure
from common.eval.protocols import LGNET, Protocol
from common.eval.reduce import Score, summarize
from common.hand.mano import ManoLayer


class Table(NamedTuple):
    """All samples, in the order of their ids."""

    ids: NDArray[np.str_]  # (N,)
    hand_types: NDArray[np.str_]
    columns: Columns  # (N,...) each


class Metrics:
    """Collects what `update` measures under each protocol; `summary` reduces it.

    penetration: share of the samples whose penetration is measured, chosen by their ids.
    """

    def __init__(self, mano: ManoLayer, protocols: Sequence[Protocol] = (LGNET,), penetration: float = 0.0):
        self.mano, self.protocols, self.penetration = mano, tuple(protocols), penetration
        self.ids: list[str] = []
        self.hand_types: list[str] = []  # of each sample
        self.parts: dict[str, list[NDArray[np.float32]]] = {}  # of each column, batch by batch
        self.table: Table | None = None  # see `_sorted`

    def update(self, pred: Prediction, batch: Batch) -> None:
        """Measure one batch that has its targets (common/targets.py)."""
        columns = measure(self.protocols, self.mano, pred, batch, self.penetration)
        self._add(
            batch["id"],
            batch["hand_type"],
            {name: [column.float().cpu().numpy()] for name, column in columns.items()},
        )

    def state(self) -> dict[str, Any]:
        """Plain data to send to another process; see `merge`."""
        return {"ids": self.ids, "hand_types": self.hand_types, "parts": self.parts}

    def merge(self, state: Mapping[str, Any]) -> None:
        """Add the `state` of another process."""
        self._add(state["ids"], state["hand_types"], state["parts"])

    def _add(
        self, ids: Sequence[str], hand_types: Sequence[str], parts: Mapping[str, list[NDArray[np.float32]]]
    ) -> None:
        self.ids += ids
        self.hand_types += hand_types
        for name, batches in parts.items():
            self.parts.setdefault(name, []).extend(batches)
        self.table = None

    def _sorted(self) -> Table:
        """All samples in the order of their ids, each once; kept until more samples come."""
        if self.table is None:
            ids, first = np.unique(np.array(self.ids, np.str_), return_index=True)
            columns = {
                name: np.concatenate(batches)[first].astype(np.float64)
                for name, batches in self.parts.items()
            }
            self.table = Table(ids, np.array(self.hand_types, np.str_)[first], columns)
        return self.table

    def samples(self) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
        """Ids, in their order and each once, and hand types (N,)."""
        table = self._sorted()
        return table.ids, table.hand_types

    def columns(self) -> Columns:
        """All samples in the order of `samples`: {column: (N,...)}, NaN where nothing was measured. Not to
        be written to."""
        return self._sorted().columns

    def summary(self) -> dict[str, dict[str, Score]]:
        """{protocol: {metric: Score}}."""
        columns = self.columns()
        return {p.name: summarize(p, columns) for p in self.protocols}
