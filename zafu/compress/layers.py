"""Pruning by depth: whole blocks go.

Which block is needed least is measured, by the loss without it: Men et al., 2024
(arXiv:2403.03853) rank by how little a block turns its stream; measuring is as cheap here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal, final

from pydantic import Field

from zafu.compress.contract import Calibrated, Compression, Work, whole
from zafu.edits.contract import Edit
from zafu.errors import Fault


@final
class Layers(Calibrated):
    """Take the blocks out without which the loss grows least, one after the other."""

    kind: Literal["layers"] = "layers"
    positional: ClassVar[tuple[str, ...]] = ("count",)
    count: int = Field(default=1, ge=0)
    """Blocks that go, >= 0; only such whose output is as large as their input."""

    def after(self, before: Iterable[Compression]) -> Iterable[Fault]:
        """It changes the model's form."""
        return whole(tuple(before), "layers")

    def apply(self, work: Work) -> Iterable[Edit]:
        """The blocks that are gone."""
        from zafu.compress.runtime.depth import drop

        return drop(work, self.count)
