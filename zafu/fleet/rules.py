"""Rules: the steps of optimizers on the weights of many models, `(models, numbers)`.

Each model has its own learning rate and weight decay. The first `large` numbers of a row are those
of parameters with two or more dims: they alone decay and are penalized. The sources of the rules
stand with the optimizers in `zafu.optim`; what is computed is what torch computes for one model.
"""

# torch's fused operations have no public names
# pyright: reportPrivateImportUsage=false, reportAttributeAccessIssue=false

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from zafu.optim.adam import Adam
from zafu.optim.adamw import AdamW
from zafu.optim.contract import Optimizer
from zafu.optim.rmsprop import RMSprop
from zafu.optim.sgd import SGD


class Rule(ABC):
    """Moves weights by gradients, in place; `state` is `(models, numbers)` by torch's names."""

    counts: bool = True  # whether torch counts the steps of each parameter

    def __init__(self, names: tuple[str, ...], decays: list[float], weights: Tensor) -> None:
        self.names, self.decays, self.weights = names, decays, weights
        self.state: dict[str, Tensor] = {}
        self.steps = 0

    @abstractmethod
    def step(self, gradients: Tensor, rates: Sequence[float]) -> None:
        """One step, in which each model has its learning rate; gradients may be overwritten."""

    def begin(self, state: dict[str, Tensor], steps: int) -> None:
        """Take over a state after so many steps."""
        self.state, self.steps = state, steps

    def keep(self, rows: Tensor, weights: Tensor) -> None:
        """Go on with these models alone; `weights` are theirs."""
        self.weights = weights
        self.decays = [self.decays[row] for row in rows.tolist()]
        self.begin({name: there[rows] for name, there in self.state.items()}, self.steps)

    def zeros(self) -> dict[str, Tensor]:
        """A state of zeros."""
        return {name: torch.zeros_like(self.weights) for name in self.names}

    def column(self, values: Sequence[float]) -> Tensor:
        """One number a model, `(models, 1)`."""
        return self.weights.new_tensor(values).unsqueeze(1)

    def add_decay(self, gradients: Tensor, large: int) -> None:
        """In place: weight decay as a part of the gradient."""
        if any(self.decays):
            gradients[:, :large].addcmul_(self.weights[:, :large], self.column(self.decays))


@final
class Descent(Rule):
    """SGD, plain or with momentum."""

    counts = False

    def __init__(self, spec: SGD, decays: list[float], weights: Tensor, *, large: int) -> None:
        super().__init__(("momentum_buffer",) if spec.momentum else (), decays, weights)
        self._spec, self._large = spec, large

    def step(self, gradients: Tensor, rates: Sequence[float]) -> None:
        """W -= lr * (the gradient, or its momentum)."""
        self.add_decay(gradients, self._large)
        spec = self._spec
        if spec.momentum:
            known = self.state.get("momentum_buffer")
            if known is None:
                known = self.state["momentum_buffer"] = gradients.clone()
            else:
                known.mul_(spec.momentum).add_(gradients, alpha=1 - spec.dampening)
            gradients = gradients.add_(known, alpha=spec.momentum) if spec.nesterov else known
        self.weights.addcmul_(gradients, self.column(rates), value=-1)
        self.steps += 1


@final
class RootMeanSquare(Rule):
    """RMSprop, with momentum and centred where asked."""

    def __init__(self, spec: RMSprop, decays: list[float], weights: Tensor, *, large: int) -> None:
        momentum = ("momentum_buffer",) if spec.momentum else ()
        centred = ("grad_avg",) if spec.centered else ()
        super().__init__(("square_avg", *momentum, *centred), decays, weights)
        self._spec, self._large = spec, large
        self.begin(self.zeros(), 0)

    def step(self, gradients: Tensor, rates: Sequence[float]) -> None:
        """W -= lr * g / (root of the mean of g squared + eps)."""
        self.add_decay(gradients, self._large)
        spec, squares = self._spec, self.state["square_avg"]
        squares.mul_(spec.alpha).addcmul_(gradients, gradients, value=1 - spec.alpha)
        below = squares.clone()
        if spec.centered:
            mean = self.state["grad_avg"]
            mean.lerp_(gradients, 1 - spec.alpha)
            below.addcmul_(mean, mean, value=-1)
        moved = gradients.div_(below.sqrt_().add_(spec.eps))
        if spec.momentum:
            moved = self.state["momentum_buffer"].mul_(spec.momentum).add_(moved)
        self.weights.addcmul_(moved, self.column(rates), value=-1)
        self.steps += 1


@final
class Moments(Rule):
    """Adam and AdamW, by torch's fused kernels: one walk through memory for each model."""

    def __init__(
        self, spec: Adam | AdamW, decays: list[float], weights: Tensor, *, large: int
    ) -> None:
        super().__init__(("exp_avg", "exp_avg_sq"), decays, weights)
        self._spec, self._large = spec, large
        self._kernel = torch._fused_adamw_ if spec.kind == "adamw" else torch._fused_adam_
        self._count = weights.new_zeros((), dtype=torch.float32)
        self._learned = (weights, self._pieces(weights))  # gradients, and their rows cut
        self.begin(self.zeros(), 0)

    def begin(self, state: dict[str, Tensor], steps: int) -> None:
        """Take over a state; rows are cut here, as cutting them takes longer than a step."""
        super().begin(state, steps)
        kinds = (self.weights, state["exp_avg"], state["exp_avg_sq"])
        self._cut = [self._pieces(kind) for kind in kinds]

    def step(self, gradients: Tensor, rates: Sequence[float]) -> None:
        """Both moments, their bias corrected, and weight decay as the kind has it."""
        self.steps += 1
        self._count.fill_(self.steps)
        if self._learned[0] is not gradients:
            self._learned = (gradients, self._pieces(gradients))
        cut = self._learned[1]
        alike: dict[tuple[float, float], list[int]] = {}
        for row, both in enumerate(zip(rates, self.decays, strict=True)):
            alike.setdefault(both, []).append(row)
        for (lr, decay), rows in alike.items():
            parts = ((0, decay), (1, 0.0)) if decay else ((2, 0.0),)
            for part, own in parts:
                self._move([cut[row][part] for row in rows], rows, part, lr=lr, decay=own)

    def _move(
        self, gradients: list[Tensor], rows: list[int], part: int, *, lr: float, decay: float
    ) -> None:
        weights, first, second = ([kind[row][part] for row in rows] for kind in self._cut)
        self._kernel(
            weights,
            gradients,
            first,
            second,
            [],
            [self._count] * len(rows),
            lr=lr,
            beta1=self._spec.betas[0],
            beta2=self._spec.betas[1],
            weight_decay=decay,
            eps=self._spec.eps,
            amsgrad=False,
            maximize=False,
        )

    def _pieces(self, rows: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Of each row what decays, what does not, and all of it."""
        return [(row[: self._large], row[self._large :], row) for row in rows.unbind(0)]


def rule(specs: Sequence[Optimizer], weights: Tensor, *, large: int) -> Rule:
    """What moves these models, whose optimizers differ in learning rate and weight decay alone."""
    first, decays = specs[0], [spec.weight_decay for spec in specs]
    if isinstance(first, SGD):
        return Descent(first, decays, weights, large=large)
    if isinstance(first, RMSprop):
        return RootMeanSquare(first, decays, weights, large=large)
    if isinstance(first, (Adam, AdamW)):
        return Moments(first, decays, weights, large=large)
    raise ValueError(f"expected one of sgd, rmsprop, adam, adamw, found {first.kind}")
