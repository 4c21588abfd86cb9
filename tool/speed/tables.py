"""The benchmark's measurements as Markdown."""

from typing import Any

from common.show.table import markdown
from common.utils.timing import Spread

GIB = 2**30


def tables(report: dict[str, Any]) -> list[str]:
    """Everything that was measured, in Markdown."""
    about = ", ".join(f"{key} {value}" for key, value in report["machine"].items())
    lines = [f"{about}; commit {report['commit']}; {report['seconds']} s; medians [quartiles]", ""]
    lines += markdown(speed_rows(report))
    for name, ladder in report.get("steps", {}).items():
        head = [f"{name}, inference", *map(batch_head, next(iter(ladder.values())))]
        lines += ["", *markdown([head, *(forward_row(step, ladder[step]) for step in ladder)])]
    if "stream" in report:
        rows = [["end to end, pictures/s", "training", "its loader alone"]]
        for name, row in report["stream"].items():
            rates = [cell(row[part].inverse(row["pictures"])) for part in ("step", "loader")]
            rows.append([name, *rates])
        lines += ["", *markdown(rows)]
    values = [f"{value:.3f}" for value in report["float16"].values()]
    return [*lines, "", *markdown([["float16", *report["float16"]], ["against float32", *values]])]


def speed_rows(report: dict[str, Any]) -> list[list[str]]:
    """A row for each network: forwards, and training where it was trained."""
    forwards, trained = report["inference"], report["training"]
    batches = next(iter(forwards.values()))
    pictures = next(iter(trained.values()))["pictures"]
    heads = [f"training at {pictures}, pictures/s", "peak memory, GiB"]
    rows = [["", *map(batch_head, batches), *heads]]
    for name, measured in forwards.items():
        cells = ["", ""]
        if name in trained:
            row = trained[name]
            peak = "-" if row["peak_bytes"] is None else f"{row['peak_bytes'] / GIB:.1f}"
            cells = [cell(row["seconds"].inverse(row["pictures"])), peak]
        rows.append([*forward_row(name, measured), *cells])
    return rows


def batch_head(batch: str) -> str:
    return "batch 1, ms" if batch == "1" else f"batch {batch}, pictures/s"


def forward_row(name: str, measured: dict[str, Spread]) -> list[str]:
    """Milliseconds of one picture, pictures a second of several."""
    cells = []
    for batch, seconds in measured.items():
        cells.append(cell(seconds.times(1000) if batch == "1" else seconds.inverse(int(batch))))
    return [name, *cells]


def cell(value: Spread) -> str:
    """`1.92 [1.90, 1.95]`; whole numbers from a hundred on."""
    digits = 0 if value.median >= 100 else 2
    return f"{value.median:,.{digits}f} [{value.low:,.{digits}f}, {value.high:,.{digits}f}]"
