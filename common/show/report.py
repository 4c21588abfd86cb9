"""What a person reads of one evaluation: its tables, which page.py also shows, and the screen."""

import textwrap
from collections.abc import Sequence

from common.eval.catalogue import CATALOGUE, MESHES, PARTS, PER_PROTOCOL, SHARED, Key, Metric, Scores
from common.eval.results import About, Results
from common.eval.strata import OF_STRATA, PICTURES
from common.hand.joints import HANDS, JOINT_NAMES
from common.show.table import SCREEN_WIDTH, Cell, Table, equal_widths, number, screen

DECIDING = ("root", "scale", "joints", "frames", "MRRPE")  # shown on the screen where they differ
SAME = "the same in all"
BROKEN_DOWN = ("MPJPE", "MPVPE")  # whose parts are shown in the first table
UNITS = "mm where no unit is named; AUC and IoU are shares of 1, not percent; final | rough mesh; n: frames"
STRATA = "by stratum: every hand of its pictures, aligned as the first protocol does"
STRATA_WIDTHS = (24, 12, 15, 15, 15, 22)
SHARED_WIDTHS = (31, 16, 14, 49)


# ---- tables ----


def choices_table(results: Results, names: Sequence[str]) -> Table:
    """What each protocol means, and how many frames count in it."""
    rows = []
    choices = results.choices[names[0]] if names else {}
    for choice in choices:
        values = [results.choices[name].get(choice, "") for name in names]
        small = SAME if len(set(values)) == 1 else "differs"
        if len(names) == 1:
            small = ""
        rows.append([Cell(choice, small), *map(Cell, values)])
    counts = [f"{results.frames[name]} of {results.samples}" for name in names]
    rows.append([Cell("frames that count"), *map(Cell, counts)])
    return Table(["protocol", *names], rows)


def errors_table(results: Results, names: Sequence[str]) -> Table:
    """The metrics of each protocol, one column a protocol."""
    rows = []
    for metric in PER_PROTOCOL:
        cells = [_cell(results.protocols[name], metric, "overall", results.frames[name]) for name in names]
        if not any(_measured(results.protocols[name], metric) for name in names):
            continue
        rows.append([Cell(_label(metric), metric.meaning), *cells])
        if metric.name in BROKEN_DOWN:
            rows += _part_rows(results, names, metric)
    return Table(["metric", *names], rows)


def _part_rows(results: Results, names: Sequence[str], metric: Metric) -> list[list[Cell]]:
    """Final mesh only: single against interacting hands, right against left."""
    rows = []
    for parts in (("SH", "IH"), HANDS):
        cells = []
        for name in names:
            scores = results.protocols[name]
            keys = [Key(metric.name, "final", part) for part in parts]
            texts = [f"{number(scores[key].value, metric.name):>6}" for key in keys if key in scores]
            cells.append(Cell(" / ".join(texts)))
        if any(cell.text for cell in cells):
            rows.append([Cell("  " + " / ".join(parts)), *cells])
    return rows


def shared_table(results: Results) -> Table:
    """The metrics that are the same under every protocol."""
    rows = []
    for metric in SHARED:
        if metric.rank != "list" and _measured(results.shared, metric):
            cell = _cell(results.shared, metric, "overall", results.samples)
            rows.append([Cell(_label(metric)), Cell(cell.text), Cell(cell.small), Cell(metric.meaning)])
    return Table(["metric", "value", "n", "meaning"], rows)


def every_table(scores: Scores, frames: int) -> Table:
    """All numbers, one column a part."""
    parts = [part for part in PARTS if any(key.part == part for key in scores)]
    rows = []
    for metric in CATALOGUE.values():
        if any(key.metric == metric.name for key in scores):
            cells = [_cell(scores, metric, part, frames) for part in parts]
            rows.append([Cell(_label(metric)), *cells])
    return Table(["metric", *parts], rows)


def joints_table(results: Results) -> Table:
    """MPJPE of each joint and hand, mm."""
    errors = {name: curves["MPJPE_per_joint"] for name, curves in results.curves.items() if curves}
    rows = []
    for index, joint in enumerate(JOINT_NAMES):
        values = [hand[index] for hands in errors.values() for hand in hands]
        rows.append([Cell(joint), *(Cell(number(value, "MPJPE")) for value in values)])
    return Table(["joint", *(f"{name} {hand}" for name in errors for hand in HANDS)], rows if errors else [])


