"""Charts: curves over training steps as SVG, drawn here so that the page needs no script.

Colours and line widths are in the style sheet; a chart says only what is where.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from zafu.report.element import Child, Element, h
from zafu.report.scale import Axis, axis, from_zero, steps, thin, tick
from zafu.report.words import short

TOP, RIGHT, BOTTOM = 8.0, 15.0, 22.0  # margins around the plot
LINE = 16.0  # height of the name of an axis
LETTER = 6.3  # width of a digit at the size of tick labels


@dataclass(frozen=True)
class Series:
    """Values over steps: a pale line, a strong line, or points with whiskers."""

    name: str
    kind: Literal["raw", "line", "points"]
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


@dataclass(frozen=True)
class Frame:
    """Where the plot lies in its picture."""

    left: float
    width: float
    height: float
    x: Axis
    y: Axis

    def across(self, values: np.ndarray) -> np.ndarray:
        """Horizontal places of steps."""
        return self.left + self.x.place(values) * (self.width - self.left - RIGHT)

    def down(self, values: np.ndarray) -> np.ndarray:
        """Vertical places of values, which grow upwards."""
        return self.height - BOTTOM - self.y.place(values) * (self.height - TOP - BOTTOM)


def chart(
    title: str, series: Sequence[Series], *, zero: bool = False, width: int = 400, height: int = 190
) -> Element:
    """A picture of all series over steps; `zero` puts 0 on its vertical axis."""
    parts = [(s.y, s.low, s.high) for s in series]
    values = np.concatenate([p for part in parts for p in part if p is not None] or [np.zeros(0)])
    y = from_zero(values) if zero else axis(values)
    places = np.concatenate([s.x for s in series] or [np.zeros(0)])
    last = float(np.nanmax(places)) if np.isfinite(places).any() else 1.0
    left = 12 + LETTER * max(len(tick(t, y)) for t in y.ticks)
    frame = Frame(left, width, height, steps(last, max(3, width // 90)), y)
    shape = {"viewBox": f"0 0 {width} {height}", "role": "img"}
    drawn = [element for s in series for element in _drawn(frame, s)]
    return h("svg.chart", shape, h("title", title), grid(frame), drawn, _missing(frame, series))


def plane(title: str, frame: Frame, inside: Sequence[Child], *, across: str, down: str) -> Element:
    """A picture of two quantities, with what is inside of it and the names of its axes."""
    box = f"0 {-LINE:g} {frame.width:g} {frame.height + 2 * LINE:g}"
    shape = {"viewBox": box, "role": "img"}
    middle = {"x": (frame.left + frame.width - RIGHT) / 2, "y": frame.height + 12}
    beside = h("text.axis", {"x": 0, "y": -4}, down)
    under = h("text.axis", {**middle, "text-anchor": "middle"}, across)
    return h("svg.chart.plane", shape, h("title", title), grid(frame), inside, beside, under)


def framed(x: Axis, y: Axis, *, width: float = 400, height: float = 300) -> Frame:
    """A frame for two axes, with room for the labels of the vertical one."""
    left = 12 + LETTER * max(len(tick(t, y)) for t in y.ticks)
    return Frame(left, width, height, x, y)


def grid(frame: Frame) -> Element:
    """The lines and labels of both axes."""
    inside: list[Child] = []
    right, base = frame.width - RIGHT, frame.height - BOTTOM
    for at, where in zip(frame.y.ticks, frame.down(np.array(frame.y.ticks)).tolist(), strict=True):
        line = {"x1": frame.left, "x2": right, "y1": where, "y2": where}
        inside.append(h("line.grid", line))
        place = {"x": frame.left - 6, "y": where + 3.5, "text-anchor": "end"}
        inside.append(h("text", place, tick(at, frame.y)))
    for at, where in zip(
        frame.x.ticks, frame.across(np.array(frame.x.ticks)).tolist(), strict=True
    ):
        inside.append(h("line.tick", {"x1": where, "x2": where, "y1": base, "y2": base + 4}))
        place = {"x": where, "y": base + 16, "text-anchor": "middle"}
        inside.append(h("text", place, tick(at, frame.x)))
    inside.append(h("line.axis", {"x1": frame.left, "x2": right, "y1": base, "y2": base}))
    return h("g", inside)


def _drawn(frame: Frame, series: Series) -> list[Element]:
    if series.kind == "points":
        return _points(frame, series)
    x, y = thin(series.x, series.y, int(frame.width - frame.left))
    across, down = frame.across(x), frame.down(y)
    if np.isfinite(down).sum() == 1:
        at = int(np.flatnonzero(np.isfinite(down))[0])
        place = {"cx": float(across[at]), "cy": float(down[at]), "r": 3.0}
        return [h(f"circle.dot.{series.kind}", place)]
    path, pen = [], "M"
    for a, b in zip(across.tolist(), down.tolist(), strict=True):
        if np.isfinite(a) and np.isfinite(b):
            path.append(f"{pen}{a:.1f} {b:.1f}")
            pen = "L"
        else:
            pen = "M"  # a gap where there is no number
    return [h(f"path.{series.kind}", {"d": "".join(path)})] if path else []


def _points(frame: Frame, series: Series) -> list[Element]:
    across, down = frame.across(series.x), frame.down(series.y)
    low = frame.down(series.y if series.low is None else series.low)
    high = frame.down(series.y if series.high is None else series.high)
    found: list[Element] = []
    for index in np.flatnonzero(np.isfinite(across) & np.isfinite(down)).tolist():
        a, b = float(across[index]), float(down[index])
        said = f"step {short(float(series.x[index]))}: {short(float(series.y[index]))}"
        ends = float(low[index]), float(high[index])
        whisker = None
        if np.isfinite(ends).all() and ends[0] - ends[1] > 1:
            whisker = h("line.whisker", {"x1": a, "x2": a, "y1": ends[0], "y2": ends[1]})
        point = h("circle.point", {"cx": a, "cy": b, "r": 2.6})
        found.append(h("g", h("title", said), whisker, point))
    return found


def _missing(frame: Frame, series: Sequence[Series]) -> list[Element]:
    """Marks on the axis at steps whose loss was no number, the first hundred of them."""
    found: list[Element] = []
    for one in series:
        if one.kind != "points":
            wrong = one.x[~np.isfinite(one.y) & np.isfinite(one.x)][:100]
            for a in frame.across(wrong).tolist():
                base = frame.height - BOTTOM
                title = h("title", "not a finite number")
                place = {"x1": a, "x2": a, "y1": base - 8, "y2": base}
                found.append(h("line.bad", place, title))
    return found
