"""From the columns of all samples to the numbers of a table: plain numpy, float64.

Legend: N samples in the order of their ids, 2 hands (right, left), J 21 joints; NaN counts nowhere.
"""

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.eval.counting import Columns, frame_groups, measured, metric_columns, only
from common.eval.placement import MRRPE, RRVE
from common.eval.protocols import Protocol
from common.hand.joints import FINGERS, HANDS, JOINT_NAMES
from common.utils.geometry import IMAGE_SIZE

PCK_THRESHOLDS = np.linspace(0.0, 50.0, 200)  # mm
PCK2D_SHARES = (5, 10, 15)  # percent of the crop's side
POSE_BINS = 6
# By beginning or ending of a metric's name; all else is mm.
UNITS = {"rotation": "deg", "_px": "px", "accuracy": "%", "PCK2D": "%", "IoU": "share", "AUC": "share"}
UNITS["volume"] = "cm3"
# Joint and vertex errors after a protocol's alignment, in the order of the tables.
ALIGNED = ("MPJPE", "MPVPE", "PA_MPJPE", "PA_MPVPE", "MPJPE_unscaled", "MPVPE_unscaled")
# Other metrics (N,2) and (N,), in the order of the tables.
PLAIN = (*MRRPE, *RRVE)
PLAIN += ("root_rotation", "local_rotation", "vertex_px", "box_IoU", "IoU", "IoU_both")
PLAIN += ("penetration_volume", "penetration_mean", "penetration_max", "contact_deviation")
PLAIN += ("penetration_volume_truth", "penetration_mean_truth", "penetration_max_truth", "presence_accuracy")


class Score(NamedTuple):
    """One number of a table; value is None where nothing was measured, n the frames behind it."""

    value: float | None
    n: int
    unit: str = "mm"


def summarize(protocol: Protocol, columns: Columns) -> dict[str, Score]:
    """All named numbers of one protocol, headline measures first; {} of no sample at all."""
    if not columns:
        return {}
    scores: dict[str, Score] = {}
    groups = frame_groups(protocol, columns)
    for metric in ALIGNED:
        scores |= _mesh_scores(protocol, metric, columns, groups)
    errors = measured(protocol, columns, "MPJPE")[groups["all"]]
    scores |= _finger_scores(errors) | auc_scores(errors)
    rough = measured(protocol, columns, "MPJPE", "_rough")
    if rough is not None:
        scores |= auc_scores(rough[groups["all"]], "AUC_rough")
    for metric in PLAIN:
        scores |= _mesh_scores(protocol, metric, columns, groups)
    return scores | _picture_scores(protocol, columns, groups)


def _mesh_scores(
    protocol: Protocol, metric: str, columns: Columns, groups: dict[str, NDArray[np.bool_]]
) -> dict[str, Score]:
    """The numbers of a metric of the refined and, where there is one, of the rough mesh."""
    scores: dict[str, Score] = {}
    for ending in ("", "_rough"):
        values = measured(protocol, columns, metric, ending)
        if values is None:
            continue
        if values.ndim == 3:
            scores |= joint_scores(protocol, metric + ending, values, groups)
        else:
            scores |= hand_scores(protocol, metric + ending, values, groups)
    return scores


def own_values(protocol: Protocol, columns: Columns) -> dict[str, NDArray]:
    """What the protocol measures in its own way, per sample: {metric: (N,2), or (N,) of both hands}; NaN
    where a frame or hand does not count."""
    frames = frame_groups(protocol, columns)["all"]
    values_of = {}
    for metric in metric_columns(protocol):
        for ending in ("", "_rough") if metric in PLAIN else ("",):
            values = measured(protocol, columns, metric, ending)
            if values is None:
                continue
            if values.ndim == 3:
                values = mean(values, 2)
            values_of[metric + ending] = only(frames, values)
    return values_of


# ---- averages ----


def mean(values: NDArray, axis: int | tuple[int, ...] | None = None) -> NDArray:
    """Mean of what is not NaN; NaN of nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # "Mean of empty slice"
        return np.nanmean(values, axis)


def _score(name: str, value: float | NDArray, n: int) -> Score:
    unit = next((unit for part, unit in UNITS.items() if part in name), "mm")
    return Score(_number(value), int(n), unit)


def _count(values: NDArray) -> int:
    """Frames (N,...) with at least one value."""
    return int(np.isfinite(values).any(tuple(range(1, values.ndim))).sum())


def joint_scores(
    protocol: Protocol, name: str, errors: NDArray, groups: dict[str, NDArray[np.bool_]]
) -> dict[str, Score]:
    """Errors (N,2,J): means over frames, then over the joints that were ever measured."""
    means = {group: mean(errors[rows], 0) for group, rows in groups.items()}  # (2,J) each
    pooled = means["all"]
    if protocol.joint_average == "groups":
        means["all"] = np.stack([means["SH"], means["IH"]])  # the 84
    scores = {name: _score(name, mean(means["all"]), _count(errors[groups["all"]]))}
    for group, rows in groups.items() if len(groups) > 1 else ():
        scores[f"{name}_{group}"] = _score(name, mean(means[group]), _count(errors[rows]))
    for side, hand in enumerate(HANDS):
        scores[f"{name}_{hand}"] = _score(name, mean(pooled[side]), _count(errors[groups["all"], side]))
    return scores


def _finger_scores(errors: NDArray) -> dict[str, Score]:
    """Errors (N,2,J) of the frames that count -> one number a finger."""
    means, scores = mean(errors, 0), {}
    for finger in FINGERS:
        joints = [j for j, name in enumerate(JOINT_NAMES) if name.startswith(finger)]
        name = f"MPJPE_{finger}"
        scores[name] = _score(name, mean(means[:, joints]), _count(errors[..., joints]))
    return scores


def hand_scores(
    protocol: Protocol, name: str, values: NDArray, groups: dict[str, NDArray[np.bool_]]
) -> dict[str, Score]:
    """Values (N,2) under the protocol's average, per group and per hand; the plain mean of (N,)."""
    everyone = groups["all"]
    if values.ndim == 1:
        return {name: _score(name, mean(values[everyone]), _count(values[everyone]))}
    if protocol.mesh_average == "samples":  # an interacting frame needs both hands
        half = groups["IH"] & np.isnan(values).any(1)
        values = np.where(half[:, None], np.nan, values)
    parts = {"": everyone} | (
        {f"_{group}": rows for group, rows in groups.items()} if len(groups) > 1 else {}
    )
    scores = {}
    for ending, rows in parts.items():
        scores[name + ending] = _score(name, _average(protocol, values[rows]), _count(values[rows]))
    for hand, of_hand in zip(HANDS, values[everyone].T, strict=True):
        scores[f"{name}_{hand}"] = _score(name, mean(of_hand), _count(of_hand))
    return scores


