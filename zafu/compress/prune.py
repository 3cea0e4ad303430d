"""Pruning of whole units: neurons, heads, channels go, and the matrices become smaller.

Li et al., 2017 (arXiv:1608.08710). What later layers lose is made good for as far as a linear map
of what is left can, from a few samples, as in Kwon et al., 2022 (arXiv:2204.09656). What goes
together in a module that does not say it is found by running it (Fang et al., 2023,
arXiv:2301.12900, find it by operators).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal, final

from pydantic import Field

from zafu.compress.contract import Calibrated, Compression, Work, whole
from zafu.edits.contract import Edit
from zafu.errors import Fault
from zafu.nets.unit_kinds import What


@final
class Prune(Calibrated):
    """Take the least needed units out, the same share at each place or over all places."""

    kind: Literal["prune"] = "prune"
    positional: ClassVar[tuple[str, ...]] = ("amount",)
    ranges: ClassVar[dict[str, str]] = {"amount": "0:0.9"}
    amount: float = Field(default=0.5, ge=0, lt=1)
    """Share of the units that goes, 0 <= a < 1."""
    what: tuple[What, ...] = ("hidden", "heads", "channels")
    """Which units: hidden neurons of MLPs, attention heads, channels inside of blocks, or dims of
    the stream between blocks."""
    score: Literal["taylor", "activation", "magnitude", "random"] = "taylor"
    """How units are ranked: by the loss without them, by what is read of them, by their weights."""
    scope: Literal["place", "model"] = "place"
    """Whether the same share goes at each place, or the least needed of the whole model."""
    repair: bool = True
    """Whether the layers that read what is left are fitted to what they gave before."""
    multiple: int = Field(default=8, ge=1)
    """What is left of neurons, channels and dims is a multiple of this, >= 1, where it can be."""

    def check(self) -> Iterable[Fault]:
        """There is something to take from."""
        if not self.what:
            yield Fault("what", "one kind of units at least", "none")

    def after(self, before: Iterable[Compression]) -> Iterable[Fault]:
        """It changes weights, of layers that have their matrices as such."""
        before = tuple(before)
        yield from whole(before, "prune")
        for link in before:
            if link.kind in ("sparsify", "gradual", "low-rank"):
                yield Fault("", f"prune before {link.kind}, behind which matrices are parts", "it")

    def apply(self, work: Work) -> Iterable[Edit]:
        """The shapes that are left."""
        from zafu.compress.runtime.units import prune

        return prune(self, work)
