"""The learning rate of `lr: auto`: what it is, and how the next gradient changes it."""

# torch's operations on lists have no public names
# pyright: reportPrivateImportUsage=false

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from zafu.errors import Damaged
from zafu.optim.rate import Auto

Sum = Callable[[Tensor], Tensor]
_MOST = 2**20  # numbers whose steps are computed at once


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
    sums = torch.zeros(3, dtype=torch.float64, device=next(iter(shares)).device)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            moved = [p for p in group["params"] if p in shares and p.grad is not None]
            known = [p for p in moved if optimizer.state.get(p)]
            for some in _portions(known):
                found = _sums(some, [optimizer.state[p] for p in some], group)  # (3, weights)
                sums += found @ found.new_tensor([shares[p] for p in some])
    dot, gradients, steps = (add(sums) if add else sums).tolist()
    return dot / math.sqrt(gradients * steps) if gradients * steps > 0 else 0.0


def _sums(weights: list[Tensor], states: list[dict[str, Any]], group: dict[str, Any]) -> Tensor:
    """Of each weight: gradient times step, and the squares of both; `(3, weights)`, in double."""
    beta1, beta2 = group["betas"]
    counts = torch.stack([state["step"] for state in states]).tolist()
    steps = torch._foreach_sqrt([state["exp_avg_sq"] for state in states])
    torch._foreach_div_(steps, [math.sqrt(1 - beta2**count) for count in counts])
    torch._foreach_add_(steps, group["eps"])
    torch._foreach_reciprocal_(steps)
    torch._foreach_mul_(steps, [state["exp_avg"] for state in states])
    torch._foreach_mul_(steps, [group["lr_scale"] / (1 - beta1**count) for count in counts])
    gradients = [w.grad.reshape(-1) for w in weights if w.grad is not None]
    dots = [g.dot(step.view(-1)) for g, step in zip(gradients, steps, strict=True)]
    norms = [*torch._foreach_norm(gradients), *torch._foreach_norm(steps)]
    found = torch.stack([*dots, *norms]).double().view(3, -1)
    found[1:].square_()
    return found


def _portions(weights: list[Tensor]) -> Iterator[list[Tensor]]:
    """In the order given, as many at once as do not take much memory: at least one."""
    portion, size = list[Tensor](), 0
    for weight in weights:
        if portion and size + weight.numel() > _MOST:
            yield portion
            portion, size = [], 0
        portion.append(weight)
        size += weight.numel()
    if portion:
        yield portion
