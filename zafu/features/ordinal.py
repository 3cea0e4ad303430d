"""Ordinal: a category becomes its place in a sorted or a given order, 1 and up.

Missing, rare and new values become 0. As scikit-learn's OrdinalEncoder, whose places begin at 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, final

import numpy as np
from pydantic import Field

from zafu.errors import Fault
from zafu.features import frames
from zafu.features.contract import Feature, State

if TYPE_CHECKING:
    import polars as pl


@final
class Ordinal(Feature):
    """Categories as numbers in order, under the name of their column."""

    kind: Literal["ordinal"] = "ordinal"
    columns: tuple[str, ...] = ()
    """Columns of text; none: all of them."""
    order: tuple[str, ...] = ()
    """The values from lowest to highest, others being unknown; none: those of training, sorted."""
    min_count: int = Field(default=1, ge=1)
    """Training rows in which a value must occur to have a place of its own, 1 or more."""

    def check(self) -> Iterable[Fault]:
        """An order belongs to named columns, has each value once and leaves nothing to count."""
        if self.order and not self.columns:
            yield Fault("columns", "the columns that have this order", "none")
        if self.order and self.min_count > 1:
            yield Fault("min_count", "1, as order says which values there are", str(self.min_count))
        if len(set(self.order)) < len(self.order):
            yield Fault("order", "each value once", ", ".join(self.order))

    def needed(self) -> Iterable[str]:
        """The named columns."""
        return self.columns

    def fit(self, rows: pl.DataFrame, target: pl.Series, *, seed: int) -> State:
        """The values of each column in order."""
        names = frames.choose(rows, self.columns, "text")
        values = [self.order or frames.common(rows[name], self.min_count) for name in names]
        frames.refuse(
            f"column {name!r}: expected a value in at least {self.min_count} training rows "
            "(min_count), found none"
            for name, found in zip(names, values, strict=True)
            if not found
        )
        return {"columns": frames.texts(names), **frames.pack(values)}

    def apply(self, state: State, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with each column's places in its stead, at the end."""
        names = frames.strings(state, "columns")
        made = {
            name: (frames.index(rows[name], values) + 1).astype(np.float64)
            for name, values in zip(names, frames.unpack(state), strict=True)
        }
        return frames.beside(rows, names, made)
