"""Rewinding: what is left of a model gets its early weights again, and is trained as it was.

Frankle & Carbin, 2018 (arXiv:1803.03635): the winning ticket. From a little later than the first
step: Frankle et al., 2019 (arXiv:1903.01611); otherwise than there the training behind it is as
long as the first, with its learning rates from the beginning.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal, final

from pydantic import Field

from zafu.compress.contract import Compression, fixed
from zafu.compress.recovery import Recovery
from zafu.errors import Fault

LEAVES = ("sparsify", "gradual")  # zeros
IN_PLACE = (*LEAVES, "tune", "distil", "rewind")  # each weight stays where it was


@final
class Rewind(Recovery):
    """Train as the run was with which the chain began, with the zeros of the link before."""

    kind: Literal["rewind"] = "rewind"
    positional: ClassVar[tuple[str, ...]] = ("to", "budget")
    to: float = Field(default=0.0, ge=0, lt=1)
    """Share of the first training whose weights are taken, 0 <= t < 1; 0: those it began with. It
    is trained again for so long."""
    budget: str = "all"
    """How long: all, as the first training; or a number and epochs, steps, samples or tokens."""
    lr: float = Field(default=1.0, gt=0)
    """Factor on the learning rate of the recipe, > 0."""

    def check(self) -> Iterable[Fault]:
        """The budget can be read."""
        if self.budget != "all":
            yield from super().check()

    def after(self, before: Iterable[Compression]) -> Iterable[Fault]:
        """Something says which weights stay, and each is where it was in the first training."""
        before = tuple(before)
        yield from fixed(before, "rewind")
        if not any(link.kind in LEAVES for link in before):
            yield Fault("", f"{' or '.join(LEAVES)} before it, which say what stays", "neither")
        for link in before:
            if link.kind not in IN_PLACE and not link.fixes:
                expected = f"links before it that leave weights in place ({', '.join(IN_PLACE)})"
                yield Fault("", expected, link.kind)

    def changes(self, fit: dict[str, Any], start: str, first: str) -> dict[str, Any]:
        """Start; `fit` is that of the first training."""
        return self.trained(fit, start)
