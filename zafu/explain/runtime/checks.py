"""Checks: whether values say something of the model and of what its answer rests on.

Weights at random must destroy a map (Adebayo et al., 2018, arXiv:1810.03292): one that looks alike
for a model that knows nothing shows the sample, not the model. What is ranked first must matter
more than what is drawn first: taken away (Samek et al., 2015, arXiv:1509.06321) and put in (Petsiuk
et al., 2018, arXiv:1806.07421), beside random orders. A check that is failed is shown as failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from zafu.explain.contract import Attribution, Values
from zafu.explain.runtime.subject import Subject
from zafu.measure import Measurement, bootstrap

STEPS = 16  # of a curve along which parts are taken away or put in
ORDERS = 10  # random ones beside which the values' own stands
MODELS = 2  # with weights at random, for each sample
ALIKE = 0.5  # rank correlation that a map of a random model must stay below, for sure
FEWEST = 4  # parts of a sample that can be ranked


class Checked(NamedTuple):
    """What the checks of a method found."""

    random: Measurement | None  # rank correlation with maps of models that know nothing
    deletion: Measurement | None  # how much more an answer loses than by random orders
    insertion: Measurement | None  # how much more it gains
    missing: float | None  # the most that values lack of their promise

    def failures(self, within: float) -> list[str]:
        """What was not shown, in words."""
        found: list[str] = []
        if self.random is not None and max(map(abs, _ends(self.random))) > ALIKE:
            found.append("it is not shown to differ from maps of random weights")
        if self.missing is not None and not self.missing <= within:
            found.append(f"it lacks {self.missing:.1%} of what it should add up to")
        tests = {"taken away": self.deletion, "put in": self.insertion}
        for name, one in tests.items():
            if one is not None and not _ends(one)[0] > 0:
                found.append(f"what it ranks first does not matter more than chance when {name}")
        return found

    @property
    def tried(self) -> bool:
        """Whether there were samples enough to say something of a map."""
        return self.deletion is not None

    def plain(self, within: float) -> dict[str, Any]:
        """As plain data."""
        known = {"random": self.random, "deletion": self.deletion, "insertion": self.insertion}
        said: dict[str, Any] = {name: m.dump() for name, m in known.items() if m is not None}
        if self.missing is not None:
            said["missing"] = self.missing
        return {**said, "tried": self.tried, "failures": self.failures(within)}


def checked(method: Attribution, subjects: Sequence[Subject], found: Sequence[Values]) -> Checked:
    """A method tried on samples whose values were found."""
    fit = [(s, v) for s, v in zip(subjects, found, strict=True) if s.features.many >= FEWEST]
    missing = [v.missing for v in found if v.missing is not None]
    gained = [gains(s, v, signed=method.signed) for s, v in fit]
    return Checked(
        _interval(randomized(method, fit), "rank correlation"),
        _interval([removed for removed, _ in gained]),
        _interval([put for _, put in gained]),
        max(missing) if missing else None,
    )


def randomized(method: Attribution, fit: Sequence[tuple[Subject, Values]]) -> list[float]:
    """For each sample the rank correlation with its values by models of random weights.

    Each sample has models of its own, so that chance in both is in the interval.
    """
    found: list[float] = []
    for at, (subject, values) in enumerate(fit):
        if subject.module is None:
            return []
        seeds = range(at * MODELS, (at + 1) * MODELS)
        others = (method.of(subject.by(shuffled(subject.network, seed))) for seed in seeds)
        found.append(float(np.mean([_alike(subject, values, other) for other in others])))
    return found


def shuffled(module: nn.Module, seed: int) -> nn.Module:
    """A copy whose weights stand in random order, tensor by tensor; what is rounded too."""
    other = deepcopy(module)
    random = torch.Generator().manual_seed(seed)
    rounded = [b for n, b in other.named_buffers() if n.endswith(("weight", "levels"))]
    with torch.no_grad():
        for tensor in [*other.parameters(), *rounded]:
            order = torch.randperm(tensor.numel(), generator=random).to(tensor.device)
            tensor.copy_(tensor.flatten()[order].view_as(tensor))
    return other


def gains(subject: Subject, found: Values, *, signed: bool) -> tuple[float, float]:
    """How much more the answer changes by the values' order than by random ones, in the mean
    along the way: as parts are taken away, and as they are put in.

    In probability for classes; for numbers, where both signs matter, in distance by size.
    """
    rank = subject.features.parts(found.values.cpu().float())
    rank = rank if subject.classes or not signed else rank.abs()
    many, random = len(rank), torch.Generator().manual_seed(0)
    orders = [rank.argsort(descending=True)]
    orders += [torch.randperm(many, generator=random) for _ in range(ORDERS)]
    counts = np.unique(np.linspace(0, many, min(STEPS, many) + 1).round().astype(int))[1:-1]
    kept = torch.stack([_first(order, int(n)) for order in orders for n in counts])
    changes: list[float] = []
    for some, sign in ((~kept, -1), (kept, 1)):
        curve = _along(subject, some).view(len(orders), len(counts)).mean(1) * sign
        changes.append((curve[0] - curve[1:].mean()).item())
    return changes[0], changes[1]


def _along(subject: Subject, kept: Tensor) -> Tensor:
    """The probability, or minus the distance to the number that was predicted."""
    own = subject.chance(subject.asked(*subject.inputs)).cpu()
    said = subject.chance(subject.without(kept.to(subject.inputs[0].device))).cpu()
    return said if subject.classes else -(said - own).abs()


def _first(order: Tensor, count: int) -> Tensor:
    found = torch.zeros(len(order), dtype=torch.bool)
    found[order[:count]] = True
    return found


def _alike(subject: Subject, a: Values, b: Values) -> float:
    """Spearman's correlation of values of the parts; 0 where one of them has no order."""
    first, second = (_ranks(subject.features.parts(v.values.cpu().float())) for v in (a, b))
    spread = first.std() * second.std()
    return (
        float(((first - first.mean()) * (second - second.mean())).mean() / spread)
        if spread
        else 0.0
    )


def _ranks(values: Tensor) -> np.ndarray:
    """Ranks, equal values sharing theirs."""
    _, place, counts = np.unique(values.numpy(), return_inverse=True, return_counts=True)
    ends = counts.cumsum()
    return (ends - (counts - 1) / 2)[place].astype(np.float64)


def _interval(values: Sequence[float], unit: str = "") -> Measurement | None:
    if len(values) < 2:  # one has no interval, and so shows nothing
        return None
    return bootstrap([np.array(values)], lambda x: float(x.mean()), unit=unit)


def _ends(one: Measurement) -> tuple[float, float]:
    low = one.value if one.low is None else one.low
    return low, one.value if one.high is None else one.high
