"""Figures that are no curves: values with whiskers, shares of a whole, and a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np

from zafu.measure import Measurement
from zafu.report.element import Child, Element, h
from zafu.report.scale import axis, linear, tick
from zafu.report.words import bare, better_when_higher, bounds, digits, quoted, scale

WIDTH, ROW, PAD = 400, 38, 8.0
CELLS = 26  # most classes whose matrix is drawn
LETTERS = 12  # most characters of a label beside the matrix


def whiskers(metric: str, rows: Sequence[tuple[str, Measurement]]) -> Element:
    """One row a contender, the model's own first: a dot at the value, a line over its interval."""
    factor = scale(metric, rows[0][1])
    ends = np.array([x * factor for _, m in rows for x in (*bounds(m), m.value)])
    # scores that grow are shares or close to it: their logarithms say nothing
    across = linear(ends, 4) if better_when_higher(metric) else axis(ends, count=4)
    height = ROW * len(rows) + 30

    def place(number: float) -> float:
        return float(PAD + across.place(np.array(number)) * (WIDTH - 2 * PAD))

    base = height - 22.0
    inside: list[Child] = []
    for at in across.ticks:
        where = place(at)
        inside.append(h("line.grid", {"x1": where, "x2": where, "y1": 4.0, "y2": base}))
        anchor = "start" if where < 20 else "end" if where > WIDTH - 20 else "middle"
        here = {"x": where, "y": base + 15, "text-anchor": anchor}
        inside.append(h("text", here, tick(at, across)))
    places = digits(metric, rows[0][1])
    for index, (name, of) in enumerate(rows):
        y = 16.0 + ROW * index
        low, middle, high = (place(x * factor) for x in (bounds(of)[0], of.value, bounds(of)[1]))
        inside.append(
            h(
                "g.own" if index == 0 else "g.rival",
                h("text.name", {"x": PAD, "y": y}, _cut(name, 28)),
                h(
                    "text.value",
                    {"x": WIDTH - PAD, "y": y, "text-anchor": "end"},
                    bare(metric, of, places),
                ),
                h("line.whisker", {"x1": low, "x2": high, "y1": y + 11, "y2": y + 11}),
                h("circle.point", {"cx": middle, "cy": y + 11, "r": 4.2}),
            )
        )
    said = "; ".join(f"{name}: {quoted(metric, of)}" for name, of in rows)
    shape = {"viewBox": f"0 0 {WIDTH} {height}", "role": "img"}
    return h("svg.whiskers", shape, h("title", said), inside)


def shares(title: str, parts: Sequence[tuple[str, float]]) -> Element:
    """A bar that is cut in proportion to the parts, of which one at least is positive.

    A part's place in the sequence is its hue, whether it shows or not.
    """
    whole = sum(size for _, size in parts)
    ends = list(accumulate((size / whole * 800 for _, size in parts), initial=0.0))
    inside: list[Child] = []
    for index, ((name, size), (start, end)) in enumerate(zip(parts, pairwise(ends), strict=True)):
        if size > 0:
            place = {"x": start, "y": 0, "width": max(0.5, end - start - 1.5), "height": 22}
            said = h("title", f"{name}: {size / whole:.1%}")
            inside.append(h(f"rect.hue{index}", place, said))
    shape = {"viewBox": "0 0 800 22", "role": "img", "preserveAspectRatio": "none"}
    return h("svg.shares", shape, h("title", title), inside)


def swatch(index: int) -> Element:
    """A small square in the colour of a part, for a legend."""
    shape = {"viewBox": "0 0 10 10", "aria-hidden": "true"}
    return h("svg.swatch", shape, h(f"rect.hue{index}", {"width": 10, "height": 10}))


def matrix(labels: Sequence[str], counts: np.ndarray) -> Element:
    """A heat map of counts `(true, predicted)`; a row's colours are shares of that row."""
    many = len(labels)
    left, top = 12 + 5.8 * max(4, *(min(len(label), LETTERS) for label in labels)), 42.0
    cell = (WIDTH - left) / many
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    middle = {"x": (left + WIDTH) / 2, "y": 14, "text-anchor": "middle"}
    aside = {"x": left - 6, "y": 14, "text-anchor": "end"}
    inside: list[Child] = [h("text", middle, "predicted"), h("text", aside, "true")]
    for true, row in enumerate(labels):
        middle = top + cell * (true + 0.5)
        place = {"x": left - 6, "y": middle + 3.5, "text-anchor": "end"}
        inside.append(h("text", place, _cut(row, LETTERS)))
        across = left + cell * (true + 0.5)
        letters = int(cell / 6.3)
        place = {"x": across, "y": top - 7, "text-anchor": "middle"}
        inside.append(h("text", place, _cut(row, max(letters, 1))))
        for predicted in range(many):
            at = (left + cell * predicted, top + cell * true, cell)
            count, share = int(counts[true, predicted]), float(shares[true, predicted])
            said = f"{row} taken for {labels[predicted]}: {count}"
            inside.append(_cell(at, count=count, share=share, said=said))
    right = float(np.trace(counts)) / max(float(counts.sum()), 1.0)
    title = h("title", f"Confusion matrix of {many} classes; {right:.1%} on the diagonal")
    shape = {"viewBox": f"0 0 {WIDTH} {top + cell * many + 2:.0f}", "role": "img"}
    return h("svg.matrix", shape, title, inside)


def confused(
    labels: Sequence[str], counts: np.ndarray, most: int = 6
) -> list[tuple[str, str, int]]:
    """The pairs (true, predicted, count) that were confused most often."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:6]
    pairs = [divmod(int(at), len(labels)) for at in order]
    return [(labels[t], labels[p], int(wrong[t, p])) for t, p in pairs if wrong[t, p]]


def _cell(at: tuple[float, float, float], *, count: int, share: float, said: str) -> Element:
    x, y, size = at
    place = {"x": x, "y": y, "width": size - 1, "height": size - 1, "rx": 1.5}
    back = h("rect.cell", place)
    ink = h("rect.heat", {**place, "fill-opacity": share}) if share else None
    number = None
    if count and size >= 6.3 * len(str(count)) + 4:
        middle = {"x": x + size / 2, "y": y + size / 2 + 3.5, "text-anchor": "middle"}
        number = h("text.count", middle, str(count))
    return h("g", h("title", said), back, ink, number)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
