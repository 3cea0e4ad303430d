"""Session: one process's work on a run, and what is recorded and said of it between steps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from zafu import artifact, checkpoint, costs, loop
from zafu.checkpoint import State
from zafu.data.contract import Split
from zafu.errors import Diverged
from zafu.loading.contract import Choice, Loader
from zafu.loop import Objective, Step
from zafu.measure import Measurement
from zafu.optim.runtime.update import Update
from zafu.parallel import digest
from zafu.parallel.digest import Replicas
from zafu.parallel.pace import Slow
from zafu.parallel.schedules import bubble
from zafu.run import Run
from zafu.saving import Saving
from zafu.signals import Stop
from zafu.signature import Signature
from zafu.track.contract import Log
from zafu.track.metrics import Metrics

POINTS = 500  # logged lines of a run, about


class Note(NamedTuple):
    """A sentence for the user."""

    text: str


class Judged(NamedTuple):
    """A split was judged."""

    split: str
    step: int
    scores: dict[str, Measurement]


@dataclass
class Session:
    """One process's work on a run: all that training needs, in one place."""

    run: Run
    objective: Objective
    update: Update
    state: State
    metrics: Metrics
    stop: Stop
    validation: Split
    logs: list[Log] = field(default_factory=list[Log])
    waiting: list[Step] = field(default_factory=list[Step])  # not yet logged
    choices: list[Choice] = field(default_factory=list[Choice])  # of a loader, not yet said
    chosen: Loader | None = None  # the one that reads, where fit.loader left that open
    notes: list[Note] = field(default_factory=list[Note])  # not yet said
    saving: Saving = field(default_factory=Saving)
    saved: dict[str, Any] | None = None  # the state that the newest save is of
    lent: bool = False  # whether there was no memory for a copy, which then was said
    saved_at: float = field(default_factory=perf_counter)
    compared: int | None = None  # the step after which copies were last found equal
    comparing: float = 0.0  # seconds that this took in this process
    training: float = 0.0  # seconds that its steps took
    slow: set[int] = field(default_factory=set[int])  # ranks that were behind when last compared

    @property
    def step(self) -> int:
        """Updates done so far."""
        return self.state.progress.step

    @property
    def first(self) -> bool:
        """Whether this is the rank that keeps the run's records."""
        return self.objective.spread.world.rank == 0

    @property
    def stopping(self) -> bool:
        """Whether any rank was asked to stop, the same on all."""
        return self.objective.spread.any(bool(self.stop))

    @property
    def over(self) -> bool:
        """Whether the budget is spent."""
        return self.state.progress.share(self.budget[1], self.run.recipe.fit.seconds) >= 1

    @property
    def reader(self) -> Loader:
        """Who reads what is judged."""
        return (self.chosen or self.run.recipe.fit.loader).nearby()

    @cached_property
    def replicas(self) -> Replicas:
        """What of the weights and their update other ranks hold as well."""
        return Replicas(self.objective.spread, self.update)

    @cached_property
    def budget(self) -> tuple[int, int | None]:
        """As `loop.budget`, which may read through the whole split, asked for once."""
        return loop.budget(self.objective.split, self.run.recipe.fit)

    @cached_property
    def ends(self) -> frozenset[int]:
        """The steps after which a cycle of the schedule ends."""
        return loop.ends(self.run.recipe.fit, *self.budget)


def pinned(session: Session) -> set[Path]:
    """The checkpoints that are kept whatever `fit.keep` says: the best one, and ends of cycles."""
    run, best = session.run, session.state.best_step
    steps = set(session.ends) | ({best} if patience_of(run) else set())
    return {run.checkpoints / checkpoint.name_of(step) for step in steps}


def settled(session: Session) -> Iterator[Note]:
    """Record and say how data is read from here on, where that was to be found out; other notes."""
    yield from session.notes
    session.notes.clear()
    for choice in session.choices:
        session.chosen = choice.loader
        seconds = {f"seconds_{name}": value for name, value in choice.seconds.items()}
        row = {"step": session.step, "loader": choice.loader.dump(), "of_a_batch": seconds}
        session.metrics.append(row)
        yield Note(choice.why)
    session.choices.clear()


