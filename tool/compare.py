"""Lay evaluations side by side: one table per protocol, compare.md, and figures with a curve per run.

python tool/compare.py A/metrics.json B/metrics.json ... [--protocol lgnet] [--output DIR] [--published]
"""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.eval.protocols import LGNET
from common.show.plots import pck_figure, pose_figure, save_figure
from common.show.report import Found, Rows, markdown, number
from common.utils.errors import UserError, run_script
from common.utils.files import write_bytes

OUTPUT = Path(__file__).resolve().parents[1] / "output" / "compare"
MAPS, FACTS = ("protocols", "counts", "units", "choices", "curves"), ("data", "synthetic", "hand_model")
HIGHER_IS_BETTER = ("AUC", "PCK", "IoU", "box_IoU", "presence_accuracy")  # beginnings of names
Runs = dict[str, Found]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("metrics", type=Path, nargs="+", help="metrics.json of each evaluation")
    options.add_argument("--protocol", help="only this one (default: all)")
    options.add_argument("--output", type=Path, default=OUTPUT, help=f"folder (default: {OUTPUT})")
    options.add_argument("--published", action="store_true", help="draw the paper's curves, dashed")
    args = options.parse_args()
    runs = read_runs(args.metrics)
    names = chosen(runs, args.protocol)
    text = "\n".join(comparison(runs, names, args.metrics))
    if args.published and any(found["synthetic"] for found in runs.values()):
        text += "\n\nWARNING: the published curves are of InterHand2.6M, not of synthetic pictures"
    print(text)
    write_bytes(args.output / "compare.md", (text + "\n").encode())
    for name in names:
        draw(runs, name, args.output, args.published and name == LGNET.name)
    print(f"results: {args.output / 'compare.md'}")


def read_runs(paths: list[Path]) -> Runs:
    """{label: metrics.json}; a label is the run's title, numbered where it comes twice."""
    runs: Runs = {}
    for path in paths:
        found = read_metrics(path)
        same = sum(other["title"] == found["title"] for other in runs.values())
        runs[f"{found['title']} ({same + 1})" if same else found["title"]] = found
    return runs


def read_metrics(path: Path) -> Found:
    """One metrics.json. Raises UserError, naming the file, if it is not one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:  # neither JSON nor text
        raise UserError(f"{path} is not JSON; give the metrics.json that test.py wrote") from None
    maps = [found.get(key) for key in MAPS] if isinstance(found, dict) else [None]
    good = all(isinstance(part, dict) for part in maps) and all(key in found for key in ("title", *FACTS))
    inner = (
        [v for key in ("protocols", "counts", "choices", "curves") for v in found[key].values()]
        if good
        else []
    )
    if not good or not all(isinstance(part, dict) for part in inner):
        raise UserError(f"{path} is not a metrics.json as test.py writes it now; test that run again")
    return found


def chosen(runs: Runs, only: str | None) -> list[str]:
    """The protocols to show. Raises UserError on one that no run has."""
    names = list(dict.fromkeys(name for found in runs.values() for name in found["protocols"]))
    if only is not None and only not in names:
        raise UserError(f"no run has the protocol '{only}'; there are: {', '.join(names)}")
    return [only] if only else names


def comparison(runs: Runs, names: Iterable[str], paths: list[Path]) -> list[str]:
    """The lines of the comparison: Markdown that also reads on a screen."""
    general = [w for key in FACTS for w in warn(key, {label: found[key] for label, found in runs.items()})]
    lines = ["# Runs side by side", ""]
    lines += [f"- {label}: {path}" for label, path in zip(runs, paths, strict=True)]
    lines += ["", *general] if general else []
    for name in names:
        warnings = protocol_warnings(runs, name)
        alike = not (general or warnings)
        rows = metric_rows(runs, name, alike)
        uneven = [row[0] for row in rows if " / " in row[2]]
        # where nothing is ranked the column n says it
        warnings += [f"WARNING: n differs for {', '.join(uneven)}"] * bool(uneven and alike)
        if rows:
            mark = "best: *, where n is the same" if alike else "no best is marked: the runs differ"
            table = markdown([["metric", "unit", "n", *runs], *rows])
            lines += ["", f"## {name} ({mark})", "", *warnings, *[""] * bool(warnings), *table]
    return lines


def warn(what: str, values: dict[str, Any]) -> list[str]:
    """One line if a value is not the same in all runs."""
    if len({json.dumps(value) for value in values.values()}) < 2:
        return []
    return [f"WARNING: {what} differs: " + "; ".join(f"{label}: {value}" for label, value in values.items())]


def protocol_warnings(runs: Runs, name: str) -> list[str]:
    """What differs between the runs that have a protocol: its choices and the frames that count."""
    having = {label: found for label, found in runs.items() if found["protocols"].get(name)}
    keys = dict.fromkeys(key for found in having.values() for key in found["choices"].get(name, {}))
    keys.pop("source", None)  # words, not a choice
    lines = [
        line
        for key in keys
        for line in warn(
            f"choice of {key}", {label: f["choices"].get(name, {}).get(key) for label, f in having.items()}
        )
    ]
    for key in ("samples", "frames"):
        lines += warn(
            f"count of {key}", {label: f["counts"].get(name, {}).get(key) for label, f in having.items()}
        )
    return lines


def metric_rows(runs: Runs, name: str, mark: bool) -> Rows:
    """Metric, unit, n and a value per run. The best value is marked if all runs share one n."""
    keys = dict.fromkeys(key for found in runs.values() for key in found["protocols"].get(name, {}))
    rows = []
    for key in keys:
        values = [found["protocols"].get(name, {}).get(key) for found in runs.values()]
        if all(value is None for value in values):
            continue
        unit = next((found["units"][key] for found in runs.values() if key in found["units"]), "mm")
        having = [found for found in runs.values() if key in found["protocols"].get(name, {})]
        counts = [str(found["counts"].get(name, {}).get(key, "?")) for found in having]
        best = best_value(key, values) if mark and len(set(counts)) == 1 else None
        numbers = [number(v, unit) + " *" * (v is not None and v == best) for v in values]
        rows.append([key, unit, " / ".join(dict.fromkeys(counts)), *numbers])
    return rows


def best_value(key: str, values: list[float | None]) -> float | None:
    """The best of several; None where nothing is better than anything else."""
    known = {value for value in values if value is not None}
    if len(known) < 2 or key.endswith("_truth"):
        return None
    return max(known) if key.startswith(HIGHER_IS_BETTER) else min(known)


def draw(runs: Runs, name: str, folder: Path, published: bool) -> None:
    """PCK and error by pose difference as PNG and PDF, where any run has the curve."""
    curves = {label: found["curves"].get(name, {}) for label, found in runs.items()}
    for key, stem, figure in (("PCK", "pck", pck_figure), ("pose_bins", "pose", pose_figure)):
        if any(curve.get(key) for curve in curves.values()):
            save_figure(figure(curves, published), folder / f"{stem}_{name}")


if __name__ == "__main__":
    run_script(main)
