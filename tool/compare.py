"""Lay evaluations side by side: a headline on the screen, every number in compare.md, a curve per run.

python tool/compare.py A/metrics.json B/metrics.json ... [--protocol lgnet] [--output DIR] [--published]
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.eval.catalogue import CATALOGUE, HEADLINE, MESHES, PARTS, Key, Scores
from common.eval.protocols import LGNET
from common.eval.results import SHARED_NAME, Results
from common.show.plots import pck_figure, pose_figure, save_figure
from common.show.table import Rows, markdown, number
from common.utils.errors import UserError, run_script
from common.utils.files import write_bytes

OUTPUT = Path(__file__).resolve().parents[1] / "output" / "compare"
HEADLINE_KEYS = [Key(metric) for metric in HEADLINE]
EVERY_KEY = [Key(metric, mesh, part) for metric in CATALOGUE for mesh in MESHES for part in PARTS]
Runs = dict[str, Results]  # by label


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("metrics", type=Path, nargs="+", help="metrics.json of each evaluation")
    options.add_argument("--protocol", help="only this one (default: all)")
    options.add_argument("--output", type=Path, default=OUTPUT, help=f"folder (default: {OUTPUT})")
    options.add_argument("--published", action="store_true", help="draw the paper's curves, dashed")
    args = options.parse_args()
    runs = read_runs(args.metrics)
    names = chosen(runs, args.protocol)
    head = headline(runs, names, args.metrics)
    if args.published and any(run.about.synthetic for run in runs.values()):
        head += ["", "WARNING: the published curves are of InterHand2.6M, not of synthetic pictures"]
    print("\n".join(head))
    text = "\n".join([*head, *every_table(runs, names)])
    write_bytes(args.output / "compare.md", (text + "\n").encode())
    for name in names:
        draw(runs, name, args.output, args.published and name == LGNET.name)
    print(f"results, every number: {args.output / 'compare.md'}")


def read_runs(paths: list[Path]) -> Runs:
    """{label: evaluation}; a label is the run's title, numbered where it comes twice."""
    runs: Runs = {}
    titles: list[str] = []
    for path in paths:
        run = read_metrics(path)
        titles.append(run.about.title)
        times = titles.count(run.about.title)
        runs[f"{run.about.title} ({times})" if times > 1 else run.about.title] = run
    return runs


def read_metrics(path: Path) -> Results:
    """One metrics.json. Raises UserError, naming the file, if it is not one."""
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:  # neither JSON nor text
        raise UserError(f"{path} is not JSON; give the metrics.json that test.py wrote") from None
    try:
        return Results.from_plain(plain)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(
            f"{path} is not a metrics.json as test.py writes it now; test that run again"
        ) from None


def chosen(runs: Runs, only: str | None) -> list[str]:
    """The protocols to show. Raises UserError on one that no run has."""
    names = list(dict.fromkeys(name for run in runs.values() for name in run.protocols))
    if only is not None and only not in names:
        raise UserError(f"no run has the protocol '{only}'; there are: {', '.join(names)}")
    return [only] if only else names


# ---- what does not compare ----


def differs(what: str, runs: Runs, value_of: Callable[[Results], object]) -> list[str]:
    """One line if a value is not the same in all runs."""
    values = {label: value_of(run) for label, run in runs.items()}
    if len({json.dumps(value) for value in values.values()}) < 2:
        return []
    return [f"WARNING: {what} differs: " + "; ".join(f"{label}: {value}" for label, value in values.items())]


def general_warnings(runs: Runs) -> list[str]:
    """What makes no number compare."""
    lines = differs("data", runs, lambda run: run.about.data)
    lines += differs("what the data say", runs, lambda run: " ".join(run.about.data_notes))
    lines += differs("synthetic", runs, lambda run: run.about.synthetic)
    lines += differs("hand_model", runs, lambda run: run.about.hand_model)
    return lines + differs("count of samples", runs, lambda run: run.samples)


def protocol_warnings(runs: Runs, name: str) -> list[str]:
    """What differs between the runs that have a protocol: its choices and the frames that count."""
    having = {label: run for label, run in runs.items() if run.protocols.get(name)}
    choices = list(dict.fromkeys(choice for run in having.values() for choice in run.choices[name]))
    lines = []
    for choice in choices:
        if choice != "source":  # words, not a choice
            lines += differs(f"choice of {choice}", having, lambda run, c=choice: run.choices[name].get(c))
    return lines + differs("count of frames", having, lambda run: run.frames[name])


