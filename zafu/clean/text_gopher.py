"""Gopher's quality rules: drop documents that do not look like prose in English.

Rae et al., 2021 (arXiv:2112.11446, appendix A1.1), with the published thresholds. The paper leaves
open what a word and a bullet are. Here words are divided by white space; a stop word is found
whatever its case and next to punctuation too; lines without words do not count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, final

import numpy as np
from pydantic import Field

from zafu.clean.contract import Cleaned, TextCleaning
from zafu.clean.text_reasons import judged, share
from zafu.clean.text_words import Block, blocks
from zafu.errors import Fault

if TYPE_CHECKING:
    import polars as pl


@final
class Gopher(TextCleaning):
    """Seven rules on words, symbols and lines; the first that a document breaks is its reason."""

    kind: Literal["gopher"] = "gopher"
    least_words: int = Field(default=50, ge=0)
    """Fewest words of a document, 0 or more."""
    most_words: int = Field(default=100_000, ge=1)
    """Most words of a document, 1 or more."""
    least_word_length: float = Field(default=3.0, ge=0)
    """Smallest mean length of its words in characters, 0 or more."""
    most_word_length: float = Field(default=10.0, gt=0)
    """Greatest mean length of its words in characters, > 0."""
    symbols: float = Field(default=0.1, ge=0)
    """Most hash signs a word, and most ellipses a word, 0 or more."""
    bullets: float = Field(default=0.9, ge=0, le=1)
    """Greatest share of lines that start with a bullet, 0 to 1."""
    bullet_signs: str = Field(default="•‣▶◀◦■□▪▫–-*", min_length=1)
    """The characters that count as bullets at the start of a line."""
    ellipses: float = Field(default=0.3, ge=0, le=1)
    """Greatest share of lines that end with an ellipsis, 0 to 1."""
    alphabetic: float = Field(default=0.8, ge=0, le=1)
    """Smallest share of words with an alphabetic character, 0 to 1."""
    stop_words: tuple[str, ...] = ("the", "be", "to", "of", "and", "that", "have", "with")
    """Words of which some must occur, in lower case."""
    least_stop_words: int = Field(default=2, ge=0)
    """How many different ones of `stop_words` must occur, 0 or more."""

    def check(self) -> Iterable[Fault]:
        """Each least must be reachable."""
        if self.least_words > self.most_words:
            yield Fault(
                "least_words", f"most_words ({self.most_words}) or less", f"{self.least_words}"
            )
        if self.least_word_length > self.most_word_length:
            most = f"most_word_length ({self.most_word_length:g}) or less"
            yield Fault("least_word_length", most, f"{self.least_word_length:g}")
        if self.least_stop_words > len(set(self.stop_words)):
            most = f"at most the {len(set(self.stop_words))} stop words that there are"
            yield Fault("least_stop_words", most, f"{self.least_stop_words}")

    def clean(self, texts: pl.Series) -> Cleaned:
        """The texts as they are, and the first rule that each breaks."""
        found = [self._counted(block) for block in blocks(texts)] or [np.zeros((6, 0), np.int64)]
        words, characters, letters, lines, bullets, ellipses = np.concatenate(found, axis=1)
        hashes = _count(texts, "#")
        dots = _count(texts, "...") + _count(texts, "…")
        length = share(characters, words)
        rules = [
            ("too few words", words < self.least_words),
            ("too many words", words > self.most_words),
            ("words too short", length < self.least_word_length),
            ("words too long", length > self.most_word_length),
            ("too many hash signs", share(hashes, words) > self.symbols),
            ("too many ellipses", share(dots, words) > self.symbols),
            ("too many bullets", share(bullets, lines) > self.bullets),
            ("too many lines end in an ellipsis", share(ellipses, lines) > self.ellipses),
            ("too few words with letters", share(letters, words) < self.alphabetic),
            ("too few stop words", self._stop_words(texts) < self.least_stop_words),
        ]
        return judged(texts, rules)

    def _counted(self, block: Block) -> np.ndarray:
        """Words, their characters, those with letters, lines, bullets, ellipses, `(6, n)`."""
        lines, last = block.lines, block.ends[block.lines.last] - 1
        bullet = np.isin(block.text[block.starts[lines.first]], [ord(c) for c in self.bullet_signs])
        dots = block.text[last] == ord(".")
        for back in (1, 2):  # what stands before the first character is the end of a text
            dots &= block.text[last - back] == ord(".")
        ellipsis = dots | (block.text[last] == ord("…"))
        return np.stack(
            [
                np.diff(block.offsets),
                block.sums(block.lengths, block.offsets),
                block.sums(block.with_letter(), block.offsets),
                np.diff(lines.offsets),
                block.sums(bullet, lines.offsets),
                block.sums(ellipsis, lines.offsets),
            ]
        )

    def _stop_words(self, texts: pl.Series) -> np.ndarray:
        """How many different stop words stand in each text."""
        found = np.zeros(len(texts), np.int64)
        for word in set(self.stop_words):
            found += texts.str.contains(rf"(?i)\b{re.escape(word)}\b").to_numpy()
        return found


def _count(texts: pl.Series, sign: str) -> np.ndarray:
    """How often the sign stands in each text."""
    return texts.str.count_matches(sign, literal=True).to_numpy().astype(np.int64)
