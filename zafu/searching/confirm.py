"""Confirm: what a search found, trained again with fresh seeds, and what that says.

The best value of a search is the best of many noisy ones, and so is too good. Here the best few
are trained again on the same split with seeds that the search has not seen; the winner has the
best mean of these. What the search's own first loses is its optimism (the winner's curse).
A candidate is a schedule: settings from some share of the budget on. For all searches but those
that change settings on the way it is one entry.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from zafu.measure import Measurement
from zafu.space import Settings
from zafu.statistics import mean
from zafu.study import Row, Wanted

SHARE = 4  # at most one of so many settings is confirmed

Schedule = list[tuple[float, Settings]]  # (share of the budget at which it ends, settings)


class Confirm(NamedTuple):
    """How much is trained again."""

    top: int = 8
    seeds: int = 6


class Confirmed(NamedTuple):
    """A candidate after its trainings with fresh seeds."""

    origin: int  # the number of its trial in the search
    schedule: Schedule
    searched: float  # what the search said
    values: list[float]  # of the seeds that did not diverge
    tests: list[float]
    diverged: int

    @property
    def value(self) -> Measurement | None:
        """The mean over seeds with its interval; None if all diverged."""
        return of_seeds(self.values)

    @property
    def test(self) -> Measurement | None:
        """The mean on the test split; None if there is none."""
        return of_seeds(self.tests)

    def worth(self, *, higher: bool) -> tuple[int, float]:
        """Greater where it is better: fewer seeds that diverged, then the mean."""
        value = self.value
        return (-self.diverged, (value.value if higher else -value.value) if value else -math.inf)


def schedule(rows: Sequence[Row], number: int) -> Schedule:
    """The settings that led to a trial, each until a share of the budget."""
    found: Schedule = []
    at: int | None = number
    while at is not None:
        wanted = rows[at].wanted
        if not found or found[-1][1] != wanted.settings:
            found.append((wanted.until, wanted.settings))
        at = wanted.of
    return found[::-1]


def ranked(rows: Sequence[Row], *, higher: bool) -> list[int]:
    """Numbers of the trials that went furthest, the best first; equal schedules once."""
    sound = [row for row in rows if row.done.value is not None and row.over]
    furthest = max((row.wanted.until for row in sound), default=0.0)
    sound = [row for row in sound if row.wanted.until == furthest]
    sign = -1 if higher else 1
    sound.sort(key=lambda row: (sign * (row.done.value or 0.0), row.number))
    found: dict[str, int] = {}
    for row in sound:
        found.setdefault(repr(schedule(rows, row.number)), row.number)
    return list(found.values())


def whole(found: Schedule) -> Schedule:
    """A schedule that goes to the end of the budget."""
    return [*found[:-1], (1.0, found[-1][1])]


def wanted(
    rows: Sequence[Row], origins: Sequence[int], done: Sequence[Row], *, seeds: Sequence[int]
) -> list[Wanted]:
    """The trials that are to be done after these: each candidate's next segment with each seed."""
    plans = {origin: whole(schedule(rows, origin)) for origin in origins}
    if not done:
        return [
            Wanted(plan[0][1], seed, plan[0][0], origin=origin)
            for origin, plan in plans.items()
            for seed in seeds
        ]
    gone_on = {row.wanted.of for row in done}
    found: list[Wanted] = []
    for row in done:
        plan = plans[row.wanted.origin or 0]
        later = [entry for entry in plan if entry[0] > row.wanted.until]
        if later and row.state == "done" and row.number not in gone_on:
            until, settings = later[0]
            found.append(Wanted(settings, row.wanted.seed, until, row.number, row.wanted.origin))
    return found


def confirmed(rows: Sequence[Row], done: Sequence[Row], origins: Sequence[int]) -> list[Confirmed]:
    """What came of each candidate."""
    found: list[Confirmed] = []
    for origin in origins:
        own = [row for row in done if row.wanted.origin == origin]
        ends = [row for row in own if row.state == "done" and row.wanted.until == 1.0]
        found.append(
            Confirmed(
                origin,
                whole(schedule(rows, origin)),
                rows[origin].done.value or 0.0,
                [row.done.value for row in ends if row.done.value is not None],
                [row.done.scores["test"] for row in ends if "test" in row.done.scores],
                sum(row.state != "done" for row in own),
            )
        )
    return found


def optimism(first: Confirmed, *, higher: bool) -> Measurement | None:
    """How much better the search said its first to be than its mean over fresh seeds."""
    value = first.value
    if value is None:
        return None
    sign = 1 if higher else -1
    ends: dict[str, Any] = {}
    if value.low is not None and value.high is not None:
        low, high = sorted(sign * (first.searched - end) for end in (value.low, value.high))
        ends = {"low": low, "high": high}
    how = f"the search's value less the {value.how}"
    return Measurement(value=sign * (first.searched - value.value), n=value.n, how=how, **ends)


def of_seeds(values: Sequence[float]) -> Measurement | None:
    """The mean of one value a seed with its interval; None of none."""
    if not values:
        return None
    how = f"mean of {len(values)} fresh seeds, t interval"
    return mean(values).model_copy(update={"how": how})
