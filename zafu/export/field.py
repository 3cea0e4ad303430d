"""Forms as a setting: a list of exports, each a kind, `kind:value` or a mapping; or one alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from zafu.errors import Fault
from zafu.export.contract import Export
from zafu.words import OrLine, listed, worded

if TYPE_CHECKING:
    from zafu.models.contract import Model


def form(text: str) -> Export:
    """One form; raises RecipeError."""
    return worded(Export, text)


Forms = Annotated[tuple[Export, ...], listed(lambda text: [form(text)], form), OrLine()]


def unsuited(model: Model, export: tuple[Export, ...]) -> Iterator[Fault]:
    """Faults of forms that no such model has, and of kinds that stand there twice."""
    kinds = [how.kind for how in export]
    for index, how in enumerate(export):
        for fault in how.suits(model):
            yield replace(fault, path=f"export.{index}")
        if how.kind in kinds[:index]:
            yield Fault(f"export.{index}.kind", "each kind once: each has one folder", how.kind)
