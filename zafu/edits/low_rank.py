"""Two thin matrices in place of one: what factorization leaves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, final

from zafu.edits.contract import Edit, positive
from zafu.errors import Fault

if TYPE_CHECKING:
    from torch import nn


@final
class LowRank(Edit):
    """Linear layers as two, convolutions as three or four."""

    kind: Literal["low-rank"] = "low-rank"
    ranks: dict[str, tuple[int, ...]]
    """By layer: the rank of a linear one; of a convolution, channels that its core reads and
    writes, or the one rank of a sum of products (CP)."""

    def check(self) -> Iterable[Fault]:
        """Ranks are positive, one or two a layer."""
        for name, ranks in self.ranks.items():
            yield from positive(f"ranks.{name}", ranks)
            if not 1 <= len(ranks) <= 2:
                yield Fault(f"ranks.{name}", "one rank or two", str(len(ranks)))

    def apply(self, root: nn.Module) -> None:
        """Put factored layers of these ranks in place of the whole ones."""
        from zafu.nets.factored import blank
        from zafu.nets.surgery import put

        for name, ranks in self.ranks.items():
            put(root, name, blank(root.get_submodule(name), ranks))
