"""Fine-tuning of few numbers: adapters, trained by the link behind them, and merged.

`lora:8 > tune:1epochs > merge`: Hu et al., 2021 (arXiv:2106.09685).
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import ClassVar, Literal, final

from pydantic import Field

from zafu.compress.contract import Compression, Reshaping, Work, whole
from zafu.edits.adapters import Adapters, Merged
from zafu.edits.contract import Edit
from zafu.errors import Fault, Refused


@final
class LoRA(Reshaping):
    """Give linear layers adapters; training then moves these alone."""

    kind: Literal["lora"] = "lora"
    positional: ClassVar[tuple[str, ...]] = ("rank", "alpha")
    rank: int = Field(default=8, ge=1)
    """Of the adapters, >= 1."""
    alpha: float = Field(default=16.0, gt=0)
    """What adapters add is multiplied by alpha / rank, > 0."""
    layers: tuple[str, ...] = ("*",)
    """Patterns of names of the linear layers that have some."""
    skip: tuple[str, ...] = ("lm_head", "head")
    """Patterns of names of those that have none."""

    def after(self, before: Iterable[Compression]) -> Iterable[Fault]:
        """Once at a time; weights must be floats."""
        return whole(tuple(before), "lora")

    def apply(self, work: Work) -> Iterable[Edit]:
        """The layers with adapters."""
        from torch import nn

        layers = tuple(
            name
            for name, layer in work.model.named_modules()
            if type(layer) is nn.Linear
            and any(fnmatchcase(name, pattern) for pattern in self.layers)
            and not any(fnmatchcase(name, pattern) for pattern in self.skip)
        )
        if not layers:
            raise Refused("lora: no linear layer of these names")
        edit = Adapters(layers=layers, rank=self.rank, alpha=self.alpha)
        edit.apply(work.model)
        return (edit,)


@final
class Merge(Reshaping):
    """Add what adapters have learned to the matrices, which become plain again."""

    kind: Literal["merge"] = "merge"

    def after(self, before: Iterable[Compression]) -> Iterable[Fault]:
        """There must be adapters."""
        kinds = [link.kind for link in before if link.kind in ("lora", "merge")]
        if not kinds or kinds[-1] != "lora":
            yield Fault("", "lora before it", "no adapters")

    def apply(self, work: Work) -> Iterable[Edit]:
        """That they are gone."""
        edit = Merged()
        edit.apply(work.model)
        return (edit,)
