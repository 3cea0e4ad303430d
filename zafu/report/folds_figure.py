"""The figure of a cross-validation: each fold with its whisker, over the interval of their mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zafu.measure import Measurement
from zafu.report.element import Child, Element, h
from zafu.report.scale import axis, linear, tick
from zafu.report.words import (
    bare,
    better_when_higher,
    bounds,
    digits,
    interval,
    quoted,
    scale,
    value,
)

WIDTH, ROW, TOP, LEFT, RIGHT = 820, 21, 46.0, 150.0, 150.0


def spread(
    metric: str, mean: Measurement, rows: Sequence[tuple[str, Measurement]], *, mark: float | None
) -> Element:
    """The mean and its interval as a band, below it a row a fold; `mark`: a line, such as at 0."""
    factor = scale(metric, mean)
    marks = [] if mark is None else [mark]
    ends = [x * factor for m in (mean, *(m for _, m in rows)) for x in (*bounds(m), m.value)]
    values = np.array([*ends, *(m * factor for m in marks)])
    plain = mark is not None or better_when_higher(metric) is not False
    across = linear(values, 6) if plain else axis(values, count=6)

    def place(number: float) -> float:
        inner = WIDTH - LEFT - RIGHT
        return float(LEFT + across.place(np.array(number * factor)) * inner)

    base = TOP + ROW * len(rows) + 4
    inside: list[Child] = []
    for at in across.ticks:
        where = place(at / factor)
        inside.append(h("line.grid", {"x1": where, "x2": where, "y1": 8.0, "y2": base}))
        here = {"x": where, "y": base + 15, "text-anchor": "middle"}
        inside.append(h("text", here, tick(at, across)))
    low, high = map(place, bounds(mean))
    if high > low:
        band = {"x": low, "y": 8.0, "width": high - low, "height": base - 8}
        inside.append(h("rect.band", band))
    inside += [_line(place(m), 8.0, base) for m in marks]
    places = digits(metric, mean)
    shown = _points if mark is not None else bare  # differences of percents are points
    at = (low, place(mean.value), high)
    inside.append(_row("g.own", 22.0, ("mean", shown(metric, mean, places)), at))
    for index, (name, of) in enumerate(rows):
        y = TOP + ROW * (index + 0.5)
        said = shown(metric, of.model_copy(update={"low": None, "high": None}), places)
        at = (place(bounds(of)[0]), place(of.value), place(bounds(of)[1]))
        inside.append(_row("g.rival", y, (name, said), at))
    said = "; ".join(f"{name}: {quoted(metric, of)}" for name, of in (("mean", mean), *rows))
    shape = {"viewBox": f"0 0 {WIDTH} {base + 22:.0f}", "role": "img"}
    return h("svg.whiskers.folds", shape, h("title", said), inside)


def _points(metric: str, of: Measurement, places: int) -> str:
    return f"{value(metric, of, places)} {interval(metric, of, places)}".strip()


def _row(tag: str, y: float, named: tuple[str, str], at: tuple[float, float, float]) -> Element:
    """A name, a whisker and a value: `at` are the places of low end, value and high end."""
    (name, said), (low, middle, high) = named, at
    return h(
        tag,
        h("text.name", {"x": LEFT - 14, "y": y + 4, "text-anchor": "end"}, name),
        h("line.whisker", {"x1": low, "x2": high, "y1": y, "y2": y}),
        h("circle.point", {"cx": middle, "cy": y, "r": 4.0 if tag == "g.own" else 3.2}),
        h("text.value", {"x": WIDTH, "y": y + 4, "text-anchor": "end"}, said),
    )


def _line(x: float, top: float, base: float) -> Element:
    return h("line.mark", {"x1": x, "x2": x, "y1": top, "y2": base})
