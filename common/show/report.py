"""What a person reads of one evaluation: the table on the screen and report.html.

Both take `found`, the content of metrics.json, and show whatever metrics it holds. A metric's key is
a base name, "_rough" for the mesh before refinement, and a suffix for a part of the frames or a hand.
"""

import base64
import html
import json
import textwrap
from collections.abc import Sequence
from typing import Any

from common.hand.joints import HANDS, JOINT_NAMES

Found = dict[str, Any]
Rows = list[list[str]]
SUFFIXES = ("SH", "IH", "all", *HANDS)
BROKEN_DOWN = ("MPJPE", "MPVPE")  # whose parts are shown on the screen
CHOICES = ("root", "scale", "joints", "tips", "frames", "average", "source")
DECIDING = ("root", "scale", "joints", "frames")  # the choices shown on the screen
SCREEN_WIDTH, LABEL_WIDTH = 110, 24

# The metrics of the headline table, in its order, and what each means.
HEADLINE = {
    "MPJPE": "mean distance of the 21 joints, per hand, the roots laid on each other",
    "MPVPE": "the same of the 778 vertices",
    "PA_MPJPE": "joints after the best similarity transform per hand",
    "PA_MPVPE": "vertices after the best similarity transform per hand",
    "MPJPE_unscaled": "MPJPE without scaling to the true bone",
    "MPVPE_unscaled": "MPVPE without scaling to the true bone",
    "AUC": "area under the PCK curve of the joints, 0 to 50 mm",
    "MRRPE": "left wrist relative to the right one, the network's own translation",
    "MRRPE_plane": "its part across the picture",
    "MRRPE_depth": "its part along the depth",
    "MRRPE_rootnet": "the same from RootNet's wrist depths",
    "RRVE": "vertices of both hands about the right wrist, own translation",
    "RRVE_rootnet": "the same, placed by RootNet",
    "RRVE_gt": "the same, placed by the true translation",
    "root_rotation": "angle between predicted and true wrist rotation",
    "local_rotation": "mean angle of the 15 finger rotations",
    "joint_px": "joint stage, distance in the 256-pixel crop",
    "vertex_px": "mesh under its own camera, distance in the crop",
    "PCK2D_10": "joints of the joint stage within 10 % of the crop's side",
    "box_IoU": "overlap of the boxes about predicted and true vertices",
    "IoU_both": "overlap of predicted and true silhouettes, both hands",
    "penetration_volume": "volume that the two hands share",
    "penetration_volume_truth": "the same of the true hands",
    "penetration_max": "deepest vertex of one hand inside the other",
    "contact_deviation": "distance of vertex pairs that touch in the truth",
    "presence_accuracy": "hands rightly called present or absent",
}


def number(value: float | None, unit: str) -> str:
    """A value as printed; "-" where nothing was measured."""
    return "-" if value is None else f"{value:.{4 if unit == 'share' else 2}f}"


def markdown(rows: Rows) -> list[str]:
    """A Markdown table with aligned columns, the first (names) to the left, the others to the right."""
    rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    cells = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows)
    return [f"| {' | '.join(row)} |" for row in cells]


def split_key(key: str) -> tuple[str, str]:
    """Base name and suffix ("" for the headline): MPJPE_rough_right -> MPJPE, right."""
    base, _, suffix = key.rpartition("_")
    base, suffix = (base, suffix) if base and suffix in SUFFIXES else (key, "")
    return base.removesuffix("_rough"), suffix


def cell(found: Found, name: str, base: str, suffix: str = "", width: int = 0) -> str:
    """One metric of a protocol, "final" or "final | rough"; "" where the protocol does not have it."""
    scores, ending = found["protocols"][name], f"_{suffix}" if suffix else ""
    keys = [key for key in (base + ending, f"{base}_rough{ending}") if key in scores]
    return " | ".join(f"{number(scores[key], found['units'].get(key, 'mm')):>{width}}" for key in keys)


def measured(found: Found) -> list[str]:
    """The protocols in which anything was measured."""
    return [
        name for name, scores in found["protocols"].items() if any(v is not None for v in scores.values())
    ]


