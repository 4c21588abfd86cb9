"""The table of an ablation, from the results of the runs that are finished."""

import json
from pathlib import Path
from statistics import fmean
from typing import Any

from common.eval.protocols import LGNET
from common.show.report import markdown, number
from common.utils.files import write_bytes
from tool.ablation.runs import Run

METRICS = ("MPJPE", "MPVPE", "PA_MPVPE", "MRRPE", "AUC", "joint_px", "IoU_both")  # columns of the table
COSTS = ("parameters, M", "multiply-adds, G", "forward, ms")
LONGEST_ERROR = 200  # characters of one in the table

Results = dict[str, Any]  # the content of a metrics.json


def write_table(
    runs: list[Run], failed: dict[Run, str], costs: dict[str, list[str]], head: list[str], folder: Path
) -> str:
    """Write table.md of what is finished -> the table's text.

    `costs` has the cells of each network by label, `head` the lines above the table.
    """
    results = {run: read_results(run) for run in runs if run.finished()}
    metrics = [f"{metric}, {unit(results, metric)}" for metric in METRICS]
    rows = [["run", *COSTS, "samples", "minutes", "lr", "seeds", *metrics, "state"]]
    for label, cost in costs.items():
        network = [run for run in runs if run.label == label]
        best = best_rate([run for run in network if run in results], results)
        scores = [cell([results[run] for run in best], metric) for metric in METRICS]
        rows.append(
            [label, *cost, str(network[0].pictures), *facts(best), *scores, state(network, results, failed)]
        )
    rates = ", ".join(dict.fromkeys(f"{run.config.train.lr:g}" for run in runs))
    caption = (
        f"*Protocol {LGNET.name}; samples: pictures seen; minutes: of training; lr: of those tried ({rates}) "
        "that of the lowest mean MPVPE on these pictures; several seeds: mean (largest - smallest).*"
    )
    commits = sorted({str(result["trained_at"]) for result in results.values()})
    lines = [*head, f"- commit: {', '.join(commits) or '-'}", "", *markdown(rows), "", caption, ""]
    write_bytes(folder / "table.md", "\n".join(lines).encode())
    return "\n".join(lines)


def read_results(run: Run) -> Results:
    return json.loads((run.folder / "result/metrics.json").read_text())


def score(result: Results, metric: str) -> float | None:
    """Under the protocol of the table; None where nothing was measured."""
    return result["protocols"][LGNET.name].get(metric)


def unit(results: dict[Run, Results], metric: str) -> str:
    """mm where no result says otherwise."""
    for result in results.values():
        if metric in result["units"]:
            return result["units"][metric]
    return "mm"


def scores_of(results: list[Results], metric: str) -> list[float]:
    """Those that were measured."""
    every = [score(result, metric) for result in results]
    return [value for value in every if value is not None]


def best_rate(runs: list[Run], results: dict[Run, Results]) -> list[Run]:
    """The runs of the learning rate with the lowest mean MPVPE."""
    by_rate: dict[float, list[Run]] = {}
    for run in runs:
        by_rate.setdefault(run.config.train.lr, []).append(run)

    def mean_error(same_rate: list[Run]) -> float:
        errors = scores_of([results[run] for run in same_rate], "MPVPE")
        return fmean(errors) if errors else float("inf")

    return min(by_rate.values(), key=mean_error, default=[])


def cell(results: list[Results], metric: str) -> str:
    """Mean over the seeds, with the spread where there are several."""
    values = scores_of(results, metric)
    if not values:
        return "-"
    unit_name = results[0]["units"].get(metric, "mm")
    text = number(fmean(values), unit_name)
    if len(values) > 1:
        text += f" ({number(max(values) - min(values), unit_name)})"
    return text


def facts(runs: list[Run]) -> list[str]:
    """Minutes of training, learning rate and seeds of the chosen runs."""
    if not runs:
        return ["-", "-", "-"]
    minutes = fmean(trained_minutes(run) for run in runs)
    seeds = ", ".join(str(run.config.train.seed) for run in runs)
    return [f"{minutes:.1f}", f"{runs[0].config.train.lr:g}", seeds]


def trained_minutes(run: Run) -> float:
    """Sum over the epochs; an epoch that was trained again counts as it was the last time."""
    seconds = {}
    for line in (run.folder / "metrics.jsonl").read_text().splitlines():
        entry = json.loads(line)
        seconds[entry["epoch"]] = entry["seconds"]
    return sum(seconds.values()) / 60


def state(runs: list[Run], results: dict[Run, Results], failed: dict[Run, str]) -> str:
    """What is missing of a network, and why."""
    words = []
    for run in runs:
        if run in results:
            continue
        word = f"failed: {failed[run][:LONGEST_ERROR]}" if run in failed else "running"
        if len(runs) > 1:
            word = f"{run.folder.name.removeprefix(f'{run.label}_')} {word}"
        words.append(word)
    return "; ".join(words) or "finished"
