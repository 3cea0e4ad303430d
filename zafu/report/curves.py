"""Curves: several lines in one picture, each in its colour, with bands and dots where wanted.

Colours are in the style sheet, by the number of a line; what lies outside the axes is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from zafu.report.chart import BOTTOM, LETTER, RIGHT, Frame
from zafu.report.element import Child, Element, h
from zafu.report.scale import Axis, linear, tick

SHORT = 24  # characters of a name that is kept on one line
HUES = 8  # of the style sheet; a line beyond begins again


class Gap(NamedTuple):
    """A difference, in the colour of a number."""

    name: str
    hue: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """Values over places, in the colour of a number."""

    name: str
    hue: int
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None  # of a band
    high: np.ndarray | None = None
    dots: bool = False


def curves(
    title: str, lines: Sequence[Line], x: Axis, y: Axis, *, mark: float | None = None
) -> Element:
    """A picture of all lines on these axes; `mark` draws a level across."""
    width, height = 400, 236
    left = 12 + LETTER * max(len(tick(t, y)) for t in y.ticks)
    frame = Frame(left, width, height, x, y)
    level = None
    if mark is not None and y.low <= mark <= y.high:
        at = float(frame.down(np.array(mark)))
        level = h("line.mark", {"x1": left, "x2": width - RIGHT, "y1": at, "y2": at})
    drawn = [
        h(f"g.line{one.hue % HUES}", h("title", one.name), _drawn(frame, one)) for one in lines
    ]
    shape = {"viewBox": f"0 0 {width} {height}", "role": "img"}
    return h("svg.curves", shape, h("title", title), _grid(frame), level, drawn)


def differences(title: str, rows: Sequence[Gap], *, places: int = 2) -> Element:
    """A row for each name and colour: value, low and high, beside a line at 0."""
    width, row, top = 400, 34, 6.0
    across = linear(
        np.array([0.0, *(v for one in rows for v in (one.value, one.low, one.high))]), 5
    )
    height, pad = top + row * len(rows) + 24, 8.0
    base = height - 20.0

    def place(value: float) -> float:
        return pad + float(across.place(np.array(value))) * (width - 2 * pad)

    inside: list[Child] = []
    for at in across.ticks:
        where = place(at)
        kind = "line.zero" if at == 0 else "line.grid"
        inside.append(h(kind, {"x1": where, "x2": where, "y1": top, "y2": base}))
        anchor = "start" if where < 20 else "end" if where > width - 20 else "middle"
        inside.append(
            h("text", {"x": where, "y": base + 14, "text-anchor": anchor}, tick(at, across))
        )
    for index, (name, hue, value, low, high) in enumerate(rows):
        y = top + row * index + 13
        said = f"{name}: {value:+.{places}f} [{low:+.{places}f}, {high:+.{places}f}]"
        ends = {"x1": place(low), "x2": place(high), "y1": y + 9, "y2": y + 9}
        inside.append(
            h(
                f"g.line{hue % HUES}",
                h("title", said.replace("-", "−")),
                h("text.name", {"x": pad, "y": y}, name if len(name) < 40 else name[:39] + "…"),
                h("line.whisker", ends),
                h("circle.point", {"cx": place(value), "cy": y + 9, "r": 4.2}),
            )
        )
    shape = {"viewBox": f"0 0 {width} {height}", "role": "img"}
    return h("svg.differences", shape, h("title", title), inside)


def key(names: Sequence[str]) -> Element:
    """Which colour is whose."""
    parts = [h("span", _swatch(index), name) for index, name in enumerate(names)]
    return h("p.legend", parts)


def _swatch(index: int) -> Element:
    shape = {"viewBox": "0 0 10 10", "aria-hidden": "true"}
    return h(
        "svg.swatch",
        shape,
        h(f"g.line{index % HUES}", h("circle.point", {"cx": 5, "cy": 5, "r": 4.5})),
    )


def named(index: int, name: str) -> Element:
    """A name behind its colour."""
    return h("span.arm" if len(name) <= SHORT else "span", _swatch(index), name)


def _grid(frame: Frame) -> Element:
    inside: list[Child] = []
    right, base = frame.width - RIGHT, frame.height - BOTTOM
    for at, where in zip(frame.y.ticks, frame.down(np.array(frame.y.ticks)).tolist(), strict=True):
        inside.append(h("line.grid", {"x1": frame.left, "x2": right, "y1": where, "y2": where}))
        place = {"x": frame.left - 6, "y": where + 3.5, "text-anchor": "end"}
        inside.append(h("text", place, tick(at, frame.y)))
    inside.append(h("line.axis", {"x1": frame.left, "x2": right, "y1": base, "y2": base}))
    for at, where in zip(
        frame.x.ticks, frame.across(np.array(frame.x.ticks)).tolist(), strict=True
    ):
        inside.append(h("line.tick", {"x1": where, "x2": where, "y1": base, "y2": base + 4}))
        place = {"x": where, "y": base + 16, "text-anchor": "middle"}
        inside.append(h("text", place, tick(at, frame.x)))
    return h("g", inside)


def _drawn(frame: Frame, line: Line) -> list[Child]:
    x, y = frame.across(line.x), frame.down(_within(line.y, frame.y))
    found: list[Child] = []
    if line.low is not None and line.high is not None:
        low = frame.down(np.clip(line.low, frame.y.low, frame.y.high))
        high = frame.down(np.clip(line.high, frame.y.low, frame.y.high))
        there = np.isfinite(x) & np.isfinite(low) & np.isfinite(high) & (low != high)
        across = np.concatenate([x[there], x[there][::-1]]).tolist()
        around = np.concatenate([high[there], low[there][::-1]]).tolist()
        if across:
            corners = zip(across, around, strict=True)
            path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in corners) + "Z"
            found.append(h("path.band", {"d": path}))
    path, pen = [], "M"
    for a, b in zip(x.tolist(), y.tolist(), strict=True):
        if np.isfinite(a) and np.isfinite(b):
            path.append(f"{pen}{a:.1f} {b:.1f}")
            pen = "L"
        else:
            pen = "M"
    if path:
        found.append(h("path.line", {"d": "".join(path)}))
    if line.dots:
        for a, b in zip(x.tolist(), y.tolist(), strict=True):
            if np.isfinite(a) and np.isfinite(b):
                found.append(h("circle.point", {"cx": a, "cy": b, "r": 2.6}))
    return found


def _within(values: np.ndarray, axis: Axis) -> np.ndarray:
    return np.where((values >= axis.low) & (values <= axis.high), values, np.nan)
