"""Python where it is needed and nowhere else: on the few documents or lines that a pattern names.

A pattern is searched by polars (Rust's regex: no look-around, time linear in the text) a hundred
times as fast as Python could look.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

Mend = Callable[[str], str]


def not_ascii(texts: pl.Series) -> pl.Series:
    """Which texts hold a character beyond ASCII, `(n,)` Boolean."""
    return texts.str.len_bytes() != texts.str.len_chars()


def on_chosen(
    texts: pl.Series, chosen: pl.Series, do: Callable[[pl.Series], pl.Series]
) -> pl.Series:
    """The texts, of which those chosen `(n,)` Boolean are replaced by what `do` makes of them."""
    rows = chosen.arg_true()
    if not len(rows):
        return texts
    if len(rows) == len(texts):
        return do(texts)
    return texts.clone().scatter(rows, do(texts.gather(rows)))


def each(texts: pl.Series, mend: Mend) -> pl.Series:
    """Every text mended."""
    import polars as pl

    return pl.Series(texts.name, [mend(text) for text in texts.to_list()], dtype=pl.String)


def on_lines(texts: pl.Series, pattern: str, mend: Mend) -> pl.Series:
    """The texts with each line mended in which the pattern is found."""
    return on_chosen(
        texts, texts.str.contains(pattern), lambda some: _lines_mended(some, pattern, mend)
    )


def _lines_mended(texts: pl.Series, pattern: str, mend: Mend) -> pl.Series:
    import polars as pl

    frame = pl.DataFrame({"text": texts.str.split("\n")}).with_row_index("document")
    lines = frame.explode("text")
    at = lines["text"].str.contains(pattern).arg_true()
    before = lines["text"].gather(at)
    after = each(before, mend)
    differs = before != after
    if not differs.any():
        return texts
    at, after = at.filter(differs), after.filter(differs)
    documents = lines["document"].gather(at).unique().sort()
    whole = lines.with_columns(lines["text"].scatter(at, after))
    whole = whole.filter(pl.col("document").is_in(documents.implode()))
    joined = whole.group_by("document", maintain_order=True).agg(pl.col("text").str.join("\n"))
    return texts.clone().scatter(joined["document"], joined["text"])
