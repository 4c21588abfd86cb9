"""From the measures of all samples to the numbers of a table: plain numpy, float64.

Legend: N samples in the order of their ids, 2 hands (right, left), J 21 joints. A measure is a pair
(value, valid) of equal shape, (N,), (N,2) or (N,2,J); what is not valid counts nowhere.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.hand.joints import HANDS

Measured = dict[str, tuple[NDArray, NDArray]]
PCK_THRESHOLDS = np.linspace(0.0, 50.0, 200)  # mm
POSE_BINS = 6
# Measures that the table shows only in a derived form.
FRAME, JOINT_ERRORS, POSE_DIFFERENCE = "_frame", "_joint_errors", "_pose_difference"
UNITS = {"_rotation": "deg", "_px": "px", "_accuracy": "%"}  # by ending of the name; all else is mm


class Score(NamedTuple):
    """One number of a table; value is None where nothing was measured, n the samples behind it."""

    value: float | None
    n: int
    unit: str = "mm"


def summarize(measured: Measured) -> dict[str, Score]:
    """All named numbers of one protocol, headline measures first."""
    scores: dict[str, Score] = {}
    for name, (value, valid) in measured.items():
        if not name.startswith("_"):
            scores |= score(name, value, valid)
    if JOINT_ERRORS in measured:
        scores |= auc_scores(*measured[JOINT_ERRORS])
        scores |= pose_bin_scores(measured)
    return scores


def score(name: str, value: NDArray, valid: NDArray) -> dict[str, Score]:
    """(N,): the mean. (N,2): the mean of each hand, and of the two hands that were measured."""
    unit = next((unit for ending, unit in UNITS.items() if name.endswith(ending)), "mm")
    if value.ndim == 1:
        return {name: Score(_mean(value, valid), int(valid.sum()), unit)}
    columns = zip(value.T, valid.T, strict=True)
    per_hand = [Score(_mean(v, ok), int(ok.sum()), unit) for v, ok in columns]
    known = [hand.value for hand in per_hand if hand.value is not None]
    headline = Score(float(np.mean(known)) if known else None, int(valid.any(1).sum()), unit)
    return {name: headline, **{f"{name}_{hand}": per_hand[i] for i, hand in enumerate(HANDS)}}


def _mean(value: NDArray, valid: NDArray) -> float | None:
    return float(value[valid].mean()) if valid.any() else None


def pck(errors: NDArray, valid: NDArray) -> NDArray:
    """Share of errors (N,2,J), mm, within each threshold: (2,J,200); NaN where nothing is valid."""
    curves = np.full((*errors.shape[1:], len(PCK_THRESHOLDS)), np.nan)
    for hand, joint in np.ndindex(*errors.shape[1:]):
        seen = np.sort(errors[:, hand, joint][valid[:, hand, joint]])
        if len(seen):
            curves[hand, joint] = np.searchsorted(seen, PCK_THRESHOLDS, side="right") / len(seen)
    return curves


def auc(curves: NDArray) -> NDArray:
    """Area under PCK curves (..., 200) over 0-50 mm as a share of the whole; trapezoids."""
    steps = np.diff(PCK_THRESHOLDS)
    area = (0.5 * (curves[..., 1:] + curves[..., :-1]) * steps).sum(-1)
    return area / (PCK_THRESHOLDS[-1] - PCK_THRESHOLDS[0])


def auc_scores(errors: NDArray, valid: NDArray) -> dict[str, Score]:
    """AUC per joint, then the mean over the joints of both hands and of each hand."""
    areas, seen = auc(pck(errors, valid)), valid.any(2)  # (2,J), (N,2)
    parts = {"AUC": (areas, seen.any(1))}
    parts |= {f"AUC_{hand}": (areas[side], seen[:, side]) for side, hand in enumerate(HANDS)}
    return {
        name: Score(_mean(part, np.isfinite(part)), int(rows.sum()), "share")
        for name, (part, rows) in parts.items()
    }


def pose_bin_scores(measured: Measured) -> dict[str, Score]:
    """MPJPE in six bins of equal count by pose difference, and the mean difference of each bin.

    Frames are ranked by (difference, id), so that equal differences cannot move between bins.
    """
    difference, known = measured[POSE_DIFFERENCE]
    error, valid = measured["MPJPE"]
    frames = np.flatnonzero(known & valid.all(1))
    order = frames[np.argsort(difference[frames], kind="stable")]
    scores = {}
    for number, rows in enumerate(np.array_split(order, POSE_BINS), 1):
        everyone = np.ones(len(rows), bool)
        both = Score(_mean(error[rows].mean(1), everyone), len(rows))
        angle = Score(_mean(difference[rows], everyone), len(rows), "deg")
        scores |= {f"MPJPE_pose_bin{number}": both, f"pose_difference_bin{number}": angle}
    return scores


def curves(measured: Measured) -> dict[str, list]:
    """What figures need: thresholds (mm), mean PCK curve, per-joint MPJPE (2,21) in mm."""
    if JOINT_ERRORS not in measured or not measured[JOINT_ERRORS][1].any():
        return {}
    errors, valid = measured[JOINT_ERRORS]
    shares = pck(errors, valid)
    mean = shares[np.isfinite(shares[..., 0])].mean(0)
    joints = range(errors.shape[2])
    per_joint = [[_mean(errors[:, h, j], valid[:, h, j]) for j in joints] for h in range(2)]
    return {"thresholds_mm": PCK_THRESHOLDS.tolist(), "PCK": mean.tolist(), "MPJPE_per_joint": per_joint}
