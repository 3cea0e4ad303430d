"""Hashed: categories of any number added with a sign to a fixed number of columns.

The hashing trick of Weinberger et al., 2009 (arXiv:0902.2206), by BLAKE2b of column and value, so
nothing is fitted and no value is unknown. A missing one adds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, final

import numpy as np
from pydantic import Field

from zafu.features import frames
from zafu.features.contract import Feature, State
from zafu.features.slots import added
from zafu.hashing import fingerprints

if TYPE_CHECKING:
    import polars as pl


@final
class Hashed(Feature):
    """Categories in a fixed number of columns that they share, `prefix.0` and so on."""

    kind: Literal["hashed"] = "hashed"
    columns: tuple[str, ...] = ()
    """Columns of text; none: all of them."""
    buckets: int = Field(default=64, ge=2, le=65536)
    """New columns, 2 to 65,536."""
    prefix: str = Field(default="hashed", min_length=1)
    """Beginning of the names of the new columns."""

    def needed(self) -> Iterable[str]:
        """The named columns."""
        return self.columns

    def fit(self, rows: pl.DataFrame, target: pl.Series, *, seed: int) -> State:
        """The names of the columns."""
        names = frames.choose(rows, self.columns, "text")
        frames.foresee(rows, names, frames.numbered(self.prefix, self.buckets))
        return {"columns": frames.texts(names)}

    def apply(self, state: State, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with the buckets in place of the categories."""
        names = frames.strings(state, "columns")
        sums = np.zeros((self.buckets, rows.height))
        for name in names:
            there = rows[name].is_not_null().to_numpy()
            hashes = _hashes(name, rows[name].drop_nulls())
            sums += added(np.flatnonzero(there), hashes, sums.shape)
        made = dict(zip(frames.numbered(self.prefix, self.buckets), sums, strict=True))
        return frames.beside(rows, names, made)


def _hashes(name: str, column: pl.Series) -> np.ndarray:
    """A fingerprint of column and value for each text, `(n,)` uint64; each value hashed once."""
    values = frames.common(column, 1)
    prints = fingerprints(f"{name}\0{value}".encode() for value in values)
    return prints[frames.index(column, values)]
