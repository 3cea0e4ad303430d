"""The contract of features: columns in, columns out; what is fitted is fitted on training rows.

A frame's columns are float64 (numbers, NaN-free, null where missing) or String (categories and
text, null where missing). Features form a chain: each takes some columns and leaves new ones, which
the next may take. What remains text after the chain becomes learned embeddings; what is a number is
normalized.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from zafu.spec import Family

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

State = Mapping[str, "np.ndarray"]  # what was fitted, as plain arrays (numbers or `<U` text)


class Feature(Family):
    """Makes columns of a table out of others."""

    kind: str

    @abstractmethod
    def needed(self) -> Iterable[str]:
        """Columns that must be there; none if it takes whatever suits it."""

    @abstractmethod
    def fit(self, rows: pl.DataFrame, target: pl.Series, *, seed: int) -> State:
        """What the training rows teach; `target` `(n,)` is text for classes, float64 for numbers.

        Raises DataError that names the column where its values do not suit.
        """

    @abstractmethod
    def apply(self, state: State, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with the new columns at the end and without those that were used up."""


class PictureFeature(Family):
    """Makes numbers out of pictures."""

    kind: str

    @abstractmethod
    def fit(self, pictures: np.ndarray, *, seed: int) -> State:
        """What training pictures `(n, channels, height, width)` uint8 (may be mapped) teach."""

    @abstractmethod
    def apply(self, state: State, pictures: np.ndarray) -> np.ndarray:
        """The features `(n, k)` float32 of pictures `(n, channels, height, width)` uint8."""
