"""Who counts under a protocol: frames, hands, joints; and which column a metric reads.

Legend: N samples in the order of their ids, 2 hands (right, left), J 21 joints; NaN counts nowhere.
"""

import numpy as np
from numpy.typing import NDArray

from common.eval.alignment import joint_column, mesh_column, procrustes_column
from common.eval.placement import MRRPE, RRVE
from common.eval.protocols import Protocol
from common.hand.joints import JOINTS_TO_INTERHAND

Columns = dict[str, NDArray[np.float64]]
BOX_JOINTS = 2  # seen joints that span a box


def metric_columns(protocol: Protocol) -> dict[str, str]:
    """{metric: the column it reads}, of the metrics that not all protocols measure alike."""
    p = protocol
    columns = {
        "MPJPE": joint_column(p.root, p.scaled, p.truth, p.tips),
        "MPVPE": mesh_column(p.root, p.scaled),
        "PA_MPJPE": procrustes_column(p.truth, p.tips),
        "PA_MPVPE": "PA_MPVPE",
    }
    if p.scaled:
        columns["MPJPE_unscaled"] = joint_column(p.root, False, p.truth, p.tips)
        columns["MPVPE_unscaled"] = mesh_column(p.root, False)
    for metric in MRRPE:
        columns[metric] = f"{metric}/{p.wrists}"
    columns["MRRPE_depth_constant"] = f"rel_depth/{p.wrists}"
    for metric in RRVE:
        columns[metric] = f"{metric}/{p.placement}"
    columns["box_IoU"] = f"box_IoU/{p.box}"
    return columns


def frame_groups(protocol: Protocol, columns: Columns) -> dict[str, NDArray[np.bool_]]:
    """Which samples (N,) count: "all", and of protocols with single hands "SH" and "IH"."""
    interacting = columns["interacting"] > 0
    if protocol.interacting:
        return {"all": interacting & (columns["clean"] > 0) & (columns["fit"] > 0).all(1)}
    counted = np.ones_like(interacting)
    if protocol.visible != "nothing":
        counted = _visible_hands(protocol, columns).any(1)
    if protocol.human:
        counted = counted & (columns["human"] > 0)
    return {"all": counted, "SH": counted & ~interacting, "IH": counted & interacting}


def measured(protocol: Protocol, columns: Columns, metric: str, ending: str = "") -> NDArray | None:
    """The values of a metric, (N,), (N,2) or (N,2,J), NaN where a hand or joint does not count.

    ending: "_rough" for those of the rough mesh. None where the predictions do not allow the metric.
    Frames that do not count are still there: see `frame_groups`.
    """
    name = metric_columns(protocol).get(metric, metric) + ending
    if name not in columns:
        return None
    values = columns[name]
    if metric in ("MPJPE", "MPJPE_unscaled"):
        values = _of_counted_joints(protocol, columns, values, scaled=metric == "MPJPE" and protocol.scaled)
    if metric == "MRRPE_depth_constant":
        values = _from_median(values, frame_groups(protocol, columns)["all"])
    if protocol.visible != "hand":
        return values
    hands = _visible_hands(protocol, columns)
    return only(hands.all(1) if values.ndim == 1 else hands, values)  # one number of both hands: both


def _from_median(values: NDArray, frames: NDArray[np.bool_]) -> NDArray:
    """Distance of values (N,) from the median of those of the frames (N,) that count."""
    known = values[frames & np.isfinite(values)]
    return np.abs(values - np.median(known)) if len(known) else values


def only(keep: NDArray[np.bool_], values: NDArray) -> NDArray:
    """Values (N,...) of the samples (N,) or hands (N,2) to keep, NaN of the others."""
    missing_axes = (1,) * (values.ndim - keep.ndim)
    return np.where(keep.reshape(keep.shape + missing_axes), values, np.nan)


def _visible_hands(protocol: Protocol, columns: Columns) -> NDArray[np.bool_]:
    """Hands (N,2) of which enough is seen in the picture, see Protocol.visible."""
    needed = BOX_JOINTS if protocol.visible == "hand" else 1
    return (columns["seen"] > 0).sum(2) >= needed


def _of_counted_joints(protocol: Protocol, columns: Columns, errors: NDArray, scaled: bool) -> NDArray:
    """Errors (N,2,J) -> NaN where the protocol's mask leaves a joint out."""
    if protocol.mask == "all":
        return errors
    seen = columns["seen"] > 0
    if protocol.mask == "misplaced":  # flags in InterHand2.6M's order read as if wrist-first
        seen = seen[..., list(JOINTS_TO_INTERHAND)]
        if scaled:  # and a hand without a fit, scaled to a bone of length 0, has no error
            zero = (columns["fit"] == 0) & (columns["predicted"] > 0)
            errors = np.where(zero[..., None], 0.0, errors)
    return np.where(seen, errors, np.nan)
