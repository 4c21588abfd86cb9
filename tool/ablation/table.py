"""The table of an ablation, from the results of the runs that are finished."""

import json
from pathlib import Path
from statistics import fmean

from common.eval.catalogue import CATALOGUE, Key
from common.eval.protocols import LGNET
from common.eval.results import Results
from common.show.table import markdown, number
from common.utils.files import write_bytes
from tool.ablation.runs import Run

METRICS = ("MPJPE", "MPVPE", "PA_MPVPE", "MRRPE", "AUC", "joint_px", "IoU_both")  # columns of the table
COSTS = ("parameters, M", "multiply-adds, G", "forward, ms")
LONGEST_ERROR = 200  # characters of one in the table


def write_table(
    runs: list[Run], failed: dict[Run, str], costs: dict[str, list[str]], head: list[str], folder: Path
) -> str:
    """Write table.md of what is finished -> the table's text.

    `costs` has the cells of each network by label, `head` the lines above the table.
    """
    results = {run: read_results(run) for run in runs if run.finished()}
    metrics = [f"{metric}, {CATALOGUE[metric].unit}" for metric in METRICS]
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
    commits = sorted({str(result.about.trained_at) for result in results.values()})
    lines = [*head, f"- commit: {', '.join(commits) or '-'}", "", *markdown(rows), "", caption, ""]
    write_bytes(folder / "table.md", "\n".join(lines).encode())
    return "\n".join(lines)


def read_results(run: Run) -> Results:
    return Results.from_plain(json.loads((run.results / "metrics.json").read_text()))


def values(results: list[Results], metric: str) -> list[float]:
    """Of the final mesh, all frames and both hands, under the protocol of the table where one is needed;
    those that were measured."""
    measured = []
    for result in results:
        scores = result.protocols[LGNET.name] | result.shared
        score = scores.get(Key(metric))
        if score is not None and score.value is not None:
            measured.append(score.value)
    return measured


def best_rate(runs: list[Run], results: dict[Run, Results]) -> list[Run]:
    """The runs of the learning rate with the lowest mean MPVPE."""
    by_rate: dict[float, list[Run]] = {}
    for run in runs:
        by_rate.setdefault(run.config.train.lr, []).append(run)

    def mean_error(same_rate: list[Run]) -> float:
        errors = values([results[run] for run in same_rate], "MPVPE")
        return fmean(errors) if errors else float("inf")

    return min(by_rate.values(), key=mean_error, default=[])


def cell(results: list[Results], metric: str) -> str:
    """Mean over the seeds, with the spread where there are several."""
    measured = values(results, metric)
    if not measured:
        return "-"
    text = number(fmean(measured), metric)
    if len(measured) > 1:
        text += f" ({number(max(measured) - min(measured), metric)})"
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
