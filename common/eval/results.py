"""The content of metrics.json and per_sample.csv: every number with its protocol, count and reason."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.eval.catalogue import CATALOGUE, PER_PROTOCOL, SHARED, Key, Metric, Score, Scores
from common.eval.counting import Columns, frame_groups
from common.eval.metrics import Metrics
from common.eval.protocols import Protocol
from common.eval.reduce import ENDINGS, Curves, curves, mean, own_values, shared_scores
from common.eval.strata import by_stratum
from common.hand.joints import HANDS

SHARED_NAME = "shared"  # stands beside the protocols' names for what needs none
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
ROWS_AT_ONCE = 4096  # of per_sample.csv: numbers of Python's take eight times the memory
UNCOUNTED = {"missing": "hands without a prediction", "broken": "predictions with NaN or infinity"}


@dataclass(frozen=True)
class About:
    """What was tested, on what and how: what the averages do not know."""

    title: str
    data: str  # which pictures, in words
    data_notes: list[str]  # what else of them decides the numbers: their boxes, the view
    synthetic: bool
    hand_model: str
    device: str
    command: str
    commit: str | None
    config: dict[str, dict[str, Any]]
    checkpoint: str | None  # None: the predictions were read from a file
    epoch: int | None
    trained_at: str | None  # commit of the training
    predictions: str | None  # the file they were read from or saved to
    pictures_per_second: float | None = None  # None: no network predicted
    metrics_per_second: float | None = None


@dataclass(frozen=True)
class Results:
    """One evaluation; the maps are by protocol, `unavailable` also holds "shared"."""

    about: About
    samples: int
    frames: dict[str, int]  # of the samples, those that count
    protocols: dict[str, Scores]
    shared: Scores  # metrics that need no protocol, over all samples
    unavailable: dict[str, dict[str, str]]  # {metric: why it has no number}; "*" is the whole protocol
    choices: dict[str, dict[str, str]]  # what a protocol means, in words
    curves: dict[str, Curves]
    notes: list[str]
    strata: dict[str, dict[str, float | None]]  # see strata.py

    def to_plain(self) -> dict[str, Any]:
        """The content of metrics.json. "metrics" repeats the catalogue for who reads the file alone."""
        used = {key.metric for key in self.shared}
        for scores in self.protocols.values():
            used |= {key.metric for key in scores}
        rows = [metric for metric in CATALOGUE.values() if metric.name in used]
        return {
            "about": dataclasses.asdict(self.about),
            "samples": self.samples,
            "frames": self.frames,
            "protocols": {name: _nest(scores) for name, scores in self.protocols.items()},
            "shared": _nest(self.shared),
            "metrics": {
                row.name: {"unit": row.unit, "better": row.better, "meaning": row.meaning} for row in rows
            },
            "unavailable": self.unavailable,
            "choices": self.choices,
            "notes": self.notes,
            "curves": self.curves,
            "strata": self.strata,
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "Results":
        """What `to_plain` gave. Raises ValueError, TypeError, KeyError or AttributeError of anything else."""
        fields = {field.name: plain[field.name] for field in dataclasses.fields(cls)}
        fields["about"] = About(**plain["about"])
        fields["protocols"] = {name: _flatten(scores) for name, scores in plain["protocols"].items()}
        fields["shared"] = _flatten(plain["shared"])
        return cls(**fields)


def _nest(scores: Scores) -> dict[str, dict[str, dict[str, dict[str, float | int | None]]]]:
    """{metric: {mesh: {part: {"value", "n"}}}}."""
    nested: dict = {}
    for (metric, mesh, part), score in scores.items():
        nested.setdefault(metric, {}).setdefault(mesh, {})[part] = score._asdict()
    return nested


def _flatten(nested: dict[str, dict[str, dict[str, dict[str, Any]]]]) -> Scores:
    scores: Scores = {}
    for metric, meshes in nested.items():
        if metric not in CATALOGUE:
            raise ValueError(f"unknown metric {metric}")
        for mesh, parts in meshes.items():
            for part, score in parts.items():
                scores[Key(metric, mesh, part)] = Score(score["value"], score["n"])
    return scores


def results(
    metrics: Metrics,
    about: About,
    notes: Sequence[str] = (),
    strata: Mapping[str, Collection[str]] | None = None,
) -> Results:
    """All that was measured; `notes` stand between those of the data and ours; strata: {name: ids}."""
    columns, protocols = metrics.columns(), metrics.summary()
    ids, shared = metrics.samples()[0], shared_scores(columns)
    samples = len(ids)
    frames, missing = {}, {}
    for protocol in metrics.protocols:
        name = protocol.name
        frames[name] = int(frame_groups(protocol, columns)["all"].sum()) if columns else 0
        missing[name] = unavailable(protocol, protocols[name], samples, frames[name])
    if samples:
        missing[SHARED_NAME] = _reasons(SHARED, shared)
    return Results(
        about=about,
        samples=samples,
        frames=frames,
        protocols=protocols,
        shared=shared,
        unavailable={name: reasons for name, reasons in missing.items() if reasons},
        choices={protocol.name: protocol.choices() for protocol in metrics.protocols},
        curves={protocol.name: curves(protocol, columns) for protocol in metrics.protocols},
        notes=[*about.data_notes, *notes, *_notes(metrics, columns)],
        strata=by_stratum(metrics.protocols[0], ids, columns, strata or {}) if samples else {},
    )


def unavailable(protocol: Protocol, scores: Scores, samples: int, frames: int) -> dict[str, str]:
    """{metric: why it has no number}; "*" stands for the whole protocol."""
    if samples == 0:
        return {"*": "there is no sample"}
    if frames == 0:
        return {"*": f"none of the {samples} frames counts (needed: {protocol.choices()['frames']})"}
    return _reasons([metric for metric in PER_PROTOCOL if protocol.scaled or not metric.if_scaled], scores)


def _reasons(metrics: Sequence[Metric], scores: Scores) -> dict[str, str]:
    reasons = {}
    for metric in metrics:
        score = scores.get(Key(metric.name))
        if score is None:
            reasons[metric.name] = metric.without
        elif score.value is None:
            reasons[metric.name] = metric.unlabelled
    return reasons


def _notes(metrics: Metrics, columns: Columns) -> list[str]:
    """Definitions, and what was counted apart instead of averaged."""
    if not columns:
        return []
    ids, notes = metrics.samples()[0], [POSE_DIFFERENCE, TRANSLATIONS]
    for column, words in UNCOUNTED.items():
        hands = columns[column] > 0  # (N,2)
        if hands.any():
            names = _some(ids[hands.any(1)].tolist())
            notes.append(f"{hands.sum()} {words}, left out of every average; in the samples {names}.")
    if np.isfinite(columns["contact_deviation"]).any():
        notes.append(CONTACT)
    measured = int(np.isfinite(columns.get("penetration_volume", np.nan)).sum())
    if measured:
        notes.append(
            f"Penetration on {measured} of {len(ids)} frames, a {100 * metrics.penetration:g} % sample by id "
            "(test.penetration=1 measures all)."
        )
    return notes


def _some(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def per_sample(metrics: Metrics) -> str:
    """CSV: one line a sample in the order of the ids; empty where nothing was measured."""
    ids, kinds = metrics.samples()
    table = _sample_columns(metrics) if len(ids) else {}
    lines = [",".join(["id", "hand_type", *table])]
    row_form = ",".join(["%.4f"] * len(table))
    for start in range(0, len(ids), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        numbers = np.stack([values[rows] for values in table.values()], 1).tolist()
        for name, kind, row in zip(ids[rows].tolist(), kinds[rows].tolist(), numbers, strict=True):
            lines.append(f"{name},{kind},{(row_form % tuple(row)).replace('nan', '')}")
    return "\n".join(lines) + "\n"


def _sample_columns(metrics: Metrics) -> dict[str, NDArray]:
    """{name: (N,)} of the protocols' errors per hand and of every metric that is a column by itself."""
    columns, table = metrics.columns(), {}
    for protocol in metrics.protocols:
        for name, values in own_values(protocol, columns).items():
            table[f"{protocol.name} {name}"] = values
    for metric in SHARED:
        for ending in ENDINGS.values():
            column = columns.get(metric.name + ending)
            if column is not None:
                table[metric.name + ending] = mean(column, 2) if column.ndim == 3 else column
    single: dict[str, NDArray] = {}
    for name, values in table.items():
        if values.ndim == 1:
            single[name] = values
        else:
            single.update({f"{name}_{hand}": values[:, side] for side, hand in enumerate(HANDS)})
    return single


