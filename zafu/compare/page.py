"""The page of a comparison: the sentence, tables, and pictures, in one HTML file without script."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from zafu.artifact import write_text
from zafu.compare import words
from zafu.compare.result import Answer
from zafu.measure import Measurement
from zafu.report import tables
from zafu.report.curves import Gap, Line, curves, differences, key, named
from zafu.report.element import Child, Element, h
from zafu.report.page import document
from zafu.report.scale import Axis, linear
from zafu.report.tint import tinted
from zafu.report.words import label, short
from zafu.units import Count, Seconds

NAME = "report.html"
TIMED = (
    "Seconds are updates times what one takes alone on this machine, where arms were timed in turn."
)
SILENT = "An interval that holds 0 shows no difference, which is not to say that there is none."
METHOD = """\
Each arm was tuned over its own space by the same number of trials on the validation split; the
best few were trained again with other seeds before one was chosen. The winners were trained on
fresh seeds that all arms share, with the same budget and schedule, and judged at its end on the
test split, which nothing else saw. Seeds were added {looks}until every arm was told apart from the
first or the limit was reached; the intervals and p-values allow for that. They are about seeds:
what is shown holds for this split of this data."""
SKIPPED = 0.2  # share of a curve, at its start, that the vertical axis need not show


def write(folder: Path, answer: Answer) -> Path:
    """The path of the page, which was replaced in one step."""
    path = folder / NAME
    recipe = folder / "recipe.yaml"
    text = recipe.read_text(encoding="utf-8") if recipe.is_file() else ""
    write_text(path, page(answer, recipe=text))
    return path


def page(answer: Answer, *, recipe: str = "") -> str:
    """The whole page as text; the same answer gives the same bytes."""
    sections = [
        _header(answer),
        _claim(answer),
        _verdicts(answer),
        _speed(answer),
        _tuning(answer),
        _method(answer, recipe),
    ]
    footer = h("footer", h("p", "Made by zafu."))
    return document(f"{answer.name} – compared – zafu", sections, footer)


def _header(answer: Answer) -> Element:
    said = words.sentence(answer)
    trainings, samples = (
        round(sum(row.spent.get(what, 0.0) for row in answer.rows))
        for what in ("trainings", "samples")
    )
    facts = [
        ("Arms", str(len(answer.rows))),
        ("Trials an arm", str(max(row.trials for row in answer.rows))),
        ("Paired seeds", str(answer.seeds)),
        ("Trainings", f"{trainings:,}"),
        ("Samples seen", str(Count(samples))),
        ("Time", str(Seconds(answer.seconds))),
    ]
    cells: list[Child] = [h("div", h("dt", name), h("dd", value)) for name, value in facts]
    about = h("p.eyebrow", h("span", "comparison"), h("span.name", answer.name))
    heading = h("h1", f"{said}.")
    return h("header", about, heading, h("p.lead", words.how(answer) + "."), h("dl.facts", cells))


def _claim(answer: Answer) -> Element | None:
    if answer.claim is None:
        return None
    rows: list[list[Child]] = [
        [h("span", one.says), words.statement(one, answer.metric), _verdict(one.verdict)]
        for one in answer.claim.statements
    ]
    heads = ["What it says", "Measured", "Verdict"]
    caption = "The intervals hold together at 95 %."
    return h("section", h("h2", "The claim"), tables.table(caption, heads, rows, numbers=1))


def _verdicts(answer: Answer) -> Element:
    factor, unit = words.scale(answer.metric), words.sign(answer.metric)
    digits = words.places(*(row.final for row in answer.rows), factor=factor)
    rows: list[list[Child]] = []
    for index, row in enumerate(answer.rows):
        one = row.shown
        rows.append(
            [
                named(index, row.name),
                words.between(row.final, digits, factor=factor),
                words.between(one.difference, digits, factor=factor, plus=True) if one else "–",
                words.p_value(one.p) if one else "–",
                words.between(one.superiority, 2) if one else "–",
                _verdict(one.verdict) if one else "baseline",
            ]
        )
    beside = words.points(answer.metric).replace(" ", ", ")
    heads = [
        "Arm",
        f"Test {label(answer.metric)}{', %' if unit else ''} [95 %]",
        f"Less {answer.base.name}{beside} [95 %]",
        "p",
        f"P(arm > {answer.base.name})",
        "Verdict",
    ]
    caption = f"Over {answer.seeds} seeds; p is corrected for arms (Holm) and looks"
    picture = [
        _gap(row.name, at, row.shown.difference, factor)
        for at, row in enumerate(answer.rows)
        if row.shown
    ]
    drawn = differences("Paired differences", picture, places=digits)
    lead = f"{label(answer.metric)} less that of {answer.base.name}{beside}"
    figure = h("figure", h("figcaption", h("strong", "Difference"), h("span", lead)), drawn)
    better = "More" if answer.higher_is_better else "Less"
    note = h("p.aside", f"{better} is better. {SILENT}")
    return h(
        "section",
        h("h2", "Which is better"),
        tables.table(caption, heads, rows, numbers=4),
        h("div.grid", figure, _gaps(answer)),
        note,
    )


def _gaps(answer: Answer) -> Element:
    factor = words.scale(answer.metric)
    picture = [_gap(row.name, at, row.gap, factor) for at, row in enumerate(answer.rows)]
    lead = f"how much better {label(answer.metric)} is in training than on test"
    caption = h("figcaption", h("strong", "Over-fitting"), h("span", lead))
    return h("figure", caption, differences("Gap between training and test", picture))


def _speed(answer: Answer) -> Element:
    rows: list[list[Child]] = []
    for index, row in enumerate(answer.rows):
        ratio = words.between(row.ratio, 2) if index else "1"
        came = f"{round(row.reached.value * answer.seeds)}/{answer.seeds}"
        rows.append(
            [
                named(index, row.name),
                came,
                words.quartiles(row.to_target.get("samples")),
                words.quartiles(row.to_target.get("updates")),
                words.quartiles(row.to_target.get("seconds")),
                ratio,
                f"{round(row.diverged.value * answer.seeds)}/{answer.seeds}",
            ]
        )
    heads = ["Arm", "Reached", "Samples", "Updates", "Seconds", "Cost of an update, x", "Diverged"]
    target = answer.target
    factor, unit = words.scale(answer.metric), words.sign(answer.metric)
    goal = f"{short(target * factor)}{unit}" if target is not None else "none"
    caption = (
        f"To {goal} {label(answer.metric)} on the validation split: median [quartiles] over seeds"
    )
    x = ("samples", "seconds")
    pictures = [_curves(answer, by) for by in x]
    return h(
        "section",
        h("h2", "How fast"),
        key([row.name for row in answer.rows]),
        h("div.grid", pictures),
        tables.table(caption, heads, rows, numbers=6),
        h("p.aside", TIMED),
    )


def _curves(answer: Answer, by: str) -> Element:
    factor = words.scale(answer.metric)
    lines: list[Line] = []
    for at, row in enumerate(answer.rows):
        of = row.curve
        x = np.array(of.samples if by == "samples" else of.updates, float)
        x = x * row.update.value / 1e3 if by == "seconds" else x
        y, low, high = (_array(v) * factor for v in (of.median, of.low, of.high))
        lines.append(Line(row.name, at, x, y, low, high))
    last = max((float(line.x[-1]) for line in lines if len(line.x)), default=1.0)
    mark = None if answer.target is None else answer.target * factor
    across = _from_zero(last)
    drawn = curves(f"{answer.metric} against {by}", lines, across, _height(lines, mark), mark=mark)
    name = label(answer.metric) + (" on validation, %" if factor > 1 else " on validation")
    return h("figure", h("figcaption", h("strong", name), h("span", f"against {by}")), drawn)


def _from_zero(last: float) -> Axis:
    """A horizontal axis that ends with the last point."""
    found = linear(np.array([0.0, last]), 4)
    return Axis(0.0, last, tuple(t for t in found.ticks if t <= last))


def _decades(values: np.ndarray) -> Axis:
    """A logarithmic axis that ends with the data, with ticks at powers of ten."""
    low, high = float(values.min()), float(values.max())
    low, high = low / (high / low) ** 0.03, high * (high / low) ** 0.03
    first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
    ticks = tuple(10.0**n for n in range(first, last + 1))
    return Axis(low, high, ticks or (low, high), log=True)


def _height(lines: list[Line], mark: float | None) -> Axis:
    """A vertical axis for all that comes after the first fifth."""
    parts = [line.y[int(np.ceil(SKIPPED * len(line.y))) :] for line in lines]
    values = np.concatenate([*parts, np.array([] if mark is None else [mark])])
    return linear(values, 6)


def _tuning(answer: Answer) -> Element | None:
    if not any(row.trials for row in answer.rows):
        return None
    rows: list[list[Child]] = []
    for index, row in enumerate(answer.rows):
        warned = h("span.wrong", words.edge(row)) if row.edges else "–"
        spent = row.spent
        rows.append(
            [
                named(index, row.name),
                words.between(row.lr_width, 1) if row.lr_width else "–",
                str(Count(round(spent.get("samples", 0)))),
                str(Seconds(spent.get("seconds", 0))),
                words.settings(row),
                warned,
            ]
        )
    heads = ["Arm", "Good lr, decades", "Samples spent", "Time spent", "Best settings", "Warning"]
    caption = "Decades of learning rates within a point of the best; what all trainings took"
    return h(
        "section",
        h("h2", "Tuning, and how sensitive it is"),
        h("div.grid", _sensitivity(answer)),
        tables.table(caption, heads, rows, numbers=3),
    )


def _sensitivity(answer: Answer) -> Element | None:
    factor = words.scale(answer.metric)
    lines: list[Line] = []
    for at, row in enumerate(answer.rows):
        tried = sorted((lr, np.nan if v is None else v * factor) for lr, v in row.tried)
        if tried:
            x, y = np.array(tried, float).T
            lines.append(Line(row.name, at, x, y, dots=True))
    if not lines:
        return None
    values = np.concatenate([line.y for line in lines])
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    best = values.max() if answer.higher_is_better else values.min()
    near = values[np.abs(values - best) <= np.quantile(np.abs(values - best), 0.8)]
    across = _decades(np.concatenate([line.x for line in lines]))
    drawn = curves("Metric against learning rate", lines, across, linear(near, 6))
    name = label(answer.metric) + (" on validation, %" if factor > 1 else " on validation")
    return h(
        "figure",
        h("figcaption", h("strong", name), h("span", "against learning rate, one dot a trial")),
        drawn,
    )


def _method(answer: Answer, recipe: str) -> Element:
    looks = f"in up to {answer.looks} looks, " if answer.looks > 1 else ""
    said = METHOD.format(looks=looks)
    inside = h("pre.recipe", h("code", tinted(recipe))) if recipe else None
    notes = [h("p.aside", note) for note in answer.notes]
    shown = h("details", h("summary", "The first arm's recipe"), inside) if recipe else None
    return h("section", h("h2", "How it was compared"), h("p", said), notes, shown)


def _verdict(found: str) -> Element:
    kind = "open" if found == "not shown" else found
    return h(f"span.verdict.{kind}", found)


def _gap(name: str, hue: int, of: Measurement, factor: float) -> Gap:
    low, high = (of.value if end is None else end for end in (of.low, of.high))
    return Gap(name, hue, of.value * factor, low * factor, high * factor)


def _array(values: tuple[float | None, ...]) -> np.ndarray:
    return np.array([np.nan if v is None else v for v in values], float)
