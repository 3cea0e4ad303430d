"""Hashed n-grams: runs of words or letters added with a sign to a fixed number of columns.

Weinberger et al., 2009 (arXiv:0902.2206), as scikit-learn's HashingVectorizer but for the hash: a
run's is mixed from those of its words (BLAKE2b) or letters (code points), whole texts at once.
Nothing is fitted and nothing is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Literal, final

import numpy as np
from pydantic import Field

from zafu.errors import Fault
from zafu.features import frames
from zafu.features.contract import Feature, State
from zafu.features.slots import added, unit
from zafu.features.words import blocks, check_ngrams, words
from zafu.hashing import fingerprints, key, mix

if TYPE_CHECKING:
    import polars as pl

Length = Annotated[int, Field(ge=1, le=8)]


@final
class HashedNgrams(Feature):
    """A text in a fixed number of columns, `name.0` and so on; a missing one is 0."""

    kind: Literal["hashed-ngrams"] = "hashed-ngrams"
    column: str
    """The column of text."""
    of: Literal["words", "letters"] = "words"
    """What a run is made of; letters are all characters, blanks in a row being one space."""
    ngrams: tuple[Length, Length] = (1, 1)
    """Fewest and most words or letters of a run, each 1 to 8."""
    buckets: int = Field(default=1024, ge=2, le=65536)
    """New columns, 2 to 65,536."""
    lowercase: bool = True
    """Whether capitals are told from small letters no more."""
    keep: bool = False
    """Whether the text stays, for another feature to take."""

    def check(self) -> Iterable[Fault]:
        """Runs go from short to long."""
        return check_ngrams(self.ngrams)

    def needed(self) -> Iterable[str]:
        """The text."""
        return (self.column,)

    def fit(self, rows: pl.DataFrame, target: pl.Series, *, seed: int) -> State:
        """Nothing but the width."""
        frames.choose(rows, (self.column,), "text")
        frames.foresee(rows, self._gone(), frames.numbered(self.column, self.buckets))
        return {"buckets": np.array(self.buckets)}

    def apply(self, state: State, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with a column for each bucket, each row of length 1."""
        sums = np.zeros((self.buckets, rows.height))
        for start, part in blocks(rows[self.column]):
            row, hashes = runs(*self.units(part), self.ngrams)
            sums[:, start : start + len(part)] = added(row, hashes, (self.buckets, len(part)))
        made = dict(zip(frames.numbered(self.column, self.buckets), unit(sums), strict=True))
        return frames.beside(rows, self._gone(), made)

    def units(self, part: pl.Series) -> tuple[np.ndarray, np.ndarray]:
        """The row of each word or letter, `(m,)`, and a number for it, `(m,)` uint64."""
        return self._words(part) if self.of == "words" else self._letters(part)

    def _words(self, part: pl.Series) -> tuple[np.ndarray, np.ndarray]:
        import polars as pl

        found = words(part, lowercase=self.lowercase)
        known = found["word"].unique()
        prints = pl.Series("print", fingerprints(word.encode() for word in known))
        table = pl.DataFrame([known, prints])
        joined = found.join(table, on="word", how="left", maintain_order="left")
        return joined["row"].to_numpy().astype(np.int64), joined["print"].to_numpy()

    def _letters(self, part: pl.Series) -> tuple[np.ndarray, np.ndarray]:
        part = (part.str.to_lowercase() if self.lowercase else part).fill_null("")
        part = part.str.replace_all(r"\s\s+", " ")
        points = np.frombuffer("".join(part).encode("utf-32-le"), np.uint32)
        row = np.repeat(np.arange(len(part)), part.str.len_chars().to_numpy())
        return row, points.astype(np.uint64)

    def _gone(self) -> tuple[str, ...]:
        return () if self.keep else (self.column,)


def runs(
    rows: np.ndarray, units: np.ndarray, ngrams: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The row and the hash of each run of units `(m,)` uint64 that lies within one row."""
    found: list[tuple[np.ndarray, np.ndarray]] = []
    hashes = np.broadcast_to(key(0), units.shape)
    for n in range(1, ngrams[1] + 1):
        count = len(units) - n + 1
        hashes = mix(hashes[:count] ^ units[n - 1 :]) if count > 0 else hashes[:0]
        within = rows[: len(hashes)] == rows[n - 1 :]
        if n >= ngrams[0]:
            found.append((rows[: len(hashes)][within], hashes[within]))
    return np.concatenate([r for r, _ in found]), np.concatenate([h for _, h in found])
