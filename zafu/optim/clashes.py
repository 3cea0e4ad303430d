"""Techniques that would undo one another when they move the same weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from zafu.errors import Fault
from zafu.optim.adam import Adam
from zafu.optim.adamw import AdamW
from zafu.optim.averaging import Average
from zafu.optim.contract import Optimizer
from zafu.optim.penalties import L1, ElasticNet, Penalty
from zafu.optim.rate import LearningRate
from zafu.optim.schedule_free import ScheduleFree


def clashes(
    optimizer: Optimizer, penalties: Sequence[Penalty], average: Average | None
) -> Iterable[Fault]:
    """Faults of the combination, with paths relative to what holds all three.

    Schedule-free judges an average of its own: a second one has no meaning, and what a proximal
    step sets to 0 would not be 0 in it. A learning rate is found from Adam's state.
    """
    if isinstance(optimizer.lr, LearningRate) and not isinstance(optimizer, (Adam, AdamW)):
        yield Fault("optimizer.lr", f"a number > 0 with {optimizer.kind}", optimizer.lr.kind)
    if not isinstance(optimizer, ScheduleFree):
        return
    if average is not None:
        yield Fault("average", "none with schedule-free, which averages itself", average.kind)
    for index, penalty in enumerate(penalties):
        if isinstance(penalty, (L1, ElasticNet)) and penalty.method == "proximal":
            path = f"penalties.{index}.method"
            yield Fault(path, "subgradient with schedule-free", "proximal")
