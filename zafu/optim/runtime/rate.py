"""The learning rate of `lr: auto`: what it is, and how the next gradient changes it."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from zafu.errors import Damaged
from zafu.optim.rate import Auto

Sum = Callable[[Tensor], Tensor]
_MOST = 2**16  # numbers of small tensors that are taken together


class Rate:
    """A learning rate, and the largest that it has been."""

    def __init__(self, auto: Auto) -> None:
        self.lr = self.peak = auto.start
        self._auto = auto

    def hears(self, cosine: float) -> None:
        """In place: change by the cosine, -1 to 1, between gradient and last step."""
        self.lr *= math.exp(self._auto.rate * cosine)
        self.peak = max(self.peak, self.lr)
        self.lr = max(self.lr, self._auto.floor * self.peak)

    def plain(self) -> list[float]:
        """Its state as plain data, exact in JSON."""
        return [self.lr, self.peak]

    def load(self, plain: object) -> None:
        """Take on what `plain` gave; raises Damaged for anything else."""
        match plain:
            case [float(lr), float(peak)] if 0 < lr <= peak < math.inf:
                self.lr, self.peak = lr, peak
            case _:
                expected = "a learning rate and its peak"
                raise Damaged(f"state of the update: expected {expected}, found {plain!r:.200}")


def agreement(
    optimizers: Sequence[torch.optim.Optimizer], shares: Mapping[Tensor, float], add: Sum | None
) -> float:
    """The cosine between the gradients that Adam is about to use and its last step; 0 before it.

    `shares` are what each weight counts in a sum over all that hold it, which is `add`: so every
    process finds the same number, whatever it holds.
    """
    found, factors = list[Tensor](), list[float]()  # three of each portion, and their factors
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            beta1, beta2 = group["betas"]
            for portion, count, share in _portions(optimizer, group, shares):
                root = math.sqrt(1 - beta2**count)
                found += _products(optimizer, portion, group["eps"] * root)
                scale = group["lr_scale"] * root / (1 - beta1**count)
                factors += [share * scale, share, share * scale**2]
    sums = torch.zeros(3, dtype=torch.float64, device=next(iter(shares)).device)
    if found:
        sums += (torch.stack(found).double() * sums.new_tensor(factors)).view(-1, 3).sum(0)
    dot, gradients, steps = (add(sums) if add else sums).tolist()
    return dot / math.sqrt(gradients * steps) if gradients * steps > 0 else 0.0


def _portions(
    optimizer: torch.optim.Optimizer, group: dict[str, Any], shares: Mapping[Tensor, float]
) -> Iterator[tuple[list[Tensor], float, float]]:
    """Weights that were moved before and will be again: few numbers, of one count and share."""
    moved = [p for p in group["params"] if p in shares and p.grad is not None]
    known = [p for p in moved if optimizer.state.get(p)]
    if not known:
        return
    counts = torch.stack([optimizer.state[p]["step"] for p in known]).tolist()
    portion, size, last = list[Tensor](), 0, (counts[0], shares[known[0]])
    for weight, count in zip(known, counts, strict=True):
        alike = (count, shares[weight]) == last
        if portion and not (alike and size + weight.numel() <= _MOST):
            yield portion, *last
            portion, size = [], 0
        portion.append(weight)
        size, last = size + weight.numel(), (count, shares[weight])
    yield portion, *last


def _products(
    optimizer: torch.optim.Optimizer, weights: list[Tensor], eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient times step, and the squares of both, where a step is m / (sqrt(v) + eps)."""
    g = _flat([w.grad for w in weights if w.grad is not None])
    step = _flat([optimizer.state[w]["exp_avg_sq"] for w in weights]).sqrt().add_(eps)
    torch.div(_flat([optimizer.state[w]["exp_avg"] for w in weights]), step, out=step)
    return g.dot(step), g.dot(g), step.dot(step)


def _flat(tensors: list[Tensor]) -> Tensor:
    """All numbers in one dimension; of a single tensor no copy."""
    flat = [tensor.reshape(-1) for tensor in tensors]
    return flat[0] if len(flat) == 1 else torch.cat(flat)
