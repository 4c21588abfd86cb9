"""From the columns of all samples to the numbers of a table: plain numpy, float64.

Legend: N samples in the order of their ids, 2 hands (right, left), J 21 joints; NaN counts nowhere.
"""

import warnings
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from common.eval.catalogue import MESHES, PER_PROTOCOL, SHARED, Key, Metric, Score, Scores
from common.eval.counting import Columns, frame_groups, measured, metric_columns, only
from common.eval.protocols import Protocol
from common.hand.joints import FINGERS, HANDS, JOINT_NAMES
from common.utils.geometry import IMAGE_SIZE

ENDINGS = {"final": "", "rough": "_rough"}  # of the columns of each mesh
PCK_THRESHOLDS = np.linspace(0.0, 50.0, 200)  # mm
PCK2D_REACH = {f"PCK2D_{percent}": percent / 100 * IMAGE_SIZE for percent in (5, 10, 15)}  # pixels
POSE_BINS = 6
CALIBRATION_BINS = 15

Groups = dict[str, NDArray[np.bool_]]  # which samples (N,) count: "all", and where both exist "SH" and "IH"
Parts = dict[str, Score]  # the numbers of one metric and mesh, by part


class PoseBin(TypedDict):
    """Frames whose hands differ about equally much in pose."""

    difference: float | None  # degrees, mean of the frames
    MPJPE: float | None  # mm
    n: int


class Curves(TypedDict, total=False):
    """What figures need; empty where nothing was measured."""

    thresholds_mm: list[float]
    PCK: list[float]  # share of the joints within each threshold
    PCK_rough: list[float]
    AUC: float
    MPJPE_per_joint: list[list[float | None]]  # (2,21) mm
    pose_bins: list[PoseBin]


def summarize(protocol: Protocol, columns: Columns) -> Scores:
    """All numbers of one protocol, in the order of the catalogue; {} of no sample at all."""
    scores: Scores = {}
    if not columns:
        return scores
    groups = frame_groups(protocol, columns)
    for metric in PER_PROTOCOL:
        for mesh in MESHES:
            parts = _protocol_parts(protocol, columns, groups, metric, mesh)
            scores |= {Key(metric.name, mesh, part): score for part, score in parts.items()}
    return scores


def _protocol_parts(protocol: Protocol, columns: Columns, groups: Groups, metric: Metric, mesh: str) -> Parts:
    """{} where the predictions do not allow the metric, or not of this mesh."""
    name = "MPJPE" if metric.name == "AUC" else metric.name
    values = measured(protocol, columns, name, ENDINGS[mesh])
    if values is None:
        return {}
    if metric.name == "AUC":
        return auc_parts(values[groups["all"]])
    if values.ndim == 3:
        return joint_parts(values, groups, protocol.joint_average)
    return hand_parts(values, groups, protocol.mesh_average)


def shared_scores(columns: Columns) -> Scores:
    """The numbers that no choice of a protocol enters, over all samples, each hand of each frame once."""
    scores: Scores = {}
    if not columns:
        return scores
    interacting = columns["interacting"] > 0
    groups = {"all": np.ones_like(interacting), "SH": ~interacting, "IH": interacting}
    for metric in SHARED:
        for mesh in MESHES:
            parts = _shared_parts(columns, groups, metric.name, ENDINGS[mesh])
            scores |= {Key(metric.name, mesh, part): score for part, score in parts.items()}
    return scores


def _shared_parts(columns: Columns, groups: Groups, metric: str, ending: str) -> Parts:
    if metric == "presence_ECE":
        return {} if ending else calibration_parts(columns)
    column = "joint_px" if metric in PCK2D_REACH else metric
    if column + ending not in columns:
        return {}
    values = columns[column + ending]
    if metric in PCK2D_REACH:
        near = np.where(np.isnan(values), np.nan, values <= PCK2D_REACH[metric])
        return {"overall": _score(100 * mean(near), near)}
    if values.ndim == 3:  # of the joints of a hand
        values = mean(values, 2)
    return hand_parts(values, groups, "entries")


def own_values(protocol: Protocol, columns: Columns) -> dict[str, NDArray]:
    """What the protocol measures in its own way, per sample: {metric: (N,2), or (N,) of both hands}; NaN
    where a frame or hand does not count."""
    frames = frame_groups(protocol, columns)["all"]
    values_of = {}
    for metric in metric_columns(protocol):
        for ending in ENDINGS.values():
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


def _score(value: NDArray, values: NDArray) -> Score:
    """A number and the frames of `values` (N,...) that have at least one value."""
    frames = np.isfinite(values).any(tuple(range(1, values.ndim)))
    return Score(_number(value), int(frames.sum()))


def joint_parts(errors: NDArray, groups: Groups, average: str) -> Parts:
    """Errors (N,2,J): means over frames, then over the joints that were ever measured.

    average: see Protocol.joint_average.
    """
    counted = errors[groups["all"]]
    pooled = mean(counted, 0)  # (2,J)
    means = {group: mean(errors[rows], 0) for group, rows in groups.items()}
    overall = np.stack([means["SH"], means["IH"]]) if average == "groups" else pooled
    parts = {"overall": _score(mean(overall), counted)}
    if len(groups) > 1:
        for group in ("SH", "IH"):
            parts[group] = _score(mean(means[group]), errors[groups[group]])
    for side, hand in enumerate(HANDS):
        parts[hand] = _score(mean(pooled[side]), counted[:, side])
    for finger in FINGERS:
        joints = [joint for joint, name in enumerate(JOINT_NAMES) if name.startswith(finger)]
        parts[finger] = _score(mean(pooled[:, joints]), counted[..., joints])
    return parts


