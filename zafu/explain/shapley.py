"""Shapley values: what a column adds, averaged over the orders in which columns come.

Shapley, 1953; drawn by permutations: Castro et al., 2009; Strumbelj & Kononenko, 2014. What is not
there yet is as in another sample of the training split, so the values add up, to the bit of the
arithmetic, to the answer less what is usual. Each order is drawn with its reverse. Columns that
depend on each other are taken apart, which asks the model about rows that may not exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from zafu.explain.contract import COLUMNS, Attribution, Values

if TYPE_CHECKING:
    from torch import Tensor

    from zafu.explain.runtime.subject import Subject


@final
class Shapley(Attribution):
    """Means over random orders, with their intervals."""

    kind: Literal["shapley"] = "shapley"
    takes: ClassVar[frozenset[str]] = COLUMNS
    beware: ClassVar[str] = (
        "Columns that depend on each other are mixed into rows that may not exist."
    )
    adds_up: ClassVar[bool] = True
    orders: int = Field(default=64, ge=2)
    """Pairs of an order and its reverse, >= 2; a pair asks the model twice for each column."""

    def of(self, subject: Subject) -> Values:
        """`(columns,)`."""
        import torch

        random = torch.Generator().manual_seed(0)
        many = subject.features.many
        orders = [torch.randperm(many, generator=random) for _ in range(self.orders)]
        gains, both = _along(subject, [way for order in orders for way in (order, order.flip(0))])
        pairs = gains.view(self.orders, 2, many).mean(1)
        values, promised = pairs.mean(0), both.mean().item()
        spread = 1.96 * pairs.std(0) / self.orders**0.5
        missing = abs(values.sum().item() - promised) / max(abs(promised), 1e-12)
        return Values(values, spread, missing, f"{self.orders} pairs of orders")


def _along(subject: Subject, orders: list[Tensor]) -> tuple[Tensor, Tensor]:
    """What each adds as they come in these orders, `(orders, many)`, and all together, `(orders,)`.

    What has not come is of another sample, the same one for an order and its reverse.
    """
    import torch

    many, device = subject.features.many, subject.inputs[0].device
    ranks = torch.stack([order.argsort() for order in orders])  # (orders, many)
    kept = ranks[:, None] < torch.arange(many + 1)[:, None]  # (orders, many + 1, many)
    known = max(len(subject.background[0]), 1)
    whose = (torch.arange(len(orders)) // 2 % known).repeat_interleave(many + 1).to(device)
    others = subject.background if len(subject.background[0]) else subject.baseline
    rows = tuple(x[whose] for x in others)
    said = subject.without(kept.flatten(0, 1).to(device), rows)
    score = subject.score(said).cpu().view(len(orders), many + 1)
    return score.diff(dim=1).gather(1, ranks), score[:, -1] - score[:, 0]
