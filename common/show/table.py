"""Tables: built once, printed on the screen, into HTML or as Markdown."""

import html
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from common.eval.catalogue import CATALOGUE

SCREEN_WIDTH, LABEL_WIDTH = 110, 24
NARROWEST, WIDEST = 17, 40  # columns: "0.7099 | 0.7131" has to fit
Rows = list[list[str]]


class Cell(NamedTuple):
    """A text with something small below it: the meaning of a label, the frames behind a number."""

    text: str
    small: str = ""


@dataclass(frozen=True)
class Table:
    """A head and rows of cells, the first of each row its label."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def number(value: float | None, metric: str) -> str:
    """A value of a metric as printed; "-" where nothing was measured."""
    digits = 4 if CATALOGUE[metric].unit == "share" else 2
    return "-" if value is None else f"{value:.{digits}f}"


def equal_widths(columns: int) -> list[int]:
    """Widths of a label and of columns beside it; up to five fit on the screen."""
    room = (SCREEN_WIDTH - LABEL_WIDTH) // max(1, columns)
    each = min(max(room, NARROWEST), WIDEST)
    return [LABEL_WIDTH] + [each] * columns


def screen(table: Table, widths: Sequence[int]) -> list[str]:
    """Lines of columns side by side; a long cell wraps inside its column.

    What stands small below the numbers of a row is printed as a line above it, and holds for the rows below
    until it changes. The small words of labels are left out.
    """
    lines = _lay(table.head, widths) if any(table.head) else []
    current = [""] * (len(widths) - 1)
    for label, *cells in table.rows:
        small = [cell.small for cell in cells]
        if any(new not in ("", old) for new, old in zip(small, current, strict=True)):
            lines += _lay(["", *small], widths)
        current = [new or old for new, old in zip(small, current, strict=True)]
        lines += _lay([label.text, *(cell.text for cell in cells)], widths)
    return lines


def _lay(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """One row as lines."""
    columns = []
    for text, width in zip(row, widths, strict=True):
        # a text of several lines loses the spaces at its breaks; a number keeps those that align it
        columns.append(textwrap.wrap(text, width - 1, drop_whitespace=len(text) >= width) or [""])
    lines = []
    for index in range(max(map(len, columns))):
        parts = [column[index] if index < len(column) else "" for column in columns]
        lines.append("".join(part.ljust(width) for part, width in zip(parts, widths, strict=True)).rstrip())
    return lines


def escape(value: object) -> str:
    """Text for HTML; an address is broken up, so that nothing in the page can be taken for a link."""
    return html.escape(str(value)).replace("//", "&#47;&#47;")


def to_html(table: Table, kind: str = "numbers") -> str:
    """A table that scrolls by itself on a narrow screen; its CSS class is `kind`."""
    head = "".join(f"<th>{escape(name)}</th>" for name in table.head)
    rows = []
    for name, *cells in table.rows:
        data = "".join(f"<td>{_html_cell(cell)}</td>" for cell in cells)
        rows.append(f"<tr><th>{_html_cell(name)}</th>{data}</tr>")
    body = "\n".join(rows)
    return (
        f'<div class="wide"><table class="{kind}"><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def _html_cell(cell: Cell) -> str:
    small = f"<small>{escape(cell.small)}</small>" if cell.small else ""
    return escape(cell.text.strip()) + small


def markdown(rows: Rows) -> list[str]:
    """A Markdown table with aligned columns, the first (names) to the left, the others to the right."""
    rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines
