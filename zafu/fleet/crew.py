"""Crew: many models in one buffer, a row each: what lies where, and what is known of each model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from zafu import loop, tensors
from zafu.fleet.rules import Rule
from zafu.fleet.stack import signature_of
from zafu.fleet.streams import Streams
from zafu.loop import Progress
from zafu.trial import Best, Cost, Point, State, Trial, last_sample, wanted


@dataclass
class Member:
    """One model."""

    number: int  # of its trial
    trial: Trial
    stream: int  # of its samples
    total: int  # samples of its budget
    end: int  # samples after which it stops
    due: frozenset[int]  # samples after which it is judged
    dropout: float
    seconds: float = 0.0  # its share of the training so far
    best: Best = field(default_factory=Best)
    curve: list[Point] = field(default_factory=list[Point])

    def cost(self, samples: int, steps: int) -> Cost:
        """What it took so far, where so many samples and steps are done in all."""
        before = self.trial.begin.progress if self.trial.begin else Progress()
        return Cost(min(samples, self.total) - before.samples, steps - before.step, self.seconds)


@dataclass(frozen=True)
class Place:
    """Where a parameter lies in a row."""

    name: str
    shape: torch.Size
    start: int
    end: int


def places(module: nn.Module) -> tuple[list[Place], int]:
    """Each parameter's place, those of two or more dims first; how many numbers these have."""
    found: list[Place] = []
    start = large = 0
    for name, parameter in sorted(module.named_parameters(), key=lambda item: item[1].ndim < 2):
        found.append(Place(name, parameter.shape, start, start + parameter.numel()))
        start = found[-1].end
        large = start if parameter.ndim >= 2 else large
    return found, large


def view(rows: Tensor, where: Sequence[Place]) -> dict[str, Tensor]:
    """The parameters in rows `(..., numbers)` by name, `(..., *shape)`; they share memory."""
    return {p.name: rows[..., p.start : p.end].view(*rows.shape[:-1], *p.shape) for p in where}


def gathered(named: Mapping[str, Tensor], where: Sequence[Place], prefix: str = "") -> Tensor:
    """Parameters, or what is kept of each, by name as one row `(numbers,)`."""
    return torch.cat([named[prefix + p.name].flatten() for p in where])


def fresh(trial: Trial) -> nn.Module:
    """The trial's model as its seed draws it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.recipe.seed)
        return trial.recipe.model.build(signature_of(trial))


def begun(trials: Sequence[Trial], where: Sequence[Place]) -> Tensor:
    """The weights with which these trials begin, `(models, numbers)`; each seed is drawn once."""
    drawn: dict[int, Tensor] = {}
    rows: list[Tensor] = []
    for trial in trials:
        seed = trial.recipe.seed
        if trial.begin is not None:
            rows.append(gathered(trial.begin.model, where))
            continue
        if seed not in drawn:
            drawn[seed] = gathered(tensors.of_module(fresh(trial)), where)
        rows.append(drawn[seed])
    return torch.stack(rows)


def enlisted(number: int, trial: Trial, streams: Streams) -> Member:
    """A model at the start of its trial."""
    fit, model = trial.recipe.fit, trial.recipe.model.dump()
    total = fit.total_samples(streams.samples(trial), streams.targets(trial))
    if total is None:
        raise ValueError("expected a budget in samples, epochs, steps or tokens, found seconds")
    size, due = streams.size, frozenset[int]()
    if streams.validated(trial):
        due = wanted(trial, size=size, total=total)
    end = last_sample(trial.until, size=size, total=total)
    stream = streams.number(trial)
    return Member(number, trial, stream, total, end, due, dropout=model.get("dropout", 0.0))


def taken_up(rule: Rule, trials: Sequence[Trial], where: Sequence[Place]) -> tuple[int, int]:
    """In place: give a rule the state with which the trials begin; steps and samples before it."""
    begins = [trial.begin for trial in trials if trial.begin is not None]
    if not begins:
        return 0, 0
    first = begins[0].progress
    state = {
        key: torch.stack([gathered(b.update, where, f"optimizer.0.{key}.") for b in begins])
        for key in rule.names
    }
    rule.begin({key: rows.to(rule.weights) for key, rows in state.items()}, first.step)
    return first.step, first.samples


def left(rule: Rule, row: int, where: Sequence[Place], progress: Progress) -> State:
    """Where a model stops, in the same words as `trial.outcome` says it."""
    named = view(rule.weights[row].clone(), where)
    update = {
        f"optimizer.0.{key}.{name}": there
        for key in rule.names
        for name, there in view(rule.state[key][row].clone(), where).items()
    }
    if rule.counts:
        update |= {f"optimizer.0.step.{p.name}": torch.tensor(float(rule.steps)) for p in where}
    unmoved = [] if update else [place.name for place in where]
    return State(progress, named, update, {"unmoved": unmoved, "averaged": 0})


def progress_of(member: Member, samples: int, steps: int) -> Progress:
    """How far a model has come."""
    before = member.trial.begin.progress.seconds if member.trial.begin else 0.0
    found = loop.begin(member.trial.recipe.fit)
    found.step, found.samples = steps, min(samples, member.total)
    found.seconds = before + member.seconds
    return found
