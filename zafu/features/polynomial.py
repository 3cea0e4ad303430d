"""Polynomial: products of numeric columns, such as `a*b` and `a^2`, beside the columns themselves.

As scikit-learn's PolynomialFeatures without its constant. A missing number counts as the mean of
the training rows in a product; its own column is left as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, combinations_with_replacement
from math import comb
from typing import TYPE_CHECKING, Literal, final

import numpy as np
from pydantic import Field

from zafu.features import frames
from zafu.features.contract import Feature, State

if TYPE_CHECKING:
    import polars as pl


@final
class Polynomial(Feature):
    """Products of up to `degree` columns, for models that only add."""

    kind: Literal["polynomial"] = "polynomial"
    columns: tuple[str, ...] = ()
    """Numeric columns; none: all of them."""
    degree: int = Field(default=2, ge=2, le=4)
    """Most factors of a product, 2 to 4."""
    powers: bool = True
    """Whether a column may be multiplied with itself."""
    most: int = Field(default=1000, ge=1, le=100_000)
    """Columns that may be made before the data is refused, 1 to 100,000."""

    def needed(self) -> Iterable[str]:
        """The named columns."""
        return self.columns

    def fit(self, rows: pl.DataFrame, target: pl.Series, *, seed: int) -> State:
        """The means that stand for missing numbers; raises DataError where there are too many."""
        names = frames.choose(rows, self.columns, "numbers")
        count = self._count(len(names))
        if not 0 < count <= self.most:
            frames.refuse(
                [
                    f"expected 1 to {self.most:,} products (most), found {count:,} of "
                    f"{len(names):,} columns to degree {self.degree}; name other columns"
                ]
            )
        frames.foresee(rows, (), [named([names[i] for i in each]) for each in self._each(names)])
        state = {"columns": frames.texts(names), "means": frames.means(rows, names)}
        largest = float(np.abs(frames.filled(rows, names, state["means"])).max())
        if largest > np.finfo(np.float64).max ** (1 / self.degree):
            self.apply(state, rows)  # which names the products that are beyond float64
        return state

    def apply(self, state: State, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows and the products; raises DataError where one is beyond float64."""
        names = frames.strings(state, "columns")
        values = frames.filled(rows, names, state["means"])
        made: dict[str, np.ndarray] = {}
        with np.errstate(over="ignore"):  # said below, by name
            for each in self._each(names):
                product = values[each[0]].copy()
                for i in each[1:]:
                    product *= values[i]
                made[named([names[i] for i in each])] = product
        frames.refuse(
            f"column {name!r}: expected products within float64, found infinity"
            for name, product in made.items()
            if not np.isfinite(product).all()
        )
        return frames.beside(rows, (), made)

    def _count(self, columns: int) -> int:
        degrees = range(2, self.degree + 1)
        return sum(comb(columns + d - 1 if self.powers else columns, d) for d in degrees)

    def _each(self, names: Sequence[str]) -> Iterator[tuple[int, ...]]:
        chosen = combinations_with_replacement if self.powers else combinations
        for degree in range(2, self.degree + 1):
            yield from chosen(range(len(names)), degree)


def named(factors: Sequence[str]) -> str:
    """A product's name: `a*b`, `a^2`, `a^2*b`."""
    powers = Counter(factors)
    return "*".join(name if n == 1 else f"{name}^{n}" for name, n in powers.items())
