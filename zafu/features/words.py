"""Words: what tf-idf and hashed n-grams see of texts.

A word is two or more letters, digits or underscores of Unicode in a row, as in scikit-learn; words
of more than 100 are taken for data and passed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zafu.errors import Fault
from zafu.spec import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import polars as pl

ROWS = 4096  # texts looked at together: bounds memory
LONGEST = 100  # letters of a word


def blocks(texts: pl.Series) -> Iterator[tuple[int, pl.Series]]:
    """The texts a block at a time, each with the number of its first."""
    for start in range(0, max(1, len(texts)), ROWS):
        yield start, texts.slice(start, ROWS)


def words(texts: pl.Series, *, lowercase: bool) -> pl.DataFrame:
    """Every word `word` of every text `row`, in their order; null texts have none."""
    import polars as pl

    texts = texts.str.to_lowercase() if lowercase else texts
    found = texts.str.extract_all(r"\b\w\w+\b").alias("word")
    frame = found.to_frame().with_row_index("row").explode("word").drop_nulls()
    return frame.filter(pl.col("word").str.len_chars() <= LONGEST)


def terms(texts: pl.Series, ngrams: tuple[int, int], *, lowercase: bool) -> pl.DataFrame:
    """Every run of so many words, `term`, with single spaces between, of every text, `row`."""
    import polars as pl

    single = words(texts, lowercase=lowercase)
    runs: list[pl.DataFrame] = []
    for n in range(ngrams[0], ngrams[1] + 1):
        together = pl.concat_str([pl.col("word").shift(-i) for i in range(n)], separator=" ")
        within = pl.col("row") == pl.col("row").shift(-(n - 1))
        runs.append(
            single.select("row", together.alias("term")).filter(
                single.select(within.fill_null(False)).to_series()
            )
        )
    return pl.concat(runs)


def check_ngrams(ngrams: tuple[int, int]) -> Iterable[Fault]:
    """A fault if the shortest is longer than the longest."""
    if ngrams[0] > ngrams[1]:
        yield Fault("ngrams", "the shortest and then the longest", show(ngrams))
