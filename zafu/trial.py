"""Trial: one training in memory, of which only what it says is kept.

What `training` does around the loop for a run in a folder, without the folder: the same steps, the
same evaluations, the same early stopping, the same weights to the bit. Comparisons, searches and
folds are made of trials; `engine` says who computes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from zafu import loop, reading, tensors
from zafu.artifact import read_json
from zafu.build import build, device_of
from zafu.data.contract import Split
from zafu.errors import Interrupted, NonFinite
from zafu.judge import answers
from zafu.loading.inline import Inline
from zafu.loop import Objective, Progress, Step
from zafu.optim.runtime.update import Update
from zafu.recipe import Recipe
from zafu.signature import Signature
from zafu.task import Task
from zafu.teaching import objective as objective_of

T = TypeVar("T")


class State(NamedTuple):
    """Where a trial stopped: enough to go on from, with these settings or others."""

    progress: Progress
    model: dict[str, Tensor]
    update: dict[str, Tensor]
    plain: dict[str, object]  # what else there is of the update


class Trial(NamedTuple):
    """What to train, on which prepared data, how far, and what to say of it."""

    recipe: Recipe  # its seed is that of weights, order and dropout
    data: Path
    judged: tuple[str, ...] = ("validation",)  # splits whose answers are wanted at the end
    until: float = 1.0  # share of the budget after which it stops, 0 < u <= 1
    begin: State | None = None  # where it goes on from
    points: int = 0  # evaluations over the whole budget, evenly spaced, for a curve


class Point(NamedTuple):
    """An evaluation on the validation split while training."""

    samples: int
    updates: int
    seconds: float  # of training, without evaluations
    value: float  # of the recipe's metric


@dataclass(frozen=True)
class Cost:
    """What was spent."""

    samples: int = 0
    updates: int = 0
    seconds: float = 0.0  # of training, without evaluations

    def __add__(self, other: Cost) -> Cost:
        """Both together."""
        return Cost(
            self.samples + other.samples,
            self.updates + other.updates,
            self.seconds + other.seconds,
        )


class Made(NamedTuple):
    """A trial's model where it stands."""

    objective: Objective
    update: Update
    progress: Progress


@dataclass(frozen=True)
class Outcome:
    """What a trial says."""

    answers: dict[str, np.ndarray]  # by split, `(samples, k)` as the task judges them
    curve: tuple[Point, ...]
    cost: Cost  # of this trial alone, not of what it goes on from
    diverged: str  # why there are no answers, or ""
    weights: dict[str, Tensor] = field(repr=False)  # those that were judged and would be shipped
    state: State | None = field(repr=False)

    def score(self, trial: Trial, split: str = "validation", metric: str | None = None) -> float:
        """A metric (default: the recipe's) on a judged split; nan where the trial diverged."""
        recipe, found = trial.recipe, self.answers.get(split)
        if found is None:
            return float("nan")
        units = recipe.data.open(trial.data, split).units(np.arange(len(found)))
        return recipe.task.score(metric or recipe.metric, found, units=units)


@dataclass
class Best:
    """The best evaluation so far, and whether patience is at its end."""

    value: float | None = None
    weights: Mapping[str, Tensor] | None = None
    stale: int = 0

    def hears(self, recipe: Recipe, value: float, weights: Callable[[], dict[str, Tensor]]) -> bool:
        """In place: take note of an evaluation; whether training is to stop."""
        patience = recipe.fit.early_stopping
        if patience is None:
            return False
        sign = 1 if recipe.higher_is_better else -1
        if self.value is None or sign * (value - self.value) > patience.min_delta:
            self.value, self.weights, self.stale = value, weights(), 0
        else:
            self.stale += 1
        return self.stale >= patience.patience


def outcome(trial: Trial, stopped: Callable[[], str] = lambda: "") -> Outcome:
    """Train, and judge; raises Interrupted as soon as `stopped` names a signal."""
    return trained(trial, ready(trial), stopped)


def ready(trial: Trial) -> Made:
    """A trial's model where it begins, what updates it, and how far that is."""
    recipe, data = trial.recipe, trial.data
    signature = Signature.parse(read_json(data / "signature.json"))
    task = objective_of(recipe, data, device_of(recipe.fit))
    model, update, spread = build(recipe, signature)
    split = recipe.data.open(data, "train")
    device = next(model.parameters()).device
    read = reading.training(recipe, data / "recipe.yaml", data, device=device)
    objective = Objective(model, task, split, recipe.fit, recipe.seed, read, spread)
    return Made(objective, update, begun(trial, objective, update))