def hand_parts(values: NDArray, groups: Groups, average: str) -> Parts:
    """Values (N,2) per group and per hand; of (N,) the plain mean. average: see Protocol.mesh_average."""
    counted = values[groups["all"]]
    if values.ndim == 1:
        return {"overall": _score(mean(counted), counted)}
    if average == "samples":  # an interacting frame needs both hands
        incomplete = groups["IH"] & np.isnan(values).any(1)
        values = only(~incomplete, values)
        counted = values[groups["all"]]
    parts = {"overall": _score(_average(counted, average), counted)}
    if len(groups) > 1:
        for group in ("SH", "IH"):
            of_group = values[groups[group]]
            parts[group] = _score(_average(of_group, average), of_group)
    for side, hand in enumerate(HANDS):
        parts[hand] = _score(mean(counted[:, side]), counted[:, side])
    return parts


def _average(values: NDArray, average: str) -> NDArray:
    """(N,2) -> the one number that stands for all."""
    if average == "entries":
        return mean(values)
    first_axis = 0 if average == "hands" else 1
    return mean(mean(values, first_axis))


# ---- calibration ----


def calibration_error(probability: NDArray, truth: NDArray) -> float:
    """Expected calibration error of probabilities (...) that something holds; truth (...) 0 or 1.

    In 15 bins of equal width over [0, 1]: the difference between the mean probability and the share of what
    holds, averaged by the number in the bin (Naeini et al. 2015). NaN where nothing is known.
    """
    known = np.isfinite(probability)
    probability, truth = probability[known], truth[known]
    bins = np.minimum((probability * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, probability - truth, CALIBRATION_BINS)  # difference times number
    return float(np.abs(gaps).sum() / len(probability)) if len(probability) else np.nan


def calibration_parts(columns: Columns) -> Parts:
    """Calibration of the presence of both hands and of each; {} without predicted presence."""
    if "presence_probability" not in columns:
        return {}
    probability, truth = columns["presence_probability"], columns["presence_truth"]
    parts = {"overall": _score(np.array(calibration_error(probability, truth)), probability)}
    for side, hand in enumerate(HANDS):
        error = calibration_error(probability[:, side], truth[:, side])
        parts[hand] = _score(np.array(error), probability[:, side])
    return parts


# ---- curves ----


def pck(errors: NDArray) -> NDArray:
    """Share of errors (N,2,J), mm, within each threshold: (2,J,200); NaN where nothing was measured."""
    shares = np.full((*errors.shape[1:], len(PCK_THRESHOLDS)), np.nan)
    for hand, joint in np.ndindex(*errors.shape[1:]):
        of_joint = errors[:, hand, joint]
        known = np.sort(of_joint[np.isfinite(of_joint)])
        if len(known):
            shares[hand, joint] = np.searchsorted(known, PCK_THRESHOLDS, side="right") / len(known)
    return shares


def auc(curves: NDArray) -> NDArray:
    """Area under PCK curves (..., 200) over 0-50 mm as a share of the whole; trapezoids."""
    steps = np.diff(PCK_THRESHOLDS)
    area = (0.5 * (curves[..., 1:] + curves[..., :-1]) * steps).sum(-1)
    return area / (PCK_THRESHOLDS[-1] - PCK_THRESHOLDS[0])


def auc_parts(errors: NDArray) -> Parts:
    """Errors (N,2,J) -> AUC per joint, then the mean over the joints of both hands and of each hand."""
    areas = auc(pck(errors))  # (2,J)
    parts = {"overall": _score(mean(areas), errors)}
    for side, hand in enumerate(HANDS):
        parts[hand] = _score(mean(areas[side]), errors[:, side])
    return parts


def curves(protocol: Protocol, columns: Columns) -> Curves:
    """PCK and MPJPE per joint and by pose difference of the frames that count."""
    if not columns:
        return {}
    rows = frame_groups(protocol, columns)["all"]
    errors = measured(protocol, columns, "MPJPE")[rows]
    if not np.isfinite(errors).any():
        return {}
    shares = pck(errors)
    per_joint = [[_number(value) for value in hand] for hand in mean(errors, 0)]
    of_protocol: Curves = {
        "thresholds_mm": PCK_THRESHOLDS.tolist(),
        "PCK": mean(shares, (0, 1)).tolist(),
        "AUC": float(mean(auc(shares))),
        "MPJPE_per_joint": per_joint,
        "pose_bins": pose_bins(columns["pose_difference"][rows], errors),
    }
    rough = measured(protocol, columns, "MPJPE", ENDINGS["rough"])
    if rough is not None:
        of_protocol["PCK_rough"] = mean(pck(rough[rows]), (0, 1)).tolist()
    return of_protocol


def pose_bins(difference: NDArray, errors: NDArray) -> list[PoseBin]:
    """MPJPE of both hands in six bins of equal count by pose difference (N,).

    Frames are ranked by (difference, id), so that equal differences cannot move between bins.
    """
    both = mean(errors, 2).mean(1)  # NaN unless both hands were measured
    frames = np.flatnonzero(np.isfinite(difference) & np.isfinite(both))
    order = frames[np.argsort(difference[frames], kind="stable")]
    bins: list[PoseBin] = []
    for rows in np.array_split(order, POSE_BINS):
        degrees, error = _number(mean(difference[rows])), _number(mean(both[rows]))
        bins.append({"difference": degrees, "MPJPE": error, "n": len(rows)})
    return bins


def _number(value: NDArray) -> float | None:
    return float(value) if np.isfinite(value) else None