# ---- tables ----


def headline(runs: Runs, names: Sequence[str], paths: Sequence[Path]) -> list[str]:
    """The runs, what makes them differ, and the few numbers to look at first: of the first protocol in
    which anything was measured, and of what needs none."""
    lines = ["# Runs side by side", ""]
    lines += [f"- {label}: {path}" for label, path in zip(runs, paths, strict=True)]
    general = general_warnings(runs)
    name = next((name for name in names if _rows(runs, name, HEADLINE_KEYS, mark=False)), None)
    shared = _rows(runs, SHARED_NAME, HEADLINE_KEYS, mark=not general)
    if name is None:
        return lines + _section("headline", runs, shared, general, mark=not general)
    warnings = general + protocol_warnings(runs, name)
    rows = _rows(runs, name, HEADLINE_KEYS, mark=not warnings)
    return lines + _section(f"headline, {name}", runs, rows + shared, warnings, mark=not warnings)


def every_table(runs: Runs, names: Iterable[str]) -> list[str]:
    """Every number of each protocol, and of what needs none."""
    general = general_warnings(runs)
    lines = []
    for name in (*names, SHARED_NAME):
        warnings = [] if name == SHARED_NAME else protocol_warnings(runs, name)
        mark = not (general or warnings)
        lines += _section(name, runs, _rows(runs, name, EVERY_KEY, mark), warnings, mark)
    return lines


def _section(name: str, runs: Runs, rows: Rows, warnings: list[str], mark: bool) -> list[str]:
    """A heading, warnings and a Markdown table that also reads on a screen."""
    if not rows:
        return []
    uneven = [row[0] for row in rows if " / " in row[2]]
    if uneven and mark:  # where nothing is ranked the column n says it
        warnings = [*warnings, f"WARNING: n differs for {', '.join(uneven)}"]
    words = "best: *, where n is the same" if mark else "no best is marked: the runs differ"
    lines = ["", f"## {name} ({words})", ""]
    if warnings:
        lines += [*warnings, ""]
    return [*lines, *markdown([["metric", "unit", "n", *runs], *rows])]


def _rows(runs: Runs, name: str, keys: Iterable[Key], mark: bool) -> Rows:
    """Metric, unit, n and a value per run; the best value is marked if all runs share one n."""
    scores = [run.shared if name == SHARED_NAME else run.protocols.get(name, {}) for run in runs.values()]
    rows = [_row(scores, key, mark) for key in keys]
    return [row for row in rows if row]


def _row(scores: list[Scores], key: Key, mark: bool) -> list[str]:
    """[] where no run has a value."""
    values = [of_run[key].value if key in of_run else None for of_run in scores]
    if all(value is None for value in values):
        return []
    counts = dict.fromkeys(str(of_run[key].n) for of_run in scores if key in of_run)
    best = best_value(key.metric, values) if mark and len(counts) == 1 else None
    cells = []
    for value in values:
        star = " *" if value is not None and value == best else ""
        cells.append(number(value, key.metric) + star)
    return [label(key), CATALOGUE[key.metric].unit, " / ".join(counts), *cells]


def label(key: Key) -> str:
    """As MPJPE, or MPJPE rough right."""
    words = [key.metric]
    if key.mesh != "final":
        words.append(key.mesh)
    if key.part != "overall":
        words.append(key.part)
    return " ".join(words)


def best_value(metric: str, values: list[float | None]) -> float | None:
    """The best of several; None where nothing is better than anything else."""
    known = {value for value in values if value is not None}
    better = CATALOGUE[metric].better
    if len(known) < 2 or better == "neither":
        return None
    return max(known) if better == "up" else min(known)


def draw(runs: Runs, name: str, folder: Path, published: bool) -> None:
    """PCK and error by pose difference as PNG and PDF, where any run has the curve."""
    curves = {label: run.curves.get(name, {}) for label, run in runs.items()}
    for key, stem, figure in (("PCK", "pck", pck_figure), ("pose_bins", "pose", pose_figure)):
        if any(of_run.get(key) for of_run in curves.values()):
            save_figure(figure(curves, published), folder / f"{stem}_{name}")


if __name__ == "__main__":
    run_script(main)
