"""A weight for each training sample, learned by implicit differentiation against other samples.

The weights are the hyperparameters: a model is trained by the weighted loss of its samples, and
each weight is moved so that the model does better on samples that it does not train on. What makes
it do worse, such as a wrong label, is weighed down (Ren et al., 2018, arXiv:1803.09050, by one
step; here by a Neumann series on the Gauss-Newton matrix, Lorraine et al., 2020, arXiv:1911.02590).
The gradient of all weights is one pass over the samples: that of sample i is
-s'(h_i) * (the derivative of its loss along x), where H x = dV/dw and s(h_i) is its weight.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad
from torch.nn.functional import cross_entropy

from zafu.errors import Interrupted
from zafu.hypergradient.implicit import gauss_newton, largest, neumann, pushed

_AT_ONCE = 1024  # samples in one pass


class Samples(NamedTuple):
    """Inputs in the order in which a model takes them, and classes `(n,)`."""

    inputs: tuple[Tensor, ...]
    targets: Tensor

    def at(self, rows: Tensor) -> Samples:
        """These of them, by position."""
        return Samples(tuple(x[rows] for x in self.inputs), self.targets[rows])


class Weighing(NamedTuple):
    """How weights are learned."""

    rounds: int = 6  # moves of the weights
    steps: int = 40  # steps of Adam on the model's weights before each of them
    batch: int = 512  # samples in such a step
    judges: int = 2048  # samples, at most, of the outer loss and of the curvature, drawn anew
    terms: int = 10  # of the Neumann series
    lr: float = 0.01  # of the model's weights
    decay: float = 1e-2  # L2 penalty on them
    pace: float = 1.0  # of the weights of samples, before the logistic function


class Weighed(NamedTuple):
    """What came of it."""

    weights: Tensor  # (n,), 0 to 1; they begin at 1/2
    say: Callable[[tuple[Tensor, ...]], Tensor]  # logits of the model that was trained by them


def weigh(
    model: nn.Module,
    samples: Samples,
    judges: Samples,
    *,
    how: Weighing,
    seed: int,
    stopped: Callable[[], str] = lambda: "",
) -> Weighed:
    """The weights of samples by which a copy of the model does best on the judges.

    Takes a model without chance (in evaluation mode) whose answers are logits of classes. Raises
    Interrupted as soon as `stopped` names a signal.
    """
    work = _Work(model, samples, how, torch.Generator().manual_seed(seed))
    hyper = torch.zeros(len(samples.targets), device=samples.targets.device)
    moments, own = Adam(hyper), Adam(work.weights)
    for _ in range(how.rounds):
        for _ in range(how.steps):
            if reason := stopped():
                raise Interrupted(f"{reason}: the weights of samples are not learned yet")
            work.weights = work.weights - how.lr * own.step(work.slope(hyper))
        hyper = hyper - how.pace * moments.step(work.hypergradient(hyper, judges))
    last = work.weights
    return Weighed(hyper.sigmoid(), lambda inputs: work.logits(last, inputs).detach())


class Adam:
    """The direction of Adam's step for one tensor."""

    def __init__(self, like: Tensor) -> None:
        self._mean, self._square, self._count = torch.zeros_like(like), torch.zeros_like(like), 0

    def step(self, gradient: Tensor) -> Tensor:
        """In place: take a gradient in; the direction to go against."""
        self._count += 1
        self._mean = 0.9 * self._mean + 0.1 * gradient
        self._square = 0.999 * self._square + 0.001 * gradient.square()
        mean = self._mean / (1 - 0.9**self._count)
        return mean / ((self._square / (1 - 0.999**self._count)).sqrt() + 1e-12)


class _Work:
    """The inner problem, with the weights of the model as one vector."""

    def __init__(
        self, model: nn.Module, samples: Samples, how: Weighing, chance: torch.Generator
    ) -> None:
        parameters = dict(model.named_parameters())
        self.weights = torch.cat([p.detach().flatten() for p in parameters.values()])
        self._shapes = {name: p.shape for name, p in parameters.items()}
        self._model, self._samples, self._how, self._chance = model, samples, how, chance

    def logits(self, weights: Tensor, inputs: tuple[Tensor, ...]) -> Tensor:
        """Of the model with these weights."""
        sizes = [shape.numel() for shape in self._shapes.values()]
        parts = zip(self._shapes.items(), weights.split(sizes), strict=True)
        return functional_call(self._model, {n: w.view(s) for (n, s), w in parts}, inputs)

    def slope(self, hyper: Tensor) -> Tensor:
        """The gradient of the inner loss on a random batch."""
        rows = self._some(len(hyper), self._how.batch)
        return grad(self._inner)(self.weights, hyper[rows], self._samples.at(rows))

    def hypergradient(self, hyper: Tensor, judges: Samples) -> Tensor:
        """Of the judges' loss with respect to what the weights of samples are made of, `(n,)`."""
        how, at = self._how, self.weights
        some = judges.at(self._some(len(judges.targets), how.judges))
        rows = self._some(len(hyper), how.judges)
        own, scale = self._samples.at(rows), 2 * hyper[rows].sigmoid()
        curvature = gauss_newton(
            lambda w: self.logits(w, own.inputs),
            lambda said: (scale * cross_entropy(said, own.targets, reduction="none")).mean(),
            at,
            lambda v: how.decay * v,
        )
        v = grad(lambda w: cross_entropy(self.logits(w, some.inputs), some.targets))(at)
        # 1.3: a power iteration comes from below
        x = neumann(curvature, v, steps=how.terms, scale=1 / (1.3 * largest(curvature, v)))
        share = hyper.sigmoid()
        return -2 * share * (1 - share) * self._along(x) / len(hyper)

    def _inner(self, weights: Tensor, hyper: Tensor, samples: Samples) -> Tensor:
        losses = cross_entropy(
            self.logits(weights, samples.inputs), samples.targets, reduction="none"
        )
        return 2 * (hyper.sigmoid() * losses).mean() + self._how.decay / 2 * weights.square().sum()

    def _along(self, x: Tensor) -> Tensor:
        """The derivative of each sample's loss along a change of the weights, `(n,)`."""
        found: list[Tensor] = []
        for rows in torch.arange(len(self._samples.targets)).split(_AT_ONCE):
            part = self._samples.at(rows)

            def losses(w: Tensor, part: Samples = part) -> Tensor:
                return cross_entropy(self.logits(w, part.inputs), part.targets, reduction="none")

            found.append(pushed(losses, self.weights)[1](x).detach())
        return torch.cat(found)

    def _some(self, count: int, most: int) -> Tensor:
        return torch.randperm(count, generator=self._chance)[:most]