def trained(trial: Trial, made: Made, stopped: Callable[[], str]) -> Outcome:
    """Carry a model as far as a trial says, and judge it."""
    objective, update, progress = made
    recipe, model = trial.recipe, objective.model
    start, best, curve = replace(progress), Best(), list[Point]()
    validation = recipe.data.open(trial.data, "validation")
    size, total = budget(objective)
    due = wanted(trial, size=size, total=total) if len(validation) else frozenset[int]()
    diverged = ""
    with closing(loop.fit(objective, update, progress)) as fitting:
        try:
            for _ in up_to(fitting, progress, last_sample(trial.until, size=size, total=total)):
                if reason := stopped():
                    raise Interrupted(f"{reason}: a trial was left at step {progress.step}")
                if progress.samples not in due:
                    continue
                with update.evaluating():
                    value = _value(trial, objective, validation)
                    curve.append(Point(progress.samples, progress.step, progress.seconds, value))
                    stop = best.hears(recipe, value, lambda: _copied(model))
                if stop:
                    break
        except NonFinite as error:
            diverged = str(error)
    cost = spent(start, progress)
    if diverged:
        return Outcome({}, tuple(curve), cost, diverged, {}, None)
    state = State(replace(progress), _copied(model), _cloned(update.tensors()), update.plain())
    with update.evaluating():
        if best.weights is not None:
            tensors.into_module(model, best.weights, trial.data)
        found = {name: judged(trial, objective, name) for name in trial.judged}
        weights = _copied(model)
    if any(not np.isfinite(there).all() for there in found.values()):
        return Outcome({}, tuple(curve), cost, "answers are not finite", {}, None)
    return Outcome(found, tuple(curve), cost, "", weights, state)


def begun(trial: Trial, objective: Objective, update: Update) -> Progress:
    """In place: put model and update where the trial goes on from; how far that is."""
    if trial.begin is None:
        return loop.begin(trial.recipe.fit)
    tensors.into_module(objective.model, trial.begin.model, trial.data)
    update.load(trial.begin.update, trial.begin.plain)
    return replace(trial.begin.progress)


def up_to(steps: Iterator[Step], progress: Progress, end: int) -> Iterator[Step]:
    """The steps until so many samples are seen."""
    while progress.samples < end:
        yield next(steps)


def budget(objective: Objective) -> tuple[int, int]:
    """Samples of a step and in all; raises ValueError for a budget in seconds."""
    size, total = loop.budget(objective.split, objective.spec)
    if total is None:
        raise ValueError("expected a budget in samples, epochs, steps or tokens, found seconds")
    return size, total


def last_sample(until: float, *, size: int, total: int) -> int:
    """Samples after which a share of a budget is spent, in whole steps of `size`."""
    whole = int(until * total // size) * size
    return min(whole if whole >= until * total else whole + size, total)


def length(trial: Trial) -> int:
    """The steps of a trial."""
    fit, split = trial.recipe.fit, trial.recipe.data.open(trial.data, "train")
    size, total = loop.budget(split, fit)
    if total is None:
        raise ValueError("expected a budget in samples, epochs, steps or tokens, found seconds")
    done = trial.begin.progress.samples if trial.begin else 0
    return max(0, -(-(last_sample(trial.until, size=size, total=total) - done) // size))


def wanted(trial: Trial, *, size: int, total: int) -> frozenset[int]:
    """After how many samples the validation split is judged."""
    fit, points = trial.recipe.fit, trial.points
    if not points and not fit.early_stopping:
        return frozenset()
    ends = [min(start + size, total) for start in range(0, total, size)]
    if fit.early_stopping:
        steps = enumerate(zip([0, *ends], ends, strict=False), 1)
        return frozenset(b for n, (a, b) in steps if loop.due(fit, n, a / total, b / total))
    spent = zip([0, *ends], ends, strict=False)
    return frozenset(b for a, b in spent if points * b // total > points * a // total)


def judged(trial: Trial, objective: Objective, name: str, most: int | None = None) -> np.ndarray:
    """The answers of the model as it is to a split, `(samples, k)`."""
    split = trial.recipe.data.open(trial.data, name)
    batch, task = trial.recipe.evaluate.batch, trial.recipe.task
    found = answers(objective.model, task, split, batch=batch, most=most, loader=Inline())
    return np.concatenate(list(found))


def _value(trial: Trial, objective: Objective, validation: Split) -> float:
    """The metric on what of the validation split is judged during training."""
    recipe, task = trial.recipe, trial.recipe.task
    most = recipe.evaluate.during if recipe.fit.early_stopping else None
    found = judged(trial, objective, "validation", most)
    return scored(task, recipe.metric, validation, found)


def scored(task: Task, metric: str, split: Split, found: np.ndarray) -> float:
    """A metric of answers to the first samples of a split; nan if one is not finite."""
    if not np.isfinite(found).all():
        return float("nan")
    return task.score(metric, found, units=split.units(np.arange(len(found))))


def spent(start: Progress, end: Progress) -> Cost:
    """What lies between two moments of a training."""
    return Cost(end.samples - start.samples, end.step - start.step, end.seconds - start.seconds)


def _copied(model: torch.nn.Module) -> dict[str, Tensor]:
    return _cloned(tensors.of_module(model))


def _cloned(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in found.items()}
