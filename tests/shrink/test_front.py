"""Which models none beats, and which one is taken."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zafu.shrink.front import Point, front, near, pick

SCORES = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=12)


def points(found: list[tuple[int, int]]) -> list[Point]:
    return [Point(str(index), value / 10, cost) for index, (value, cost) in enumerate(found)]


@given(SCORES, st.booleans())
def test_who_is_not_on_the_front_is_beaten_by_one_that_is(
    found: list[tuple[int, int]], higher: bool
) -> None:
    every = points(found)

    on = set(front(every, higher=higher))

    sign = 1 if higher else -1
    assert on
    for point in every:
        beaten = any(
            sign * o.value >= sign * point.value
            and o.cost <= point.cost
            and (o.value, o.cost) != (point.value, point.cost)
            for o in every
            if o.name in on
        )
        assert beaten != (point.name in on)


@given(SCORES, st.booleans(), st.sampled_from([0.0, 0.1, 0.5]))
def test_the_pick_is_on_the_front_of_those_that_are_near_enough(
    found: list[tuple[int, int]], higher: bool, within: float
) -> None:
    before, *others = points(found)

    chosen = pick(others, before, within=within, higher=higher)

    able = [p for p in others if near(p, before, within=within, higher=higher)]
    if chosen is before:
        assert all(p.cost >= before.cost for p in able)
    else:
        assert chosen.cost == min(p.cost for p in able)
        assert chosen.cost < before.cost
        assert chosen.name in front(able, higher=higher)


def test_one_percent_is_of_the_value_and_better_is_always_near() -> None:
    before = Point("before", 0.9, 10)

    assert near(Point("a", 0.891, 5), before, within=0.01, higher=True)
    assert not near(Point("a", 0.889, 5), before, within=0.01, higher=True)
    assert near(Point("a", 0.95, 5), before, within=0.0, higher=True)
    assert near(Point("a", 0.5, 5), before, within=0.0, higher=False)
