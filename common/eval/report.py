"""What a person reads and what a program reads of one evaluation: the table and metrics.json."""

from collections.abc import Mapping
from typing import Any

from common.eval.metrics import Metrics
from common.eval.protocols import PROTOCOLS
from common.eval.reduce import Score, curves
from common.hand.joints import HANDS


def results(metrics: Metrics, **about: Any) -> dict[str, Any]:
    """The content of metrics.json, plain data.

    {"protocols": {name: {metric: value or None}}, "counts": {name: {metric: n, "samples": n,
    "frames": n}}, "units": {metric: unit}, "curves": {name: ...}, "choices": {name: sentence},
    **about}. `about` is what the caller knows: data, hand_model, checkpoint, config, commit, ...
    """
    summary, counts = metrics.summary(), metrics.counts()
    return {
        "protocols": {name: {key: s.value for key, s in scores.items()} for name, scores in summary.items()},
        "counts": {
            name: counts[name] | {k: s.n for k, s in scores.items()} for name, scores in summary.items()
        },
        "units": {key: s.unit for scores in summary.values() for key, s in scores.items()},
        "curves": {name: curves(metrics.measured(name)) for name in summary},
        "choices": {name: PROTOCOLS[name].describe() for name in summary},
        **about,
    }


def table(metrics: Metrics, data: str, hand_model: str, synthetic: bool) -> str:
    """The printed table of all protocols. data: what was tested on, in words."""
    kind = "synthetic pictures: no published number compares" if synthetic else "real pictures"
    lines = [f"data: {data} ({kind}); hand model: {hand_model}"]
    counts = metrics.counts()
    for name, scores in metrics.summary().items():
        head = f"protocol {name}: {PROTOCOLS[name].describe()}"
        count = "{frames} of {samples} samples count".format(**counts[name])
        lines += ["", head, count, *_rows(scores)]
    return "\n".join(lines)


def _rows(scores: Mapping[str, Score]) -> list[str]:
    """One line per measure: both hands, right, left, unit and count."""
    lines = [f"{'':<24}{'all':>10}{'right':>10}{'left':>10}  {'unit':<6}{'n':>8}"]
    for name, score in scores.items():
        if name.endswith(tuple(f"_{hand}" for hand in HANDS)):
            continue
        parts = [score, *(scores.get(f"{name}_{hand}") for hand in HANDS)]
        numbers = "".join(f"{_number(part):>10}" for part in parts)
        lines.append(f"{name:<24}{numbers}  {score.unit:<6}{score.n:>8}")
    return lines


def _number(score: Score | None) -> str:
    if score is None:
        return ""
    if score.value is None:
        return "-"
    return f"{score.value:.4f}" if score.unit == "share" else f"{score.value:.2f}"
