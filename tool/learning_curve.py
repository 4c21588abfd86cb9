"""Draws how a network learned: what was measured after so many pictures.

python tool/learning_curve.py docs/learning_curve.jsonl docs/learning_curve.png

Each line of the file is a JSON object with "pictures" and any of the names in PANELS; a line may lack some.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from matplotlib.figure import Figure

from common.show.plots import COLORS, save_figure
from common.utils.errors import UserError, run_script
from common.utils.files import require_writable

# Title of a panel: what it shows, by name in the file and in the legend.
PANELS: dict[str, dict[str, str]] = {
    "error, mm": {"MPVPE": "MPVPE", "MPVPE_rough": "MPVPE, rough mesh", "MPJPE": "MPJPE"},
    "joints, px": {"joints_px": "joints of the heat maps", "vertex_px": "vertices"},
    "silhouette IoU": {
        "IoU": "synthetic-test",
        "photo_IoU_box": "photographs, box given",
        "photo_IoU_whole": "photographs, whole picture",
    },
    "presence right, %": {"presence": "pictures", "presence_single": "pictures of one hand"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("figure", type=Path, help="NAME.png; NAME.pdf comes with it")
    args = parser.parse_args()
    require_writable(args.figure)
    save_figure(draw(read_rows(args.rows)), args.figure.with_suffix(""))
    print(f"wrote {args.figure}")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The measurements, fewest pictures first; UserError on a line that is none."""
    if not path.is_file():
        raise UserError(f"{path} is not there")
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            row["pictures"] + 0
        except (ValueError, TypeError, KeyError):
            raise UserError(
                f'{path}, line {number}: write it as {{"pictures": 8192, "MPVPE": 30.1}}'
            ) from None
        rows.append(row)
    return sorted(rows, key=lambda row: row["pictures"])


def draw(rows: list[dict[str, Any]]) -> Figure:
    figure = Figure(figsize=(9, 6), dpi=110, layout="constrained")
    for axes, (title, lines) in zip(figure.subplots(2, 2).flat, PANELS.items(), strict=True):
        for color, (name, label) in zip(COLORS[: len(lines)], lines.items(), strict=True):
            measured = [row for row in rows if name in row]
            if measured:
                thousands = [row["pictures"] / 1000 for row in measured]
                axes.plot(thousands, [row[name] for row in measured], "o-", color=color, label=label)
        axes.set(title=title, xlabel="thousand pictures seen")
        axes.grid(True, color="#dddddd")
        axes.spines[["top", "right"]].set_visible(False)
        if axes.lines:
            axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    run_script(main)
