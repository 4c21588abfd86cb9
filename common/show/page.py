"""report.html: one file that loads nothing; its tables are those of report.py."""

import base64
import json
from collections.abc import Iterable, Sequence

from common.eval.results import SHARED_NAME, About, Results
from common.show.report import (
    STRATA,
    UNITS,
    choices_table,
    errors_table,
    every_table,
    joints_table,
    measured_protocols,
    missing,
    shared_table,
    strata_table,
    warnings,
)
from common.show.table import Table, escape, to_html

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


def page(results: Results, pictures: dict[str, bytes], gallery: list[tuple[str, bytes]]) -> str:
    """The whole report as one HTML file that loads nothing.

    pictures: {caption: PNG} of the figures; gallery: (caption, PNG) rows of samples.
    """
    sections = {
        "What may be compared with what": _choices_html(results),
        "Headline": _headline_html(results),
        "The same under every protocol": _shared_html(results),
        "By stratum": _strata_html(results),
        "Not available": _list_html(missing(results)),
        "Notes": _list_html(results.notes),
        "Figures": f'<div class="pair">{_pictures_html(pictures.items())}</div>' if pictures else "",
        "Gallery": _pictures_html(gallery),
        "Error per joint, mm": _table_html(joints_table(results)),
        "Every number": _numbers_html(results),
        "Settings": _settings_html(results.about),
    }
    body = "\n".join(f"<h2>{title}</h2>\n{content}" for title, content in sections.items() if content)
    title = escape(results.about.title)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{title}</h1>\n{_head_html(results.about)}\n{body}\n</body>\n</html>\n"
    )


def _head_html(about: About) -> str:
    facts = {
        "tested on": about.data,
        "hand model": about.hand_model,
        "checkpoint": about.checkpoint,
        "epoch": about.epoch,
        "predictions": about.predictions,
        "device": about.device,
        "pictures a second": about.pictures_per_second,
        "metrics a second": about.metrics_per_second,
        "commit": about.commit,
        "command": about.command,
    }
    entries = []
    for name, value in facts.items():
        if value is not None:
            text = f"{value:.1f}" if isinstance(value, float) else value
            entries.append(f"<dt>{name}</dt><dd>{escape(text)}</dd>")
    loud = "".join(f'<p class="loud">{escape(sentence)}</p>\n' for sentence in warnings(about))
    return f"{loud}<dl>{''.join(entries)}</dl>"


def _choices_html(results: Results) -> str:
    words = "<p>Two numbers compare only where every row but the source agrees.</p>"
    return words + to_html(choices_table(results, list(results.protocols)), "choices")


def _headline_html(results: Results) -> str:
    table = errors_table(results, measured_protocols(results))
    return (
        f"<p>{UNITS} behind the number.</p>{to_html(table)}" if table.rows else "<p>Nothing was measured.</p>"
    )


def _shared_html(results: Results) -> str:
    words = f"<p>No choice of a protocol enters; over all {results.samples} frames.</p>"
    table = _table_html(shared_table(results))
    return words + table if table else ""


def _strata_html(results: Results) -> str:
    table = _table_html(strata_table(results))
    return f"<p>{STRATA}</p>{table}" if table else ""


def _table_html(table: Table) -> str:
    return to_html(table) if table.rows else ""


def _list_html(sentences: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f"<ul>{items}</ul>" if items else ""


def _pictures_html(pictures: Iterable[tuple[str, bytes]]) -> str:
    figures = []
    for text, png in pictures:
        data = base64.b64encode(png).decode()
        image = f'<img alt="{escape(text)}" src="data:image/png;base64,{data}">'
        figures.append(f"<figure>{image}<figcaption>{escape(text)}</figcaption></figure>")
    return "\n".join(figures)


def _numbers_html(results: Results) -> str:
    tables = {
        name: every_table(results.protocols[name], results.frames[name])
        for name in measured_protocols(results)
    }
    if results.shared:
        tables[SHARED_NAME] = every_table(results.shared, results.samples)
    parts = []
    for name, table in tables.items():
        state = "" if parts else " open"
        parts.append(f"<details{state}><summary>{escape(name)}</summary>{to_html(table)}</details>")
    return "\n".join(parts)


def _settings_html(about: About) -> str:
    settings = escape(json.dumps(about.config, indent=2))
    return f"<details><summary>the whole configuration</summary><pre>{settings}</pre></details>"