def compare(session: Session) -> None:
    """Raise Diverged, on all ranks, where copies of the same numbers have different bits."""
    if session.objective.spread.world.alone or session.compared == session.step:
        return
    begun = perf_counter()
    found = session.replicas.different()
    session.comparing += perf_counter() - begun
    if not found:
        session.compared = session.step
        return
    saved = checkpoint.complete(session.run.checkpoints)
    since = (
        "" if session.compared is None else f"; they were the same after step {session.compared}"
    )
    whence = saved[-1].name if saved else "the start, as there is no checkpoint"
    raise Diverged(
        f"step {session.step}: {digest.told(found)}{since}. Memory or a processor may be at fault. "
        f"Nothing of this was saved: the same command goes on from {whence}"
    )


def cost(session: Session, step: Step, ranks: list[dict[str, Any]]) -> None:
    """Write down what a step cost each rank of the layout, beside what theory says, and say it."""
    if not session.first:
        return
    run, layout = session.run, session.run.recipe.layout
    data = run.folder.parent / "data" / session.state.data
    signature = Signature.parse(artifact.read_json(data / "signature.json"))
    foreseen = costs.of_ranks(run.recipe, signature, samples=step.samples)
    for rank, theory in zip(ranks, foreseen, strict=True):
        rank["theory"] = theory.dump()
    found = {
        "step": step.number,
        "layout": layout.dump(),
        "device": session.objective.spread.world.device.type,
        "idle": bubble(layout),
        "ranks": ranks,
    }
    artifact.write_json(run.folder / costs.NAME, found)
    session.notes += map(Note, costs.said(found))


def pace(session: Session, step: Step, slow: list[Slow]) -> None:
    """Record which ranks take longer than the others; say what has changed about that."""
    before, session.slow = session.slow, {there.rank for there in slow}
    if not session.first:
        return
    if slow:
        rows = [there._asdict() for there in slow]
        session.metrics.append({"step": step.number, "slow": rows})
    new = [str(there) for there in slow if there.rank not in before]
    new += [f"rank {rank} keeps pace again" for rank in sorted(before - session.slow)]
    if new:
        session.notes.append(Note(f"step {step.number}: {'; '.join(new)}"))


def uneven(session: Session) -> float:
    """The largest share of a batch over the smallest; infinite where one has no sample."""
    (size, _), (_, of) = session.budget, session.objective.spread.dealt
    return -(-size // of) / (size // of) if size >= of else math.inf


def log(session: Session) -> None:
    """Write one line for the steps since the last: means of what varies, sums of what adds up."""
    if not session.waiting:
        return
    rows, session.waiting = session.waiting, []
    targets = sum(r.targets for r in rows)
    seconds = sum(r.seconds for r in rows)
    samples = sum(r.samples for r in rows)
    values = means(rows)
    row = {
        "step": rows[-1].number,
        "steps": len(rows),
        **values,
        "samples": samples,
        "targets": targets,
        "skipped": sum(not r.applied for r in rows),
        "seconds": seconds,
        "seconds_data": sum(r.seconds_data for r in rows),
        "seconds_update": sum(r.seconds_update for r in rows),
    }
    session.metrics.append(row)
    for sink in session.logs:
        sink.log(rows[-1].number, {**values, "samples_per_second": samples / seconds})


def means(rows: list[Step]) -> dict[str, float]:
    """What is logged of some steps in a row, apart from sums."""
    return {
        "loss": sum(r.loss * r.targets for r in rows) / sum(r.targets for r in rows),
        "grad_norm": sum(r.grad_norm for r in rows) / len(rows),
        "lr": rows[-1].lr,
    }


def log_interval(session: Session) -> int:
    """Steps between logged lines, so that a run has about POINTS of them."""
    size, total = session.budget
    return 1 if total is None else max(1, math.ceil(total / size / POINTS))


def patience_of(run: Run) -> bool:
    """Whether the best checkpoint of this run is needed at its end."""
    return run.recipe.fit.early_stopping is not None


def best_checkpoint(session: Session) -> Path | None:
    """The checkpoint whose weights are shipped, where that is not simply the last."""
    if not patience_of(session.run) or session.state.best_step is None:
        return None
    return session.run.checkpoints / checkpoint.name_of(session.state.best_step)
