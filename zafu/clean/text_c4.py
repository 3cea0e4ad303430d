"""C4's rules: keep the lines that are sentences, and the pages that have some.

Raffel et al., 2020 (arXiv:1910.10683, section 2.2). Of lines and sentences arXiv's last version and
the published code ask 5 words and 3 sentences, which we take; the journal prints 3 and 5. A
sentence ends here where ".", "!" or "?" is followed by white space, so "Dr. No" ends one. The list
of bad words is the user's own file; languages and repeated spans are other steps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, final

from pydantic import Field

from zafu.clean.contract import Cleaned, TextCleaning
from zafu.clean.text_lines import on_chosen
from zafu.clean.text_reasons import judged
from zafu.errors import DataError

if TYPE_CHECKING:
    import polars as pl

_SENTENCE = r"[.!?][\"'”’)\]]*(?:\s|\z)|[\"”](?:\n|\z)"


@final
class C4(TextCleaning):
    """Lines that end like sentences; no pages with code, placeholders or bad words."""

    kind: Literal["c4"] = "c4"
    least_line_words: int = Field(default=5, ge=1, le=100)
    """Fewest words of a line, 1 to 100; shorter lines are cut out."""
    endings: str = Field(default='.!?"”', min_length=1)
    """The characters with which a line must end, else it is cut out."""
    least_sentences: int = Field(default=3, ge=0)
    """Fewest sentences in what is left of a page, 0 or more."""
    words: str | None = None
    """A UTF-8 file of bad words, one a line, of which one is enough to drop a page; null: none."""

    def sources(self) -> Iterable[Path]:
        """The file of bad words, if there is one."""
        return [Path(self.words)] if self.words else ()

    def clean(self, texts: pl.Series) -> Cleaned:
        """The texts without the lines that break a rule; those that should go as they came."""
        mended = on_chosen(texts, self._worth(texts), self._cut)
        few = mended.str.count_matches(_SENTENCE) < self.least_sentences
        bad = self._bad_words()
        rules = [
            ("lorem ipsum", texts.str.contains("(?i)lorem ipsum").to_numpy()),
            ("curly bracket", texts.str.contains("{", literal=True).to_numpy()),
            *([("bad words", texts.str.contains(bad).to_numpy())] if bad else []),
            ("too few sentences", few.to_numpy()),
        ]
        reasons = judged(texts, rules).reasons
        return Cleaned(mended.zip_with(reasons.is_null(), texts), reasons)

    def _worth(self, texts: pl.Series) -> pl.Series:
        """Where cutting can matter: a page with "{" goes anyway."""
        return ~texts.str.contains("{", literal=True)

    def _cut(self, texts: pl.Series) -> pl.Series:
        import polars as pl

        ends = re.escape(self.endings)
        good = rf"(?:\S+\s+){{{self.least_line_words - 1}}}\S*[{ends}]\s*\z"
        line = pl.col("text")
        lines = pl.LazyFrame({"text": texts.str.split("\n")}).with_row_index("page").explode("text")
        kept = lines.filter(line.str.contains(good) & ~line.str.contains("(?i)javascript"))
        joined = kept.group_by("page", maintain_order=True).agg(line.str.join("\n")).collect()
        empty = pl.repeat("", len(texts), dtype=pl.String, eager=True).alias(texts.name)
        return empty.scatter(joined["page"], joined["text"])

    def _bad_words(self) -> str | None:
        """A pattern for the bad words; raises DataError if the file cannot be read or is empty."""
        if self.words is None:
            return None
        try:
            lines = Path(self.words).read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{self.words}: expected a file of words, found {error}") from None
        words = sorted({word.strip() for word in lines} - {""})
        if not words:
            raise DataError(f"{self.words}: expected one word a line, found none")
        return rf"(?i)(?:\A|\W)(?:{'|'.join(map(re.escape, words))})(?:\W|\z)"
