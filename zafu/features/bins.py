"""Bins: a number becomes the part of the training rows' distribution that it lies in.

Cuts are the quantiles of the training rows, as in scikit-learn's KBinsDiscretizer; those that fall
together are one. What lies beyond belongs to the first or last bin.
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


@final
class Bins(Feature):
    """Bins of about equal count, each a column `name.bin=k` or a number; 0 where missing."""

    kind: Literal["bins"] = "bins"
    columns: tuple[str, ...] = ()
    """Numeric columns; none: all of them."""
    bins: int = Field(default=8, ge=2, le=256)
    """Bins of a column, 2 to 256; fewer where values repeat."""
    into: Literal["one-hot", "ordinal"] = "one-hot"
    """A column of 0 and 1 for each bin, or one column `name.bin` with its number from 1."""
    keep: bool = False
    """Whether the numbers stay beside their bins."""

    def needed(self) -> Iterable[str]:
        """The named columns."""
        return self.columns

    def fit(self, rows: pl.DataFrame, target: pl.Series, *, seed: int) -> State:
        """The cuts between the bins; raises DataError for a column with a single value."""
        names = frames.choose(rows, self.columns, "numbers")
        cuts = [self._cuts(rows[name]) for name in names]
        frames.refuse(
            f"column {name!r}: expected different values in training, found one or none"
            for name, found in zip(names, cuts, strict=True)
            if not len(found)
        )
        sizes = np.array([len(found) for found in cuts], np.int64)
        state = {"columns": frames.texts(names), "cuts": np.concatenate(cuts), "sizes": sizes}
        frames.foresee(rows, self._gone(names), list(self._made(state, rows.head(0))))
        return state

    def apply(self, state: State, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with the bins at the end."""
        gone = self._gone(frames.strings(state, "columns"))
        return frames.beside(rows, gone, self._made(state, rows))

    def _cuts(self, column: pl.Series) -> np.ndarray:
        """Where a new bin begins: each cut is the least value of the bin above it."""
        values = column.drop_nulls().to_numpy()
        if not len(values):
            return np.zeros(0)
        quantiles = np.unique(np.quantile(values, np.linspace(0, 1, self.bins + 1)))
        return quantiles[1:-1] if len(quantiles) > 2 else quantiles[1:]

    def _made(self, state: State, rows: pl.DataFrame) -> dict[str, np.ndarray]:
        made: dict[str, np.ndarray] = {}
        ends = np.cumsum(state["sizes"]).tolist()
        for name, start, end in zip(
            frames.strings(state, "columns"), [0, *ends], ends, strict=False
        ):
            place = _places(rows[name], state["cuts"][start:end])
            if self.into == "ordinal":
                made[f"{name}.bin"] = place.astype(np.float64)
                continue
            for k in range(1, end - start + 2):
                made[f"{name}.bin={k}"] = (place == k).astype(np.float64)
        return made

    def _gone(self, names: Iterable[str]) -> tuple[str, ...]:
        return () if self.keep else tuple(names)


def _places(column: pl.Series, cuts: np.ndarray) -> np.ndarray:
    """The bin of each number from 1, `(n,)` int64; 0 where it is missing."""
    there = column.is_not_null().to_numpy()
    numbers = column.fill_null(0.0).to_numpy()
    return np.where(there, np.searchsorted(cuts, numbers, side="right") + 1, 0)
