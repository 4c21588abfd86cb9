"""Errors by stratum: groups of pictures that a data set names, like touching hands or a view.

Legend: N samples in the order of their ids.
"""

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from common.eval.counting import Columns, measured
from common.eval.protocols import Protocol
from common.eval.reduce import mean

PICTURES = "pictures"
# What is given of each stratum: the mean over every hand of its pictures, as one protocol aligns and scales
# them. Its choice of frames does not enter, or single hands would have no row.
OF_STRATA = ("MPJPE", "MPVPE", "joint_px", "presence_pictures")


def by_stratum(
    protocol: Protocol, ids: NDArray[np.str_], columns: Columns, strata: Mapping[str, Collection[str]]
) -> dict[str, dict[str, float | None]]:
    """{stratum: {"pictures": their number, then each of OF_STRATA, None where nothing was measured}}.

    ids (N,): what was measured, rows of `columns`; strata: {name: ids}. Those without a picture are left out.
    """
    table = {}
    for name, members in strata.items():
        rows = np.isin(ids, np.array(sorted(members), np.str_))
        if rows.any():
            means = {metric: _mean(protocol, columns, metric, rows) for metric in OF_STRATA}
            table[name] = {PICTURES: int(rows.sum()), **means}
    return table


def _mean(protocol: Protocol, columns: Columns, metric: str, rows: NDArray[np.bool_]) -> float | None:
    values = measured(protocol, columns, metric)
    value = np.nan if values is None else float(mean(values[rows]))
    return value if np.isfinite(value) else None
