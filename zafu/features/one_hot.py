"""One-hot: a column of 0 and 1 for each value of a category, called `name=value`.

As scikit-learn's OneHotEncoder with unknown values ignored. Missing values are 0 everywhere; rare
and new ones too, or they share a column `name=(other)`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, final

import numpy as np
from pydantic import Field

from zafu.features import frames
from zafu.features.contract import Feature, State

if TYPE_CHECKING:
    import polars as pl

OTHER = "(other)"


@final
class OneHot(Feature):
    """A column for each category."""

    kind: Literal["one-hot"] = "one-hot"
    columns: tuple[str, ...] = ()
    """Columns of text; none: all of them."""
    min_count: int = Field(default=2, ge=1)
    """Training rows in which a value must occur to have a column, 1 or more."""
    other: Literal["zero", "column"] = "zero"
    """What rare and new values are: zero everywhere, or a column of their own."""
    most: int = Field(default=1000, ge=1, le=100_000)
    """Columns that may be made before the data is refused, 1 to 100,000."""

    def needed(self) -> Iterable[str]:
        """The named columns."""
        return self.columns

    def fit(self, rows: pl.DataFrame, target: pl.Series, *, seed: int) -> State:
        """The values that have a column; raises DataError where they are none or too many."""
        names = frames.choose(rows, self.columns, "text")
        values = [frames.common(rows[name], self.min_count) for name in names]
        frames.refuse(
            f"column {name!r}: expected a value in at least {self.min_count} training rows "
            "(min_count), found none"
            for name, found in zip(names, values, strict=True)
            if not found
        )
        made = self._names(names, values)
        if len(made) > self.most:
            sizes = (f"{n!r} {len(v):,}" for n, v in zip(names, values, strict=True))
            frames.refuse(
                [
                    f"expected at most {self.most:,} new columns (most), found {len(made):,}: "
                    f"{', '.join(sizes)}; raise min_count or most, or use hashed"
                ]
            )
        frames.foresee(rows, names, made)
        return {"columns": frames.texts(names), **frames.pack(values)}

    def apply(self, state: State, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with a column for each value, in place of the categories."""
        names, values = frames.strings(state, "columns"), frames.unpack(state)
        hot = [self._hot(rows[name], found) for name, found in zip(names, values, strict=True)]
        columns = (column for block in hot for column in block)
        return frames.beside(
            rows, names, dict(zip(self._names(names, values), columns, strict=True))
        )

    def _names(self, names: Iterable[str], values: Iterable[list[str]]) -> list[str]:
        other = [OTHER] if self.other == "column" else []
        return [
            f"{name}={value}"
            for name, found in zip(names, values, strict=True)
            for value in (*found, *other)
        ]

    def _hot(self, column: pl.Series, values: list[str]) -> np.ndarray:
        """Zeros and ones, `(values, n)`, with a last row for others where these have one."""
        place = frames.index(column, values)
        hot = np.zeros((len(values) + (self.other == "column"), len(column)))
        known = np.flatnonzero(place >= 0)
        hot[place[known], known] = 1
        if self.other == "column":
            hot[-1] = (place < 0) & column.is_not_null().to_numpy()
        return hot
