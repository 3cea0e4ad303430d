"""A plane of what is good against what it costs: points with names and whiskers, and the front.

On the front is what nothing else beats in both (Pareto, 1906), by the values themselves: whether
two values differ is for their intervals to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from zafu.measure import Measurement
from zafu.report.chart import BOTTOM, LETTER, RIGHT, TOP, Frame, framed, plane
from zafu.report.element import Child, Element, h
from zafu.report.scale import TINY, axis, linear
from zafu.report.words import better_when_higher, bounds, label, quoted, scale, unit

LETTERS = 18  # most characters of a name
APART = 7.0  # between points that cost the same, so that both are seen
HIGH = 13.0  # of a name
BESIDE = [(s * 9.0, dy) for dy in (0.0, -14.0, 14.0, -28.0, 28.0, -42.0, 42.0) for s in (1, -1)]


class Point(NamedTuple):
    """Something that one could choose."""

    name: str
    cost: float  # positive; less is better
    of: Measurement
    before: bool = False  # drawn apart: what the others are to be seen beside


class Box(NamedTuple):
    """A part of a picture that is taken."""

    left: float
    top: float
    right: float
    bottom: float
    weight: float = 1.0  # how bad it is to cover it

    def meets(self, other: Box) -> bool:
        """Whether two overlap."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


def pareto(metric: str, points: Sequence[Point], cost: str, *, higher: bool) -> Element | None:
    """The metric against what is paid for it, None where fewer than two points have a place."""
    sign = -1 if higher else 1  # of equal cost the better one first
    shown = sorted((p for p in points if p.cost > TINY), key=lambda p: (p.cost, sign * p.of.value))
    if len(shown) < 2:
        return None
    frame, factor = _frame(metric, shown), scale(metric, shown[0].of)
    across = _apart(frame.across(np.array([p.cost for p in shown])).tolist())
    down = frame.down(np.array([p.of.value for p in shown]) * factor).tolist()
    whiskers = [frame.down(np.array(bounds(p.of)) * factor).tolist() for p in shown]
    best = front(shown, list(zip(across, down, strict=True)), frame.width - RIGHT, higher=higher)
    inside: list[Child] = [_path(best)]
    for point, a, b, ends in zip(shown, across, down, whiskers, strict=True):
        inside.append(_drawn(metric, point, (a, b), ends))
    taken = [Box(a - 5, b - 5, a + 5, b + 5) for a, b in zip(across, down, strict=True)]
    taken += [Box(a - 2, high, a + 2, low) for a, (low, high) in zip(across, whiskers, strict=True)]
    taken += [Box(a, b - 1, c, b + 1, 0.4) for (a, b), (c, _) in pairwise(best)]
    for point, a, b in zip(shown, across, down, strict=True):
        inside.append(_name(frame, point.name, (a, b), taken))
    of = unit(metric, shown[0].of)
    named = f"{label(metric)}, {of}" if of else label(metric)
    said = f"{label(metric)} against {cost}"
    return h("div.pareto", plane(said, frame, inside, across=cost, down=named))


def _frame(metric: str, points: Sequence[Point]) -> Frame:
    factor = scale(metric, points[0].of)
    ends = np.array([x * factor for p in points for x in (*bounds(p.of), p.of.value)])
    y = linear(ends, 4) if better_when_higher(metric) else axis(ends, count=4)
    return framed(axis(np.array([p.cost for p in points]), count=4), y, height=270)


def _apart(places: list[float]) -> list[float]:
    """Ascending places, none nearer to the one before than can be seen."""
    found = list[float]()
    for place in places:
        found.append(max(place, found[-1] + APART) if found else place)
    return found


def front(
    points: Sequence[Point], places: Sequence[tuple[float, float]], right: float, *, higher: bool
) -> list[tuple[float, float]]:
    """Where the best value for so much lies; points come by cost, the better of equals first."""
    found, best = list[tuple[float, float]](), -np.inf
    for point, place in zip(points, places, strict=True):
        worth = point.of.value if higher else -point.of.value
        if worth > best:
            found.append(place)
            best = worth
    return [*found, (max(right, places[-1][0]), found[-1][1])]


def _path(places: Sequence[tuple[float, float]]) -> Element:
    (a, b), *others = places
    steps = "".join(f"H{x:.1f}V{y:.1f}" for x, y in others)
    return h("path.line", {"d": f"M{a:.1f} {b:.1f}{steps}"})


def _drawn(metric: str, point: Point, place: tuple[float, float], ends: Sequence[float]) -> Element:
    said = f"{point.name}: {quoted(metric, point.of)}"
    whisker = h("line.whisker", {"x1": place[0], "x2": place[0], "y1": ends[0], "y2": ends[1]})
    mark = h("circle.point", {"cx": place[0], "cy": place[1], "r": 4.4})
    return h("g.before" if point.before else "g.link", h("title", said), whisker, mark)


def _name(frame: Frame, name: str, place: tuple[float, float], taken: list[Box]) -> Element:
    """A name beside its point, where it covers least of what is taken; its own place is added."""
    whole = Box(frame.left, TOP - 6, frame.width, frame.height - BOTTOM)
    text = name if len(name) <= LETTERS else name[: LETTERS - 1] + "…"
    long = LETTER * len(text) + 4
    a, b = place
    free = [(_box(a + dx, b + dy, long if dx > 0 else -long), dx) for dx, dy in BESIDE]
    box, dx = min(free, key=lambda pair: _covered(pair[0], whole, taken))
    taken.append(box)
    where = {"x": box.left if dx > 0 else box.right, "y": box.bottom - 3}
    return h("text.name", {**where, "text-anchor": "start" if dx > 0 else "end"}, text)


def _box(x: float, y: float, long: float) -> Box:
    """Around a name that begins, or if `long` is negative ends, at a place."""
    return Box(min(x, x + long), y - HIGH / 2, max(x, x + long), y + HIGH / 2)


def _covered(box: Box, whole: Box, taken: Sequence[Box]) -> float:
    """How bad it is what a name would cover; to leave the picture is as bad as two things."""
    inside = box.left >= whole.left and box.right <= whole.right
    inside = inside and box.top >= whole.top and box.bottom <= whole.bottom
    return sum(other.weight for other in taken if box.meets(other)) + (0 if inside else 2)
