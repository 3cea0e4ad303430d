"""The fleet: many small models trained at once as one batched program.

Folds, settings and seeds of a model are the rows of one buffer; a step is one forward and backward
pass through batched products and one walk of the optimizer. Each model sees the samples, in the
order, that it would see alone, and has its own learning rate, decay, dropout, penalties and end; so
its result is that of `trial.outcome` within rounding. Models are independent: one that diverges is
taken out, and the others do not change by a bit. Wang et al., 2021 (arXiv:2102.02344) fuse models
so on accelerators; on a CPU what is saved is the start of each operation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import final

import numpy as np
import torch
from torch import Tensor

from zafu import loop
from zafu.build import device_of
from zafu.errors import Interrupted
from zafu.fleet.crew import (
    Member,
    begun,
    enlisted,
    fresh,
    left,
    places,
    progress_of,
    taken_up,
    view,
)
from zafu.fleet.judging import Judging
from zafu.fleet.nets import Factors, draw, stacked
from zafu.fleet.objective import add_penalties, clip, losses, shrink
from zafu.fleet.rules import rule
from zafu.fleet.streams import Given, Streams
from zafu.memory import keep_freed
from zafu.trial import Outcome, Point, State, Trial

Found = tuple[int, Outcome]  # the number of a trial, and what it says


def outcomes(
    trials: Sequence[Trial],
    stopped: Callable[[], str] = lambda: "",
    dtype: torch.dtype = torch.float32,
) -> Iterator[Found]:
    """Yields each trial's number and its outcome; the trials are those of one stack.

    Raises Interrupted as soon as `stopped` names a signal.
    """
    fleet = Fleet(trials, dtype)
    while True:
        yield from fleet.finished()
        if not fleet.members:
            return
        if reason := stopped():
            raise Interrupted(f"{reason}: {len(fleet.members)} trials were left in training")
        yield from fleet.step()
        fleet.evaluate()


@final
class Fleet:
    """Models in training, all of them at the same step."""

    def __init__(self, trials: Sequence[Trial], dtype: torch.dtype) -> None:
        fit = trials[0].recipe.fit
        keep_freed()
        if fit.threads:
            torch.set_num_threads(fit.threads)
        module = fresh(trials[0]).to(device_of(fit), dtype)
        self.net, self.clip = stacked(module), fit.clip
        self.places, self.large = places(module)
        self.weights = begun(trials, self.places).to(device_of(fit), dtype)  # (models, numbers)
        specs = [trial.recipe.fit.optimizer for trial in trials]
        self.rule = rule(specs, self.weights, large=self.large)
        self.steps, self.samples = taken_up(self.rule, trials, self.places)
        self.streams = Streams(trials, fit.batch_size(0), self.weights)
        self.judging = Judging(self.net, self.places, self.weights)
        self.members = [enlisted(n, trial, self.streams) for n, trial in enumerate(trials)]
        self.bind()

    def bind(self) -> None:
        """Take the models' parameters, and their gradients, from the rows of the buffers."""
        self.gradients = torch.zeros_like(self.weights)
        self.parts = view(self.gradients, self.places)
        rows = view(self.weights, self.places)
        self.leaves = {name: row.detach().requires_grad_() for name, row in rows.items()}

    def keep(self, rows: list[int]) -> None:
        """Go on with these models alone, whose gradients stay."""
        if len(rows) < len(self.members):
            chosen = torch.tensor(rows, dtype=torch.int64, device=self.weights.device)
            gradients, self.weights = self.gradients[chosen], self.weights[chosen]
            self.members = [self.members[row] for row in rows]
            self.rule.keep(chosen, self.weights)
            self.bind()
            self.gradients.copy_(gradients)

    def step(self) -> Iterator[Found]:
        """One update of each model; yields the outcomes of those that diverge instead."""
        begin, members = perf_counter(), self.members
        trials = [member.trial for member in members]
        streams, totals = [m.stream for m in members], [m.total for m in members]
        given = self.streams.at(self.samples, streams, totals)
        tasks, counts = [t.recipe.task for t in trials], self.weights.new_tensor(given.counts)
        means, parts = self.net.learn(
            self.leaves,
            given.inputs,
            self.dropout(given),
            lambda logits: losses(tasks, logits, given) / counts,
        )
        with torch.no_grad():
            torch._foreach_copy_(list(self.parts.values()), parts)  # pyright: ignore[reportPrivateImportUsage]
            sound = self.sound(means)
            if not all(sound):
                yield from self.lost(sound)
            if self.members:
                self.update()
        self.steps, self.samples = self.steps + 1, self.samples + self.streams.size
        spent = (perf_counter() - begin) / len(members)
        for member in self.members:
            member.seconds += spent

    def sound(self, means: Tensor) -> list[bool]:
        """Whether each model's loss and gradient are finite; in place: penalties and clipping."""
        penalties = [member.trial.recipe.fit.penalties for member in self.members]
        add_penalties(self.gradients, self.weights, penalties, large=self.large)
        norms = torch.linalg.vector_norm(self.gradients, dim=1)
        clip(self.gradients, self.clip, norms)
        return (means.isfinite() & norms.isfinite()).tolist()

    def update(self) -> None:
        """Move the weights by the gradients, each model's at its own rate."""
        fits = [member.trial.recipe.fit for member in self.members]
        factors: dict[tuple[int, int], float] = {}
        rates: list[float] = []
        for fit, member in zip(fits, self.members, strict=True):
            key = (id(fit.schedule), member.total)
            if key not in factors:
                factors[key] = fit.schedule.factor(min(self.samples / member.total, 1.0))
            rates.append(fit.optimizer.start * factors[key])
        self.rule.step(self.gradients, rates)
        shrink(self.weights, [fit.penalties for fit in fits], rates, large=self.large)

    def dropout(self, given: Given) -> Factors | None:
        """Dropout's factors for this step, if any model has dropout."""
        shares = [member.dropout for member in self.members]
        if not any(shares) or not self.net.layers:
            return None
        seeds = [loop.key(m.trial.recipe.seed, self.steps, 0) for m in self.members]
        shape = (self.net.layers, len(shares), max(given.rows), self.net.width)
        return draw(self.weights.new_ones(shape), shares, seeds, given.rows)

    def lost(self, sound: list[bool]) -> Iterator[Found]:
        """Take out the models that diverged; yields what there is to say of them."""
        text = f"step {self.steps + 1}: a loss or gradient is not finite"
        gone = [member for member, fine in zip(self.members, sound, strict=True) if not fine]
        self.keep([row for row, fine in enumerate(sound) if fine])
        for member in gone:
            cost = member.cost(self.samples, self.steps)
            yield member.number, Outcome({}, tuple(member.curve), cost, text, {}, None)

    def seen(self, member: Member) -> int:
        """Samples that a model has seen."""
        return min(self.samples, member.total)

    def evaluate(self) -> None:
        """Judge the models of which an evaluation is due; some are then at their end."""
        due = [row for row, member in enumerate(self.members) if self.seen(member) in member.due]
        if not due:
            return
        members = [self.members[row] for row in due]
        values = self.judging.values(self.weights[due], [member.trial for member in members])
        for row, member, value in zip(due, members, values, strict=True):
            seen, before = self.seen(member), progress_of(member, self.samples, self.steps)
            member.curve.append(Point(seen, self.steps, before.seconds, value))
            own = self.weights[row]
            if member.best.hears(member.trial.recipe, value, lambda w=own: {"": w.clone()}):
                member.end = min(member.end, seen)

    def finished(self) -> Iterator[Found]:
        """Take out the models that are at their end; yields their outcomes."""
        over = [row for row, member in enumerate(self.members) if self.seen(member) >= member.end]
        if not over:
            return
        members = [self.members[row] for row in over]
        states = [self.state(row) for row in over]
        best = [m.best.weights[""] if m.best.weights else self.weights[row]
                for m, row in zip(members, over, strict=True)]  # fmt: skip
        shown, trials = torch.stack(best), [member.trial for member in members]
        answers: list[dict[str, np.ndarray]] = [{} for _ in members]
        for name in dict.fromkeys(name for trial in trials for name in trial.judged):
            asked = [i for i, trial in enumerate(trials) if name in trial.judged]
            heard = self.judging.answers(shown[asked], [trials[i] for i in asked], name)
            for index, own in zip(asked, heard, strict=True):
                answers[index][name] = own
        self.keep([row for row in range(len(self.members)) if row not in set(over)])
        for member, state, row, own in zip(members, states, shown, answers, strict=True):
            yield member.number, self.outcome(member, state, row, own)

    def state(self, row: int) -> State:
        """Where a model stands."""
        progress = progress_of(self.members[row], self.samples, self.steps)
        return left(self.rule, row, self.places, progress)

    def outcome(
        self, member: Member, state: State, row: Tensor, answers: dict[str, np.ndarray]
    ) -> Outcome:
        """What a model's trial says, where `row` are the weights that were judged."""
        curve, cost = tuple(member.curve), member.cost(state.progress.samples, state.progress.step)
        if any(not np.isfinite(own).all() for own in answers.values()):
            return Outcome({}, curve, cost, "answers are not finite", {}, None)
        return Outcome(answers, curve, cost, "", view(row.clone(), self.places), state)
