"""Shapley values: what a column, patch or token adds, averaged over the orders in which they come.

Shapley, 1953; drawn by permutations: Castro et al., 2009; Strumbelj & Kononenko, 2014. What is not
there yet is as in another sample of the training split, so the values add up, to the bit of the
arithmetic, to the answer less what is usual. Each order is drawn with its reverse. Columns that
depend on each other are taken apart, which asks the model about rows that may not exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from zafu.explain.contract import ANY, Attribution, Values

if TYPE_CHECKING:
    from torch import Tensor

    from zafu.explain.runtime.subject import Inputs, Subject


@final
class Shapley(Attribution):
    """Means over random orders, with their intervals."""

    kind: Literal["shapley"] = "shapley"
    takes: ClassVar[frozenset[str]] = ANY
    adds_up: ClassVar[bool] = True
    orders: int = Field(default=64, ge=2)
    """Pairs of an order and its reverse, >= 2; a pair asks the model twice for each column."""

    def of(self, subject: Subject) -> Values:
        """In the shape of the features."""
        import torch

        from zafu.explain.runtime.features import Pixels

        random = torch.Generator().manual_seed(0)
        pairs: list[Tensor] = []
        promised: list[Tensor] = []
        for index in range(self.orders):
            order = torch.randperm(subject.features.many, generator=random)
            others = _others(subject, index)
            both = [_along(subject, some, others) for some in (order, order.flip(0))]
            pairs.append(torch.stack([gains for gains, _ in both]).mean(0))
            promised.append(both[0][1])
        drawn = torch.stack(pairs)
        values = drawn.mean(0)
        spread = 1.96 * drawn.std(0) / self.orders**0.5
        total = torch.stack(promised).mean().item()
        missing = abs(values.sum().item() - total) / max(abs(total), 1e-12)
        how = f"{self.orders} pairs of orders"
        if isinstance(subject.features, Pixels):
            values = subject.features.spread(values)[0] / subject.features.side**2
            return Values(values, missing=missing, how=how)
        return Values(values, spread, missing, how)


def _others(subject: Subject, index: int) -> Inputs:
    """Another sample, `(1, ...)`: one of the background, or nothing."""
    many = len(subject.background[0])
    if not many:
        return subject.baseline
    return tuple(x[index % many : index % many + 1] for x in subject.background)


def _along(subject: Subject, order: Tensor, others: Inputs) -> tuple[Tensor, Tensor]:
    """What each adds as they come in this order, `(many,)`, and what all add together."""
    import torch

    many = len(order)
    rank = order.argsort()
    kept = rank[None, :] < torch.arange(many + 1)[:, None]  # (many + 1, many)
    score = subject.score(subject.without(kept.to(subject.inputs[0].device), others)).cpu()
    return score.diff()[rank], score[-1] - score[0]