def strata_table(results: Results) -> Table:
    """A few numbers of each stratum of the data, wherever they have any."""
    rows = []
    for name, values in results.strata.items():
        numbers = [Cell(number(values[metric], metric)) for metric in OF_STRATA]
        rows.append([Cell(name), Cell(str(values[PICTURES])), *numbers])
    return Table(["stratum", PICTURES, *(_label(CATALOGUE[metric]) for metric in OF_STRATA)], rows)


def _label(metric: Metric) -> str:
    return metric.name if metric.unit == "mm" else f"{metric.name}, {metric.unit}"


def _measured(scores: Scores, metric: Metric) -> bool:
    key = Key(metric.name)
    return key in scores and scores[key].value is not None


def _cell(scores: Scores, metric: Metric, part: str, frames: int) -> Cell:
    """ "final" or "final | rough", the frames behind it small; empty where there is no such number."""
    keys = [Key(metric.name, mesh, part) for mesh in MESHES]
    of_meshes = [scores[key] for key in keys if key in scores]
    if not of_meshes:
        return Cell("")
    n = of_meshes[0].n
    text = " | ".join(f"{number(score.value, metric.name):>6}" for score in of_meshes)
    return Cell(text, f"n {n}" if n == frames else f"n {n} of {frames}")


# ---- sentences ----


def measured_protocols(results: Results) -> list[str]:
    """The protocols in which anything was measured."""
    names = []
    for name, scores in results.protocols.items():
        if any(score.value is not None for score in scores.values()):
            names.append(name)
    return names


def missing(results: Results) -> list[str]:
    """What has no number and why, equal reasons together."""
    protocols: dict[tuple[str, str], list[str]] = {}  # of (metrics, why)
    for name, reasons in results.unavailable.items():
        metrics: dict[str, list[str]] = {}
        for metric, why in reasons.items():
            metrics.setdefault(why, []).append(metric)
        for why, group in metrics.items():
            what = "all of it" if "*" in group else ", ".join(group)
            protocols.setdefault((what, why), []).append(name)
    return [f"{', '.join(names)}: {what} ({why})" for (what, why), names in protocols.items()]


def warnings(about: About) -> list[str]:
    """What must be known before any number is read."""
    sentences = []
    if about.synthetic:
        sentences.append("Synthetic pictures: no published number compares with these.")
    if about.hand_model != "MANO":
        sentences.append(f"Hand model: {about.hand_model}, not MANO. Its errors do not compare with MANO's.")
    return sentences


# ---- the screen ----


def screen_text(results: Results) -> str:
    """Choices that differ, metrics with one column a protocol, what needs no protocol; reasons, notes."""
    names, about = measured_protocols(results), results.about
    lines = textwrap.wrap(f"{about.title} on {about.data}", SCREEN_WIDTH) + warnings(about)
    if names:
        widths = equal_widths(len(names))
        choices = choices_table(results, names)
        shown = [row for row in choices.rows if row[0].small != SAME and row[0].text in DECIDING]
        shown.append(choices.rows[-1])  # the counts
        lines += ["", *screen(Table(choices.head, shown), widths), "-" * SCREEN_WIDTH, UNITS]
        lines += screen(Table([], errors_table(results, names).rows), widths)
    shared = shared_table(results)
    if shared.rows:
        lines += ["-" * SCREEN_WIDTH, f"the same under every protocol, over all {results.samples} frames"]
        lines += screen(Table([], shared.rows), SHARED_WIDTHS)
    strata = strata_table(results)
    if strata.rows:
        lines += ["-" * SCREEN_WIDTH, STRATA, *screen(strata, STRATA_WIDTHS)]
    sentences = [f"not available: {sentence}" for sentence in missing(results)]
    sentences += [f"note: {note}" for note in results.notes]
    for sentence in sentences:
        lines += textwrap.wrap(sentence, SCREEN_WIDTH, subsequent_indent="  ")
    return "\n".join(lines)
