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

    def __init__(self, specs: Sequence[Optimizer], weights: Tensor, *, large: int) -> None:
        self.weights, self.large, self.steps = weights, large, 0
        self.decays = [spec.weight_decay for spec in specs]
        self.state: dict[str, Tensor] = {}
        self.names: tuple[str, ...] = ()  # of the state, once there is one

    def begin(self) -> None:
        """Take note of a state that was put in place."""

    @abstractmethod
    def step(self, gradients: Tensor, rates: Sequence[float]) -> None:
        """One step, in which each model has its learning rate; gradients may be overwritten."""

    def keep(self, rows: Tensor, weights: Tensor) -> None:
        """Go on with these models alone; `weights` are theirs."""
        self.weights = weights
        self.state = {name: there[rows] for name, there in self.state.items()}
        self.decays = [self.decays[row] for row in rows.tolist()]

    def column(self, values: Sequence[float]) -> Tensor:
        """One number a model, `(models, 1)`."""
        return self.weights.new_tensor(values).unsqueeze(1)

    def add_decay(self, gradients: Tensor) -> None:
        """In place: weight decay as a part of the gradient."""
        if any(self.decays):
            large = slice(0, self.large)
            gradients[:, large].addcmul_(self.weights[:, large], self.column(self.decays))


@final
class Descent(Rule):
    """SGD, plain or with momentum."""

    counts = False

    def __init__(self, specs: Sequence[Optimizer], weights: Tensor, *, large: int) -> None:
        super().__init__(specs, weights, large=large)
        first = specs[0]
        assert isinstance(first, SGD)
        self._spec = first
        self.names = ("momentum_buffer",) if first.momentum else ()

    def step(self, gradients: Tensor, rates: Sequence[float]) -> None:
        """W -= lr * (the gradient, or its momentum)."""
        self.add_decay(gradients)
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

    def __init__(self, specs: Sequence[Optimizer], weights: Tensor, *, large: int) -> None:
        super().__init__(specs, weights, large=large)
        first = specs[0]
        assert isinstance(first, RMSprop)
        self._spec = first
        momentum = ("momentum_buffer",) if first.momentum else ()
        self.names = ("square_avg", *momentum, *(("grad_avg",) if first.centered else ()))
        self.state = {name: torch.zeros_like(weights) for name in self.names}

    def step(self, gradients: Tensor, rates: Sequence[float]) -> None:
        """W -= lr * g / (root of the mean of g squared + eps)."""
        self.add_decay(gradients)
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

    def __init__(self, specs: Sequence[Optimizer], weights: Tensor, *, large: int) -> None:
        super().__init__(specs, weights, large=large)
        first = specs[0]
        assert isinstance(first, (Adam, AdamW))
        self._spec = first
        self._kernel = torch._fused_adamw_ if first.kind == "adamw" else torch._fused_adam_
        self.names = ("exp_avg", "exp_avg_sq")
        self.state = {name: torch.zeros_like(weights) for name in self.names}
        self.begin()

    def keep(self, rows: Tensor, weights: Tensor) -> None:
        """Go on with these models alone."""
        super().keep(rows, weights)
        self.begin()

    def step(self, gradients: Tensor, rates: Sequence[float]) -> None:
        """Both moments, their bias corrected, and weight decay as the kind has it."""
        self.steps += 1
        self._count.fill_(self.steps)
        cut = self._pieces(gradients)
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
        weights, first, second = ([kind[r][part] for r in rows] for kind in self._own)
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

    def begin(self) -> None:
        """Cut weights and moments into pieces, once: in each step it would take longer than that."""
        kinds = (self.weights, self.state["exp_avg"], self.state["exp_avg_sq"])
        self._own = [self._pieces(kind) for kind in kinds]
        self._count = self.weights.new_zeros((), dtype=torch.float32)

    def _pieces(self, kind: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Of each row what decays, what does not, and all of it."""
        return [(row[: self.large], row[self.large :], row) for row in kind.unbind(0)]


RULES: dict[str, type[Rule]] = {
    "sgd": Descent,
    "rmsprop": RootMeanSquare,
    "adam": Moments,
    "adamw": Moments,
}
