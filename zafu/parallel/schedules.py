"""Schedules: who holds which stage, in which order stages work, and how long they stand idle.

GPipe: Huang et al., 2019 (arXiv:1811.06965). 1F1B and interleaved: Narayanan et al., 2021
(arXiv:2104.04473). Zero bubble in a V: Qi et al., 2024 (arXiv:2401.10241). DualPipe folded into a
V: DeepSeek-AI, 2024 (arXiv:2412.19437). Idle time is what remains when each piece of work starts
as soon as its process and what it needs are ready. The orders are torch's tables, but for gpipe and
1f1b what torch does: its table of 1f1b lets the last process skip the first micro-batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.distributed import pipelining

from zafu.errors import Refused
from zafu.layout import Layout, Schedule, held

SINGLE: dict[str, Any] = {"gpipe": pipelining.ScheduleGPipe, "1f1b": pipelining.Schedule1F1B}
LOOPED: dict[str, Any] = {"interleaved": pipelining.ScheduleInterleaved1F1B}
FOLDED: dict[str, Any] = {
    "zero-bubble": pipelining.ScheduleZBVZeroBubble,
    "dualpipe-v": pipelining.ScheduleDualPipeV,
}
SECONDS = {"F": 1, "I": 1, "W": 1, "B": 2}  # forward; backward for inputs, for weights, for both


def holder(schedule: Schedule, stage: int, processes: int) -> int:
    """The process of a pipeline that holds a stage."""
    return next(p for p in range(processes) if stage in held(schedule, p, processes))


def arranged(schedule: Schedule, stages: Sequence[Any], pieces: int, loss: Any = None) -> Any:
    """Torch's schedule for the stages of one process; gradients are summed over micro-batches.

    Raises Refused for a number of micro-batches that the schedule cannot order.
    """
    try:
        if schedule in SINGLE:
            return SINGLE[schedule](stages[0], pieces, loss_fn=loss, scale_grads=False)
        made = {**LOOPED, **FOLDED}[schedule]
        return made(list(stages), pieces, loss_fn=loss, scale_grads=False)
    except ValueError as error:
        raise Refused(f"layout.microbatches: {pieces} with {schedule}: {error}") from None


def bubble(layout: Layout) -> float:
    """The share of time for which a layout's processes wait for each other, 0 <= share < 1."""
    if layout.pipeline == 1:
        return 0.0
    return idle(layout.schedule, layout.stages, layout.pieces)


def idle(schedule: Schedule, stages: int, pieces: int) -> float:
    """The share of a step in which processes stand idle, 0 <= share < 1.

    A forward pass, a backward pass for inputs and one for weights take a second each, and what is
    sent arrives at once. For 1f1b and gpipe that is (p - 1) / (m + p - 1).
    """
    orders = {number: list(order) for number, order in _orders(schedule, stages, pieces).items()}
    ended: dict[tuple[str, int, int], int] = {}
    free, busy = dict.fromkeys(orders, 0), 0
    while any(orders.values()):
        done_before = len(ended)
        for process, order in orders.items():
            while order and all(need in ended for need in _needs(order[0], stages)):
                kind, stage, piece = order.pop(0)
                needs = [ended[need] for need in _needs((kind, stage, piece), stages)]
                free[process] = max([free[process], *needs]) + SECONDS[kind]
                busy += SECONDS[kind]
                for done in "IW" if kind == "B" else kind:
                    ended[done, stage, piece] = free[process]
        if len(ended) == done_before:
            raise RuntimeError(f"the processes of {schedule} wait for each other")
    return 1 - busy / (len(orders) * max(free.values()))


@dataclass
class _Seat:
    """As much of a stage as torch's schedules ask for to write their tables."""

    stage_index: int
    num_stages: int
    group_size: int
    group_rank: int = 0
    submod: nn.Module = field(default_factory=nn.Identity)
    stage_index_to_group_rank: dict[int, int] = field(default_factory=dict)

    @property
    def is_first(self) -> bool:
        return self.stage_index == 0

    @property
    def is_last(self) -> bool:
        return self.stage_index == self.num_stages - 1


def _orders(
    schedule: Schedule, stages: int, pieces: int
) -> dict[int, Iterator[tuple[str, int, int]]]:
    """Per process: (kind, stage, micro-batch), in the order of the work."""
    if schedule in SINGLE:
        return {stage: _single(schedule, stage, stages, pieces) for stage in range(stages)}
    processes = stages // 2
    seats = [_Seat(number, stages, processes) for number in held(schedule, 0, processes)]
    table = arranged(schedule, seats, pieces).pipeline_order
    return {process: _flat(actions) for process, actions in table.items()}


def _single(
    schedule: Schedule, stage: int, stages: int, pieces: int
) -> Iterator[tuple[str, int, int]]:
    """Some forward passes, then a backward and a forward in turn, then what is left of backward."""
    ahead = pieces if schedule == "gpipe" else min(pieces, stages - stage)
    yield from (("F", stage, piece) for piece in range(ahead))
    for piece in range(pieces):
        yield "B", stage, piece
        if ahead + piece < pieces:
            yield "F", stage, ahead + piece


def _flat(actions: Sequence[Any]) -> Iterator[tuple[str, int, int]]:
    for action in actions:
        if action is None:
            continue
        if action.sub_actions:
            yield from _flat(action.sub_actions)
        elif (kind := action.computation_type.value) in SECONDS:
            yield kind, action.stage_index, action.microbatch_index


def _needs(work: tuple[str, int, int], stages: int) -> list[tuple[str, int, int]]:
    """What must have ended before this work can begin."""
    kind, stage, piece = work
    if kind == "F":
        return [("F", stage - 1, piece)] if stage else []
    if kind == "W":
        return [("I", stage, piece)]
    return [("F", stage, piece), *([("I", stage + 1, piece)] if stage + 1 < stages else [])]