def typical(metrics: Metrics, each: int = 3) -> dict[str, str]:
    """{id: "best 1: 9.8 mm MPVPE (lgnet)", ...}: the best, median and worst samples.

    By the vertex error of both hands, under the first protocol that has any; else the first samples.
    """
    columns, ids = metrics.columns(), metrics.samples()[0]
    for protocol in metrics.protocols if columns else ():
        error = mean(own_values(protocol, columns)["MPVPE"], 1)
        order = np.argsort(error, kind="stable")[: np.isfinite(error).sum()]
        if len(order):
            return _captions(order, error, ids, protocol.name, each)
    return {str(name): f"sample {number}" for number, name in enumerate(ids[: 3 * each], 1)}


def _captions(order: NDArray, error: NDArray, ids: NDArray, protocol: str, each: int) -> dict[str, str]:
    """order: rows of the samples, the best first."""
    middle = max(0, len(order) // 2 - each // 2)
    parts = {"best": order[:each], "median": order[middle : middle + each], "worst": order[::-1][:each]}
    captions: dict[str, str] = {}
    for word, rows in parts.items():
        for number, row in enumerate(rows, 1):
            text = f"{word} {number}: {error[row]:.1f} mm MPVPE ({protocol})"
            captions.setdefault(str(ids[row]), text)
    return captions