def missing(found: Found) -> list[tuple[str, str]]:
    """(what, why) of everything that is not available, equal reasons together."""
    together: dict[tuple[str, str], list[str]] = {}
    for name, reasons in found["unavailable"].items():
        keys: dict[str, list[str]] = {}
        for key, why in reasons.items():
            keys.setdefault(why, []).append(key)
        for why, group in keys.items():
            what = "all of it" if "*" in group else ", ".join(group)
            together.setdefault((what, why), []).append(name)
    return [(f"{', '.join(names)}: {what}", why) for (what, why), names in together.items()]


def warnings(found: Found) -> list[str]:
    """What must be known before any number is read."""
    synthetic = "Synthetic pictures: no published number compares with these."
    hand = f"Hand model: {found['hand_model']}, not MANO. Its errors do not compare with MANO's."
    return [synthetic] * bool(found["synthetic"]) + [hand] * (found["hand_model"] != "MANO")


# ---- the screen ----


def table(found: Found) -> str:
    """The screen table: choices, then metrics, one column per protocol; what is missing; notes."""
    names = measured(found)
    width = min(40, (SCREEN_WIDTH - LABEL_WIDTH) // max(1, len(names)))
    lines = textwrap.wrap(f"{found['title']} on {found['data']}", SCREEN_WIDTH) + warnings(found)
    if names:
        rows = [["protocol", *names], *_deciding(found, names), _frames(found, names)]
        lines += ["", *(line for row in rows for line in _lay(row, width))]
        lines += ["-" * SCREEN_WIDTH, "mm where no unit is named; refined | rough mesh"]
        lines += [line for row in _screen_metrics(found, names) for line in _lay(row, width)]
    reasons = [f"not available: {what} ({why})" for what, why in missing(found)]
    for sentence in reasons + [f"note: {note}" for note in found["notes"]]:
        lines += textwrap.wrap(sentence, SCREEN_WIDTH, subsequent_indent="  ")
    return "\n".join(line.rstrip() for line in lines)


def _deciding(found: Found, names: Sequence[str]) -> Rows:
    rows = [[key, *(found["choices"][name].get(key, "") for name in names)] for key in DECIDING]
    return [row for row in rows if len(names) == 1 or len(set(row[1:])) > 1]


def _frames(found: Found, names: Sequence[str]) -> list[str]:
    counts = [found["counts"].get(name, {}) for name in names]
    return ["n", *(f"{count.get('frames', '?')} of {count.get('samples', '?')}" for count in counts)]


def _lay(row: Sequence[str], width: int) -> list[str]:
    """One row as lines: long cells wrap inside their column."""
    columns = [
        [row[0]],
        *(textwrap.wrap(text, width - 1, drop_whitespace=len(text) >= width) for text in row[1:]),
    ]
    height = max(map(len, columns))
    filled = [column + [""] * (height - len(column)) for column in columns]
    return [
        label.ljust(LABEL_WIDTH) + "".join(part.ljust(width) for part in parts)
        for label, *parts in zip(*filled, strict=True)
    ]


def _screen_metrics(found: Found, names: Sequence[str]) -> Rows:
    rows: Rows = []
    for base in HEADLINE:
        unit = found["units"].get(base, "mm")
        label = "  of the true hands" if base.endswith("_truth") else base + f", {unit}" * (unit != "mm")
        parts: list[tuple[str, Sequence[str]]] = [(label, ("",))]
        if base in BROKEN_DOWN:
            parts += [("  SH and IH", ("all",)), ("  SH / IH", ("SH", "IH")), ("  right / left", HANDS)]
        headline = [_parts(found, name, base, ("",)) for name in names]
        for label, suffixes in parts:
            values = [_parts(found, name, base, suffixes) for name in names]
            # SH and IH together are often the headline once more
            repeats = all(value in ("", first) for value, first in zip(values, headline, strict=True))
            if any(value.strip(" -/|") for value in values) and not (repeats and suffixes == ("all",)):
                rows.append([label, *values])
    return rows


def _parts(found: Found, name: str, base: str, suffixes: Sequence[str]) -> str:
    """As `cell` of the headline or of one part; of two parts the final mesh only."""
    if len(suffixes) == 1:
        return cell(found, name, base, suffixes[0], width=6)
    cells = [cell(found, name, base, suffix, width=6).split(" | ")[0] for suffix in suffixes]
    return " / ".join(cells) if any(cells) else ""


# ---- report.html ----

STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --paper: #fff; --line: #d5d9de; --soft: #f3f5f7;
  --mute: #5b6570; --loud: #8a2b06; --loud-back: #fdeee6; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7ea; --paper: #15181c; --line: #363c44;
  --soft: #1f242a; --mute: #9aa5b1; --loud: #ffc9ae; --loud-back: #47210f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem; max-width: 75rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .4rem 0; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .6rem; padding-top: .4rem; border-top: 2px solid var(--line); }
p { margin: .4rem 0; max-width: 50rem; }
.loud { background: var(--loud-back); color: var(--loud); border-left: .4rem solid; padding: .5rem .8rem;
  font-weight: 600; max-width: none; }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: .4rem; margin: .6rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; text-align: left; vertical-align: top; overflow-wrap: normal; }
