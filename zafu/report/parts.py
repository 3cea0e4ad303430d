"""Which samples fare worse: the metric of each class and of each part of a column, as a picture."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from zafu.measure import Measurement
from zafu.report.element import Child, Element, h
from zafu.report.folder import Folder, mapping, mappings, measurement, number, words
from zafu.report.scale import Axis, linear, tick
from zafu.report.words import NARROW, bare, bounds, digits, figure, label, scale, unit

MOST = 26  # parts in a picture: the worst ones
WIDTH, ROW, NAME, SIDE = 400.0, 20.0, 108.0, 104.0  # of a picture, a row, its name, its numbers
LETTERS = 17
MARKS = {"shown": "worse", "uncorrected": "maybe"}


class Part(NamedTuple):
    """Some of the samples."""

    name: str
    score: Measurement
    worse: str  # shown, uncorrected or no


def parts(folder: Folder) -> Element | None:
    """A picture of each column that the samples were sliced by."""
    found = [_figure(name, mapping(said)) for name, said in _sliced(folder).items()]
    shown = [one for one in found if one]
    if not shown:
        return None
    return h(
        "section",
        h("h2", "Which samples fare worse"),
        h(
            "p.lead",
            "The line is the value of all samples. ",
            h("span.wrong", "Worse"),
            f" is shown at 95{NARROW}%, corrected for how many parts were looked at; ",
            h("span.maybe", "maybe"),
            " is what only seems so without that correction. ",
            _summary(folder),
        ),
        h("div.pillars", shown),
    )


def _sliced(folder: Folder) -> dict[str, Any]:
    return mapping(folder.judged.get("slices"))


def _summary(folder: Folder) -> str:
    worse = [
        f"{column} {part.name}"
        for column, said in _sliced(folder).items()
        for part in _parts(mapping(said))
        if part.worse == "shown"
    ]
    if not worse:
        return "No part is shown to be worse."
    more = f" and {len(worse) - 6} more" if len(worse) > 6 else ""
    return f"Shown to be worse: {', '.join(worse[:6])}{more}."


def _figure(column: str, said: dict[str, Any]) -> Element | None:
    metric, every = words(said.get("metric")), _parts(said)
    if not every:
        return None
    sign = 1 if said.get("higher_is_better") is not False else -1
    worst = sorted(every, key=lambda part: sign * part.score.value)[:MOST]
    chosen = [part for part in every if part in worst]
    cut = f", the worst {len(chosen)} of {len(every)}" if len(chosen) < len(every) else ""
    of = unit(metric, chosen[0].score)
    head = f"{label(metric)}{f', {of}' if of else ''}{cut}"
    caption = h("figcaption", h("strong", f"by {column}"), h("span", head))
    return h("figure", caption, _picture(metric, chosen, number(said.get("all"))))


def _picture(metric: str, found: list[Part], whole: float) -> Element:
    factor = scale(metric, found[0].score)
    ends = [x * factor for part in found for x in (*bounds(part.score), part.score.value)]
    across = linear(np.array([*ends, whole * factor]), 4)
    height = ROW * len(found) + 24
    inside = [_ticks(across, height)]
    if math.isfinite(whole):
        x = _place(across, whole * factor)
        line = {"x1": x, "x2": x, "y1": 0.0, "y2": height - 20}
        inside.append(h("line.all", line))
    places = max(digits(metric, part.score) for part in found)
    for index, part in enumerate(found):
        inside.append(_row(part, metric, across, y=ROW * (index + 0.5), places=places))
    said = "; ".join(f"{p.name}: {bare(metric, p.score)}" for p in found)
    shape = {"viewBox": f"0 0 {WIDTH:g} {height:g}", "role": "img"}
    return h("svg.parts", shape, h("title", said), inside)


def _ticks(across: Axis, height: float) -> Element:
    inside: list[Child] = []
    for at in across.ticks:
        x = _place(across, at)
        inside.append(h("line.grid", {"x1": x, "x2": x, "y1": 0.0, "y2": height - 20}))
        place = {"x": x, "y": height - 6, "text-anchor": "middle"}
        inside.append(h("text", place, tick(at, across)))
    return h("g", inside)


def _row(part: Part, metric: str, across: Axis, *, y: float, places: int) -> Element:
    of, factor = part.score, scale(metric, part.score)
    low, middle, high = (
        _place(across, x * factor) for x in (bounds(of)[0], of.value, bounds(of)[1])
    )
    mark = MARKS.get(part.worse, "")
    text = y + 4
    value = figure(of.value * factor, places)
    end = WIDTH - 1
    return h(
        f"g.{mark or 'fair'}",
        h("title", f"{part.name}: {bare(metric, of)}, n = {of.n:,}{f', {mark}' if mark else ''}"),
        h("text.name", {"x": NAME - 8, "y": text, "text-anchor": "end"}, _cut(part.name)),
        h("line.whisker", {"x1": low, "x2": high, "y1": y, "y2": y}),
        h("circle.point", {"cx": middle, "cy": y, "r": 3.6}),
        h("text.value", {"x": end - 50, "y": text, "text-anchor": "end"}, value),
        h("text", {"x": end, "y": text, "text-anchor": "end"}, f"n {of.n:,}"),
    )


def _place(across: Axis, value: float) -> float:
    return NAME + float(across.place(np.array(value))) * (WIDTH - NAME - SIDE)


def _parts(said: dict[str, Any]) -> list[Part]:
    found: list[Part] = []
    for row in mappings(said.get("parts")):
        score = measurement(row.get("score"))
        if score:
            found.append(Part(words(row.get("name")), score, words(row.get("worse"))))
    return found


def _cut(text: str) -> str:
    return text if len(text) <= LETTERS else text[: LETTERS - 1] + "…"
