"""Choosing: models that none beats in metric and cost, and the cheapest that is good enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Point(NamedTuple):
    """A model, as far as choosing goes."""

    name: str
    value: float  # of the metric
    cost: float


def front(points: Sequence[Point], *, higher: bool) -> list[str]:
    """The names of those that no other beats in one of value and cost and matches in the other."""
    sign = 1 if higher else -1

    def beaten(own: Point) -> bool:
        return any(
            sign * other.value >= sign * own.value
            and other.cost <= own.cost
            and (other.value, other.cost) != (own.value, own.cost)
            for other in points
        )

    return [point.name for point in points if not beaten(point)]


def near(point: Point, before: Point, *, within: float, higher: bool) -> bool:
    """Whether a value is worse than before by no more than this share of it."""
    worse = (before.value - point.value) * (1 if higher else -1)
    return worse <= within * abs(before.value) + 1e-12


def pick(points: Sequence[Point], before: Point, *, within: float, higher: bool) -> Point:
    """The cheapest that is near enough and cheaper than before, else `before`.

    Of equally cheap ones it is the one with the best value.
    """
    sign = 1 if higher else -1
    able = [
        point
        for point in points
        if point.cost < before.cost and near(point, before, within=within, higher=higher)
    ]
    return min(able, key=lambda p: (p.cost, -sign * p.value), default=before)
