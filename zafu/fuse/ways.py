"""Ways to make one model of several: each gives its Spec, its module, and what was learned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from zafu import tensors
from zafu.data.contract import Split
from zafu.errors import Refused
from zafu.fuse import answers, soup, weights
from zafu.fuse.diversity import rights
from zafu.fuse.members import Member
from zafu.fuse.out_of_fold import OutOfFold
from zafu.judge import answers as judged
from zafu.judge import unless_stopped
from zafu.models.contract import Model
from zafu.models.ensemble import Ensemble
from zafu.recipe import Recipe
from zafu.signals import Stop

Way = Literal["vote", "hard", "weighted", "stack", "soup", "uniform"]
WAYS: dict[Way, str] = {
    "vote": "the mean of probabilities, or of numbers",
    "hard": "each member has one vote, weighted by the log-odds of being right",
    "weighted": "a mean whose weights are learned",
    "stack": "a weight for each member and class (or number), learned",
    "soup": "the mean of weights, of members that do not lower the validation metric",
    "uniform": "the mean of all members' weights",
}
LEARNS = ("hard", "weighted", "stack", "soup")  # what needs samples to learn from
CHOSE = "the validation split, on which members may have been chosen too"


@dataclass(frozen=True)
class Table:
    """What a way works on."""

    members: list[Member]
    validation: Split
    values: list[float]  # of the metric on the validation split; empty where that is
    stop: Stop
    outside: OutOfFold | None = None  # what a stack learns from instead of the validation split

    @property
    def recipe(self) -> Recipe:
        """The first member's: task, metric, batch."""
        return self.members[0].recipe

    @property
    def modules(self) -> list[nn.Module]:
        """The members' modules."""
        return [member.module for member in self.members]

    @property
    def order(self) -> list[int]:
        """Members by their value on the validation split, the best first."""
        sign = -1 if self.recipe.higher_is_better else 1
        return sorted(range(len(self.members)), key=lambda i: sign * (self.values or [0.0] * 99)[i])


@dataclass(frozen=True)
class Joined:
    """One model made of several."""

    model: Model
    module: nn.Module
    weights: list[float]  # of each member; 0: it is not part of it
    notes: list[str] = field(default_factory=list[str])


def join(table: Table, way: Way) -> Joined:
    """The members as one model; raises Refused where they or the task do not allow this way."""
    if way in LEARNS and not table.values and not table.outside:
        raise Refused(
            f"--how {way}: expected a validation split to learn from, found an empty one; "
            "set data.split.validation=0.1 for the members, or take --how vote"
        )
    found = _WAYS[way](table)
    found.module.eval()
    return found


def _vote(table: Table) -> Joined:
    return _ensemble(table, "mean" if table.recipe.task.kind == "regression" else "soft")


def _hard(table: Table) -> Joined:
    if table.recipe.task.kind != "classification":
        kind = table.recipe.task.kind
        raise Refused(f"--how hard: expected classification, found {kind}; take --how vote")
    every = [answered(table, module) for module in table.modules]
    learned = weights.odds(rights(every))
    return _ensemble(table, "hard", learned, _learned("the votes' weights", every[0].shape[0]))


def _weighted(table: Table) -> Joined:
    if table.recipe.task.kind == "regression":
        predicted, true = _said(table, answers.numbers)
        learned = weights.blend(predicted, true)
        return _ensemble(table, "mean", learned, _learned("the weights", len(true)))
    logs, targets = _said(table, answers.of_truth)
    learned = weights.mixture(logs)
    return _ensemble(table, "soft", learned, _learned("the weights", len(targets)))


def _stack(table: Table) -> Joined:
    kind = table.recipe.task.kind
    if kind == "language-modeling":
        raise Refused(f"--how stack: expected classes or numbers, found {kind}; take weighted")
    if table.outside:
        said = table.outside.answers, table.outside.targets
    else:
        said = _said(table, answers.numbers if kind == "regression" else answers.log_probabilities)
    matrix, bias, strength = weights.stacked(*said)
    found = _ensemble(table, "linear" if kind == "regression" else "stack")
    stack = found.module.get_submodule("stack")
    with torch.no_grad():
        stack.get_parameter("weight").copy_(matrix)
        stack.get_parameter("bias").copy_(bias)
    shares = matrix.mean(1).tolist()  # what is shown of them
    what = f"{matrix.numel() + bias.numel()} weights and biases"
    notes = _learned(what, len(said[1]))
    if table.outside:
        text = f"{what} were learned from {len(said[1]):,} out-of-fold answers of each member"
        notes = [text, *table.outside.notes]
    pull = f"weights are drawn to the mean with strength {strength:g}, as five folds found best"
    return Joined(found.model, found.module, shares, [*notes, pull])


def _soup(table: Table) -> Joined:
    soup.refuse_others(table.members)
    states = [tensors.of_module(module) for module in table.modules]
    probe = deepcopy(table.modules[0])
    higher = table.recipe.higher_is_better

    def value(state: soup.State) -> float:
        found = score(table, soup.put(probe, state, table.members[0]))
        return found if higher else -found

    kept = soup.greedy(table.order, states, value)
    count = f"{len(kept)} of {len(states)} members raise or keep {table.recipe.metric} on"
    note = f"{count} {CHOSE}: its value there is optimistic"
    return _averaged(table, sorted(kept), [note])


def _uniform(table: Table) -> Joined:
    soup.refuse_others(table.members)
    return _averaged(table, list(range(len(table.members))), [])


_WAYS: dict[Way, Callable[[Table], Joined]] = {
    "vote": _vote,
    "hard": _hard,
    "weighted": _weighted,
    "stack": _stack,
    "soup": _soup,
    "uniform": _uniform,
}


def score(table: Table, module: nn.Module) -> float:
    """The recipe's metric on the validation split."""
    found, recipe = answered(table, module), table.recipe
    units = table.validation.units(np.arange(len(found)))
    return recipe.task.score(recipe.metric, found, units=units)


def answered(table: Table, module: nn.Module) -> np.ndarray:
    """What a model says of the validation split; raises Interrupted after a signal."""
    recipe = table.recipe
    every = judged(module, recipe.task, table.validation, batch=recipe.evaluate.batch)
    found = unless_stopped(every, table.stop)
    answers.go_on(table.stop)
    return np.concatenate(found or [])


def _averaged(table: Table, kept: Sequence[int], notes: list[str]) -> Joined:
    states = [tensors.of_module(table.modules[i]) for i in kept]
    module = soup.put(deepcopy(table.modules[0]), soup.average(states), table.members[0])
    shares = [1 / len(kept) if i in kept else 0.0 for i in range(len(table.members))]
    return Joined(table.recipe.model, module, shares, notes)


def _ensemble(
    table: Table, how: str, learned: list[float] | None = None, notes: Sequence[str] = ()
) -> Joined:
    members = tuple(member.recipe.model for member in table.members)
    model = Ensemble.parse(
        {
            "members": [member.dump() for member in members],
            "join": how,
            "weights": learned,
        }
    )
    module = model.build(table.members[0].signature)
    for index, member in enumerate(table.members):
        module.members[index] = member.module
    shares = learned or [1 / len(members)] * len(members)
    return Joined(model, module, shares, list(notes))


def _said(table: Table, pick: answers.Pick) -> tuple[Tensor, Tensor]:
    batch = table.recipe.evaluate.batch
    return answers.said(table.modules, table.validation, pick, batch=batch, stop=table.stop)


def _learned(what: str, samples: int) -> list[str]:
    return [f"{what} were learned from {samples:,} answers to {CHOSE}"]
