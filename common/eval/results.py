"""The content of metrics.json and per_sample.csv: every number with its protocol, count and reason."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.eval.counting import Columns, frame_groups
from common.eval.metrics import Metrics
from common.eval.protocols import Protocol
from common.eval.reduce import PLAIN, Score, curves, mean, own_values
from common.hand.joints import HANDS

# Why a metric may have no number. The first sentence: the predictions lack it; the second: the data.
NO_FIT = "no hand of these frames has both a prediction and a MANO fit"
NO_2D = "the predictions hold neither cameras nor 2-D joints"
REASONS = {
    "MPJPE": ("", "no joint of these frames has both a prediction and a ground truth"),
    "MPVPE": ("", NO_FIT),
    "MRRPE": ("", "no interacting frame has both true wrists, in the picture if they are annotated"),
    "MRRPE_rootnet": ("", "no RootNet depths (root_net_output_path) or no 2-D joints"),
    "RRVE": ("", "no frame has fits and predictions of both hands"),
    "root_rotation": ("the predictions hold no rotations", NO_FIT),
    "joint_px": ("the predictions hold no 2-D joints", "no 2-D joint is annotated in these frames"),
    "vertex_px": (NO_2D, NO_FIT),
    "IoU": (NO_2D, "no outline of a hand is known in these frames"),
    "penetration_volume": ("switched off (test.penetration)", "no frame with both hands was sampled"),
    "contact_deviation": ("", "the true hands touch in none of these frames"),
}
POSE_DIFFERENCE = (
    "Pose difference (ours; the literature defines none): mean geodesic angle in degrees between the 15 "
    "finger rotations of the right hand and those of the mirrored left hand; six bins of equal count."
)
TRANSLATIONS = (
    "MRRPE and RRVE take the network's own translation between the hands; _rootnet, as InterHand2.6M: the "
    "predicted wrist pixels, the right one at RootNet's depth, the left one at that depth plus the network's "
    "relative depth; _rootnet_both: each wrist at RootNet's depth for it. On synthetic pictures the true "
    "depths stand in. RRVE_gt: placed by the ground truth, which never gives an MRRPE."
)
CONTACT = (
    "Contact deviation: each true right vertex that has a left one within 3 mm keeps the nearest; the mean "
    "predicted distance of these pairs. Vertices lie millimetres apart, so even the truth has about 2 mm."
)


def results(metrics: Metrics, **about: Any) -> dict[str, Any]:
    """Plain data: protocols, counts, units, choices, unavailable, curves, notes and `about`.

    {"protocols": {name: {metric: value or None}}, "counts": {name: {metric: n, "samples": n, "frames": n}}}
    with millimetres unless "units" says otherwise; `about` is what the caller knows: data, hand_model,
    checkpoint, config, commit, ...; its "notes" are kept before ours.
    """
    columns, summary = metrics.columns(), metrics.summary()
    frames = {p.name: int(frame_groups(p, columns)["all"].sum()) if columns else 0 for p in metrics.protocols}
    samples = len(metrics.samples()[0])
    return {
        "protocols": {name: {key: s.value for key, s in scores.items()} for name, scores in summary.items()},
        "counts": {
            name: {"samples": samples, "frames": frames[name]} | {k: s.n for k, s in scores.items()}
            for name, scores in summary.items()
        },
        "units": {key: s.unit for scores in summary.values() for key, s in scores.items()},
        "choices": {p.name: p.choices() for p in metrics.protocols},
        "unavailable": {
            p.name: missing
            for p in metrics.protocols
            if (missing := unavailable(p, summary[p.name], samples, frames[p.name]))
        },
        "curves": {p.name: curves(p, columns) for p in metrics.protocols},
        **about,
        "notes": [*about.get("notes", ()), *notes(metrics, columns)],
    }


def unavailable(protocol: Protocol, scores: dict[str, Score], samples: int, frames: int) -> dict[str, str]:
    """{metric: why it has no number}; "*" stands for the whole protocol."""
    if samples == 0:
        return {"*": "there is no sample"}
    if frames == 0:
        return {"*": f"none of the {samples} frames counts (needed: {protocol.choices()['frames']})"}
    empty = [name for name in REASONS if name not in scores or scores[name].value is None]
    reasons = {name: REASONS[name][name in scores] for name in empty}
    if protocol.truth == "mesh" and "MPJPE" in reasons:
        reasons["MPJPE"] = NO_FIT
    return reasons


def notes(metrics: Metrics, columns: Columns) -> list[str]:
    """Definitions, and what was counted apart instead of averaged."""
    if not columns:
        return []
    ids, found = metrics.samples()[0], [POSE_DIFFERENCE, TRANSLATIONS]
    for name, words in (
        ("missing", "hands without a prediction"),
        ("broken", "predictions with NaN or infinity"),
    ):
        hands = columns[name] > 0  # (N,2)
        if hands.any():
            named = _some(ids[hands.any(1)].tolist())
            found.append(f"{hands.sum()} {words}, left out of every average; in the samples {named}.")
    if np.isfinite(columns["contact_deviation"]).any():
        found.append(CONTACT)
    if np.isfinite(columns.get("penetration_volume", [np.nan])).any():
        measured = int(np.isfinite(columns["penetration_volume"]).sum())
        found.append(
            f"Penetration on {measured} of {len(ids)} frames, a {100 * metrics.penetration:g} % sample by id "
            "(test.penetration=1 measures all)."
        )
    return found


def _some(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def per_sample(metrics: Metrics) -> str:
    """CSV: one line a sample in the order of the ids; empty where nothing was measured."""
    ids, kinds = metrics.samples()
    columns, table = metrics.columns(), {}
    for protocol in metrics.protocols if columns else ():
        for name, values in own_values(protocol, columns).items():
            _add(table, f"{protocol.name} {name}", values)
    for name in (f"{plain}{rough}" for plain in PLAIN for rough in ("", "_rough")):
        if name in columns:
            _add(table, name, columns[name])
    lines = [",".join(["id", "hand_type", *table])]
    numbers = np.stack(list(table.values()), 1) if table else np.zeros((len(ids), 0))
    for name, kind, row in zip(ids.tolist(), kinds.tolist(), numbers.tolist(), strict=True):
        lines.append(",".join([name, kind, *("" if v != v else f"{v:.4f}" for v in row)]))
    return "\n".join(lines) + "\n"


def _add(table: dict[str, NDArray], name: str, values: NDArray) -> None:
    if values.ndim == 1:
        table[name] = values
    else:
        table.update({f"{name}_{hand}": values[:, side] for side, hand in enumerate(HANDS)})


def typical(metrics: Metrics, each: int = 3) -> dict[str, str]:
    """{id: "best 1: 9.8 mm MPVPE (lgnet)", ...}: the best, median and worst samples.

    By the vertex error of both hands, under the first protocol that has any; else the first samples.
    """
    columns, ids = metrics.columns(), metrics.samples()[0]
    for protocol in metrics.protocols if columns else ():
        error = mean(own_values(protocol, columns)["MPVPE"], 1)
        order = np.argsort(error, kind="stable")[: np.isfinite(error).sum()]
        if not len(order):
            continue
        middle = max(0, len(order) // 2 - each // 2)
        parts = {"best": order[:each], "median": order[middle : middle + each], "worst": order[::-1][:each]}
        found: dict[str, str] = {}
        for word, rows in parts.items():
            for number, row in enumerate(rows, 1):
                found.setdefault(
                    str(ids[row]), f"{word} {number}: {error[row]:.1f} mm MPVPE ({protocol.name})"
                )
        return found
    return {str(name): f"sample {number}" for number, name in enumerate(ids[: 3 * each], 1)}
