"""TF-IDF: how often a text has a word, times how rare the word is among texts.

Salton & Buckley, 1988, "Term-weighting approaches in automatic text retrieval". Defined as
scikit-learn's TfidfVectorizer: count * (ln((1 + n) / (1 + df)) + 1), then length 1. Where there
are more terms than wanted, those in most texts stay (in scikit-learn: those that occur most).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Literal, final

import numpy as np
from pydantic import Field

from zafu.errors import Fault
from zafu.features import frames
from zafu.features.contract import Feature, State
from zafu.features.slots import unit
from zafu.features.words import blocks, check_ngrams, terms

if TYPE_CHECKING:
    import polars as pl

Length = Annotated[int, Field(ge=1, le=5)]


@final
class TfIdf(Feature):
    """A column `name:term` for each term of a text; a missing text has none of them."""

    kind: Literal["tf-idf"] = "tf-idf"
    column: str
    """The column of text."""
    ngrams: tuple[Length, Length] = (1, 1)
    """Fewest and most words of a term, each 1 to 5."""
    most: int = Field(default=2000, ge=1, le=65536)
    """Terms that stay, by the number of texts that have them, then by alphabet: 1 to 65,536."""
    min_count: int = Field(default=2, ge=1)
    """Training texts that must have a term for it to count, 1 or more."""
    lowercase: bool = True
    """Whether capitals are told from small letters no more."""
    keep: bool = False
    """Whether the text stays, for another feature to take."""

    def check(self) -> Iterable[Fault]:
        """Terms go from short to long."""
        return check_ngrams(self.ngrams)

    def needed(self) -> Iterable[str]:
        """The text."""
        return (self.column,)

    def fit(self, rows: pl.DataFrame, target: pl.Series, *, seed: int) -> State:
        """The terms and how rare they are; raises DataError if there is none."""
        import polars as pl

        frames.choose(rows, (self.column,), "text")
        parts = (self._terms(part).unique() for _, part in blocks(rows[self.column]))
        counts = [part["term"].value_counts() for part in parts]
        totals = pl.concat(counts).group_by("term").agg(pl.col("count").sum())
        enough = totals.filter(pl.col("count") >= self.min_count)
        best = enough.sort(["count", "term"], descending=[True, False]).head(self.most).sort("term")
        if not best.height:
            frames.refuse(
                [
                    f"column {self.column!r}: expected a term in {self.min_count} training texts "
                    f"or more (min_count), found none among {totals.height:,} terms"
                ]
            )
        frames.foresee(rows, self._gone(), self._names(best["term"]))
        idf = np.log((1 + rows.height) / (1 + best["count"].to_numpy())) + 1
        return {"terms": frames.texts(best["term"].to_list()), "idf": idf}

    def apply(self, state: State, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with a column for each term."""
        import polars as pl

        known = frames.strings(state, "terms")
        places = pl.DataFrame({"term": known, "place": np.arange(len(known))})
        weights = np.zeros((len(known), rows.height))
        for start, part in blocks(rows[self.column]):
            found = self._terms(part).join(places, on="term").group_by("row", "place").len()
            row, place = (found[name].to_numpy().astype(np.int64) for name in ("row", "place"))
            weights[place, start + row] = found["len"].to_numpy()
        weights *= state["idf"][:, None]
        made = dict(zip(self._names(known), unit(weights), strict=True))
        return frames.beside(rows, self._gone(), made)

    def _terms(self, part: pl.Series) -> pl.DataFrame:
        return terms(part, self.ngrams, lowercase=self.lowercase)

    def _gone(self) -> tuple[str, ...]:
        return () if self.keep else (self.column,)

    def _names(self, known: Iterable[str]) -> list[str]:
        return [f"{self.column}:{term}" for term in known]