def _average(protocol: Protocol, values: NDArray) -> NDArray:
    """(N,2) -> the one number that stands for all, see Protocol.mesh_average."""
    if protocol.mesh_average == "entries":
        return mean(values)
    return mean(mean(values, 0 if protocol.mesh_average == "hands" else 1))


def _picture_scores(
    protocol: Protocol, columns: Columns, groups: dict[str, NDArray[np.bool_]]
) -> dict[str, Score]:
    """The predicted 2-D joints: mean distance, and the share of joints within parts of the crop."""
    pixels = measured(protocol, columns, "joint_px")  # (N,2,J)
    if pixels is None:
        return {}
    scores = hand_scores(protocol, "joint_px", mean(pixels, 2), groups)
    pixels = pixels[groups["all"]]
    for share in PCK2D_SHARES:
        name, reach = f"PCK2D_{share}", share / 100 * IMAGE_SIZE
        near = np.where(np.isnan(pixels), np.nan, pixels <= reach)
        scores[name] = _score(name, 100 * mean(near), _count(near))
    return scores


# ---- curves ----


def pck(errors: NDArray) -> NDArray:
    """Share of errors (N,2,J), mm, within each threshold: (2,J,200); NaN where nothing was measured."""
    curves = np.full((*errors.shape[1:], len(PCK_THRESHOLDS)), np.nan)
    for hand, joint in np.ndindex(*errors.shape[1:]):
        seen = np.sort(errors[np.isfinite(errors[:, hand, joint]), hand, joint])
        if len(seen):
            curves[hand, joint] = np.searchsorted(seen, PCK_THRESHOLDS, side="right") / len(seen)
    return curves


def auc(curves: NDArray) -> NDArray:
    """Area under PCK curves (..., 200) over 0-50 mm as a share of the whole; trapezoids."""
    steps = np.diff(PCK_THRESHOLDS)
    area = (0.5 * (curves[..., 1:] + curves[..., :-1]) * steps).sum(-1)
    return area / (PCK_THRESHOLDS[-1] - PCK_THRESHOLDS[0])


def auc_scores(errors: NDArray, name: str = "AUC") -> dict[str, Score]:
    """AUC per joint, then the mean over the joints of both hands and of each hand."""
    areas = auc(pck(errors))  # (2,J)
    scores = {name: _score(name, mean(areas), _count(errors))}
    for side, hand in enumerate(HANDS):
        scores[f"{name}_{hand}"] = _score(name, mean(areas[side]), _count(errors[:, side]))
    return scores


def curves(protocol: Protocol, columns: Columns) -> dict[str, list | float]:
    """What figures need: PCK over thresholds (mm), MPJPE per joint (2,21), MPJPE by pose difference."""
    if not columns:
        return {}
    rows = frame_groups(protocol, columns)["all"]
    errors = measured(protocol, columns, "MPJPE")[rows]
    if not np.isfinite(errors).any():
        return {}
    shares = pck(errors)
    found = {
        "thresholds_mm": PCK_THRESHOLDS.tolist(),
        "PCK": mean(shares, (0, 1)).tolist(),
        "AUC": float(mean(auc(shares))),
        "MPJPE_per_joint": [[_number(v) for v in hand] for hand in mean(errors, 0)],
        "pose_bins": pose_bins(columns["pose_difference"][rows], errors),
    }
    rough = measured(protocol, columns, "MPJPE", "_rough")
    if rough is not None:
        found["PCK_rough"] = mean(pck(rough[rows]), (0, 1)).tolist()
    return found


def pose_bins(difference: NDArray, errors: NDArray) -> list[dict[str, float | int | None]]:
    """MPJPE of both hands in six bins of equal count by pose difference (N,).

    Frames are ranked by (difference, id), so that equal differences cannot move between bins.
    """
    both = mean(errors, 2).mean(1)  # NaN unless both hands were measured
    frames = np.flatnonzero(np.isfinite(difference) & np.isfinite(both))
    order = frames[np.argsort(difference[frames], kind="stable")]
    return [
        {"difference": _number(mean(difference[rows])), "MPJPE": _number(mean(both[rows])), "n": len(rows)}
        for rows in np.array_split(order, POSE_BINS)
    ]


def _number(value: NDArray) -> float | None:
    return float(value) if np.isfinite(value) else None
