"""Claims: sentences about techniques as data, and how paired seeds answer them.

A claim holds statements. Each is a sum of one quantity over arms, seed by seed, and what it is
expected to be. The answer is read from one interval: it holds, it fails (the opposite is shown), or
neither is shown. Intervals hold together for all statements and looks of a claim (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from zafu.compare.decide import Plan, finite
from zafu.compare.goal import reaching, target_of
from zafu.compare.kept import Record, column
from zafu.measure import Measurement
from zafu.spec import Spec
from zafu.statistics import ALPHA, paired

Quantity = Literal["final", "gap", "updates", "samples", "zeros", "wobble"]
Truth = Literal["holds", "fails", "not shown"]
LAST = 0.25  # share of a curve over which it is asked how steady it is


@dataclass(frozen=True)
class Statement:
    """What is expected of a quantity over arms."""

    says: str
    quantity: Quantity
    of: Mapping[str, float]  # the factor on each arm's quantity; their sum is what is asked about
    margin: float = 0.0
    expects: Literal["more", "apart"] = "more"  # than the margin; apart: by more, either way


class Answered(Spec):
    """What seeds say of a statement."""

    says: str
    quantity: str
    size: Measurement
    margin: float
    verdict: Truth


class Claimed(Spec):
    """What seeds say of a claim."""

    name: str
    says: str
    statements: tuple[Answered, ...]
    verdict: Truth


def answered(
    name: str,
    says: str,
    statements: Sequence[Statement],
    records: Mapping[str, Sequence[Record]],
    *,
    higher: bool,
    plan: Plan,
) -> Claimed:
    """The claim, judged by the records of each arm on the same seeds."""
    level = 1 - ALPHA / (len(plan.looks) * len(statements))
    found = tuple(_answered(one, records, higher=higher, level=level) for one in statements)
    verdicts = {one.verdict for one in found}
    whole: Truth = (
        "fails" if "fails" in verdicts else "not shown" if "not shown" in verdicts else "holds"
    )
    return Claimed(name=name, says=says, statements=found, verdict=whole)


def open_(found: Claimed) -> bool:
    """Whether further seeds may change the answer."""
    return any(one.verdict == "not shown" for one in found.statements)


def _answered(
    one: Statement, records: Mapping[str, Sequence[Record]], *, higher: bool, level: float
) -> Answered:
    columns = quantities(one.quantity, records, higher=higher)
    summed = np.sum([factor * columns[arm] for arm, factor in one.of.items()], axis=0)
    effect = paired(summed, level=level)
    low, high = _bounds(effect.size, 1 - level)
    size = effect.size.model_copy(update={"low": low, "high": high})
    if one.quantity in ("updates", "samples"):
        size = _ratio(size)
    margin = math.exp(one.margin) if one.quantity in ("updates", "samples") else one.margin
    verdict = _verdict(one, low, high)
    return Answered(says=one.says, quantity=one.quantity, size=size, margin=margin, verdict=verdict)


def quantities(
    quantity: Quantity, records: Mapping[str, Sequence[Record]], *, higher: bool
) -> dict[str, np.ndarray]:
    """A quantity of each arm by seed; updates and samples to the target as logarithms.

    `final` and `gap` are turned so that more is better, and more over-fitted. A seed that never
    came to the target counts as if it had with its next update.
    """
    sign = 1 if higher else -1
    if quantity in ("updates", "samples"):
        target = target_of(records, higher=higher)
        at = 0 if quantity == "samples" else 1
        return {
            name: np.log([_cost(r, target, at, higher=higher) for r in own])
            for name, own in records.items()
        }
    if quantity == "zeros":
        return {name: np.array([r.zeros for r in own]) for name, own in records.items()}
    if quantity == "wobble":
        return {name: np.array([_wobble(r) for r in own]) for name, own in records.items()}
    test = finite({n: column(own, "test") for n, own in records.items()}, higher=higher)
    if quantity == "final":
        return {name: sign * own for name, own in test.items()}
    train = finite({n: column(own, "train") for n, own in records.items()}, higher=higher)
    return {name: sign * (train[name] - own) for name, own in test.items()}


def _cost(record: Record, target: float | None, at: int, *, higher: bool) -> float:
    came = None if target is None else reaching(record, target, higher=higher)
    if came is not None:
        return came[at]
    spent = (record.samples, record.updates)
    return spent[at] + spent[at] / max(record.updates, 1)


def _wobble(record: Record) -> float:
    """The mean change between neighbours on the last quarter of the curve."""
    values = np.array([math.nan if v is None else v for _, _, v in record.curve])
    last = values[-max(2, round(LAST * len(values))) :]
    changes = np.abs(np.diff(last))
    return float(np.nanmean(changes)) if np.isfinite(changes).any() else 0.0


def _bounds(size: Measurement, alpha: float) -> tuple[float | None, float | None]:
    """The interval; where all seeds agree to the digit, the value itself if they are enough.

    So many seeds on the same side of a margin have probability 2^(1 - n) by sign flips.
    """
    if size.low is not None or 2.0 ** (1 - size.n) >= alpha:
        return size.low, size.high
    return size.value, size.value


def _verdict(one: Statement, low: float | None, high: float | None) -> Truth:
    if low is None or high is None:
        return "not shown"
    if one.expects == "apart":
        if low > one.margin or high < -one.margin:
            return "holds"
        return "fails" if -one.margin < low and high < one.margin else "not shown"
    return "holds" if low > one.margin else "fails" if high < one.margin else "not shown"


def _ratio(size: Measurement) -> Measurement:
    """A difference of logarithms as a ratio."""
    ends = {
        n: None if v is None else math.exp(v) for n, v in (("low", size.low), ("high", size.high))
    }
    return size.model_copy(update={"value": math.exp(size.value), "unit": "x", **ends})
