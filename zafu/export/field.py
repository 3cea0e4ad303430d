"""Forms as a setting: a list of exports, each a kind, `kind:value` or a mapping; or one alone."""

from __future__ import annotations

from typing import Annotated

from zafu.export.contract import Export
from zafu.words import OrLine, listed, worded


def form(text: str) -> Export:
    """One form; raises RecipeError."""
    return worded(Export, text)


Forms = Annotated[tuple[Export, ...], listed(lambda text: [form(text)], form), OrLine()]