thead th { background: var(--soft); }
tbody tr { border-top: 1px solid var(--line); }
tbody th { background: var(--paper); font-weight: 600; min-width: 7rem; max-width: 16rem; }
th:first-child { position: sticky; left: 0; }
.numbers td { white-space: nowrap; }
.choices td { min-width: 8rem; overflow-wrap: anywhere; }
small { display: block; color: var(--mute); font-weight: 400; line-height: 1.3; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; font-size: .9rem; }
dt { color: var(--mute); } dd { margin: 0; }
figure { margin: 1rem 0; } figcaption { color: var(--mute); font-size: .9rem; }
img { max-width: 100%; height: auto; display: block; background: #fff; border-radius: .3rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 28rem), 1fr)); gap: 1rem; }
details { margin: .6rem 0; } summary { cursor: pointer; font-weight: 600; }
@media (max-width: 40rem) { body { padding: .7rem; } tbody th { max-width: 9.5rem; overflow-wrap: anywhere; }
  th, td { padding: .3rem .45rem; } table { font-size: .85rem; } }
pre { background: var(--soft); padding: .8rem; overflow-x: auto; font-size: .8rem; overflow-wrap: normal; }
"""


def page(found: Found, pictures: dict[str, bytes], gallery: list[tuple[str, bytes]]) -> str:
    """The whole report as one HTML file that loads nothing.

    pictures: {caption: PNG} of the figures; gallery: (caption, PNG) rows of samples.
    """
    sections = {
        "What may be compared with what": _choices_html(found),
        "Headline": _headline_html(found),
        "Where the left hand is: three relative translations": _translation_html(found),
        "Not available": _list_html([f"{what}: {why}" for what, why in missing(found)]),
        "Notes": _list_html(found["notes"]),
        "Figures": f'<div class="pair">{_figures_html(pictures.items())}</div>' * bool(pictures),
        "Gallery": _figures_html(gallery),
        "Error per joint, mm": _joints_html(found),
        "Every number": _numbers_html(found),
        "Settings": _settings_html(found),
    }
    body = "\n".join(f"<h2>{title}</h2>\n{content}" for title, content in sections.items() if content)
    title = _text(found["title"])
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{title}</h1>\n{_head_html(found)}\n{body}\n</body>\n</html>\n"
    )


def _text(value: Any) -> str:
    """Escaped; an address is broken up, so that nothing in the file can be taken for a link."""
    return html.escape(str(value)).replace("//", "&#47;&#47;")


def _grid(head: Sequence[str], rows: Rows, kind: str = "numbers") -> str:
    """A table that scrolls by itself on a narrow screen; the cells are HTML."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    lines = (f"<tr><th>{row[0]}</th>{''.join(f'<td>{cell}</td>' for cell in row[1:])}</tr>" for row in rows)
    return (
        f'<div class="wide"><table class="{kind}"><thead><tr>{top}</tr></thead>\n'
        f"<tbody>{chr(10).join(lines)}</tbody></table></div>"
    )


def _list_html(sentences: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{_text(s)}</li>" for s in sentences) + "</ul>" if sentences else ""


def _head_html(found: Found) -> str:
    loud = "".join(f'<p class="loud">{_text(sentence)}</p>\n' for sentence in warnings(found))
    keys = ("hand_model", "checkpoint", "predictions", "epoch", "device", "pictures_per_second")
    keys += ("metrics_per_second", "commit", "command")
    facts = {"tested on": found["data"]} | {k.replace("_", " "): found.get(k) for k in keys}
    shown = {k: f"{v:.1f}" if isinstance(v, float) else v for k, v in facts.items() if v is not None}
    return loud + f"<dl>{''.join(f'<dt>{_text(k)}</dt><dd>{_text(v)}</dd>' for k, v in shown.items())}</dl>"


def _choices_html(found: Found) -> str:
    names, rows = list(found["choices"]), []
    for key in CHOICES:
        values = [found["choices"][name].get(key, "") for name in names]
        mark = "<small>differs</small>" if len(set(values)) > 1 else "<small>the same in all</small>"
        rows.append([key + mark * (len(names) > 1), *map(_text, values)])
    rows.append(["n<small>frames that count</small>", *_frames(found, names)[1:]])
    words = "<p>Two numbers compare only where every row but the source agrees.</p>"
    return words + _grid(["protocol", *map(_text, names)], rows, "choices")


def _html_cell(found: Found, name: str, base: str, suffix: str = "") -> str:
    """The cell with the number of samples behind it."""
    value = cell(found, name, base, suffix)
    n = found["counts"].get(name, {}).get(f"{base}_{suffix}" if suffix else base)
    return value + f"<small>n {n}</small>" * bool(value and n is not None)


def _label(found: Found, name: str, base: str) -> str:
    parts = (key for key in found["protocols"][name] if split_key(key)[0] == base)
    return f"{_text(base)}, {_text(found['units'].get(next(parts), 'mm'))}"


def _headline_html(found: Found) -> str:
    names, rows = measured(found), []
    for base, meaning in HEADLINE.items():
        having = [name for name in names if base in found["protocols"][name]]
        if having:
            label = _label(found, having[0], base) + f"<small>{meaning}</small>"
            rows.append([label, *(_html_cell(found, name, base) for name in names)])
    words = "<p>Refined | rough mesh where both were measured. n: samples behind the number.</p>"
    return words + _grid(["metric", *map(_text, names)], rows) if rows else "<p>Nothing was measured.</p>"


def _translation_html(found: Found) -> str:
    together: dict[tuple[str, ...], list[str]] = {}  # protocols with equal rows share one
    for base, name in ((base, name) for base in ("MRRPE", "RRVE") for name in measured(found)):
        if any(key.startswith(base) for key in found["protocols"][name]):
            true = "places only" if base == "MRRPE" else _html_cell(found, name, "RRVE_gt")
            cells = (_html_cell(found, name, base), _html_cell(found, name, f"{base}_rootnet"), true)
            together.setdefault((base, *(part or "-" for part in cells)), []).append(name)
    rows = [
        [f"{base}<small>{_text(', '.join(names))}</small>", *cells]
        for (base, *cells), names in together.items()
    ]
    words = (
        "<p>MRRPE: error of the left wrist relative to the right one. RRVE: error of the vertices of both "
        "hands about the right wrist. The true translation only places the hands; it gives no MRRPE.</p>"
    )
    head = ["mm", "the network's own", "RootNet's depths", "ground truth"]
    return words + _grid(head, rows) if rows else ""


def _figures_html(pictures: Any) -> str:
    return "\n".join(
        f'<figure><img alt="{_text(text)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
        f"<figcaption>{_text(text)}</figcaption></figure>"
        for text, png in pictures
    )


def _joints_html(found: Found) -> str:
    errors = {name: c["MPJPE_per_joint"] for name, c in found["curves"].items() if c.get("MPJPE_per_joint")}
    columns = [(name, side) for name in errors for side in range(len(HANDS))]
    head = ["joint", *(f"{_text(name)}<small>{HANDS[side]}</small>" for name, side in columns)]
    rows = [
        [joint, *(number(errors[name][side][index], "mm") for name, side in columns)]
        for index, joint in enumerate(JOINT_NAMES)
    ]
    return _grid(head, rows) if columns else ""


def _numbers_html(found: Found) -> str:
    parts = []
    for name in measured(found):
        split = [split_key(key) for key in found["protocols"][name]]
        used = [suffix for suffix in ("", *SUFFIXES) if suffix in {s for _, s in split}]
        rows = [
            [_label(found, name, base), *(_html_cell(found, name, base, suffix) for suffix in used)]
            for base in dict.fromkeys(base for base, _ in split)
        ]
        grid = _grid(["metric", *(suffix or "headline" for suffix in used)], rows)
        parts.append(f"<details{' open' * (not parts)}><summary>{_text(name)}</summary>{grid}</details>")
    return "\n".join(parts)


def _settings_html(found: Found) -> str:
    settings = _text(json.dumps(found["config"], indent=2))
    return f"<details><summary>the whole configuration</summary><pre>{settings}</pre></details>"
