"""FineWeb's rules on lines: drop pages that are lists, menus or the same lines again.

Penedo et al., 2024 (arXiv:2406.17557, section 3.6), used there after Gopher's and C4's. The
greatest share in duplicate lines is that of the published code, 0.01; the paper prints 0.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, final

import numpy as np
from pydantic import Field

from zafu.clean.contract import Cleaned, TextCleaning
from zafu.clean.text_gopher_repetition import repeated_spans
from zafu.clean.text_reasons import judged, share
from zafu.clean.text_words import Block, blocks

if TYPE_CHECKING:
    import polars as pl


@final
class FineWeb(TextCleaning):
    """Three rules on lines; the first that a document breaks is its reason."""

    kind: Literal["fineweb"] = "fineweb"
    punctuated: float = Field(default=0.12, ge=0, le=1)
    """Smallest share of lines that end in one of `endings`, 0 to 1."""
    endings: str = Field(default=".!?\"'”’", min_length=1)
    """The characters that count as punctuation at the end of a line."""
    short_lines: float = Field(default=0.67, ge=0, le=1)
    """Greatest share of short lines, 0 to 1."""
    short: int = Field(default=30, ge=0)
    """Lines of fewer characters are short, 0 or more."""
    duplicates: float = Field(default=0.01, ge=0, le=1)
    """Greatest share of characters in lines that repeat an earlier one, 0 to 1."""

    def clean(self, texts: pl.Series) -> Cleaned:
        """The texts as they are, and the first rule that each breaks."""
        found = [self._shares(block) for block in blocks(texts)] or [np.zeros((3, 0))]
        punctuated, short, repeated = np.concatenate(found, axis=1)
        rules = [
            ("too few lines end in punctuation", punctuated < self.punctuated),
            ("too many short lines", short > self.short_lines),
            ("characters in duplicate lines", repeated > self.duplicates),
        ]
        return judged(texts, rules)

    def _shares(self, block: Block) -> np.ndarray:
        """What the rules look at, `(3, documents)`."""
        lines = block.lines
        count = np.diff(lines.offsets)
        ends = np.isin(block.text[block.ends[lines.last] - 1], [ord(c) for c in self.endings])
        short = block.sizes(lines) < self.short
        return np.stack(
            [
                share(block.sums(ends, lines.offsets), count),
                share(block.sums(short, lines.offsets), count),
                repeated_spans(block, lines)[1],
            ]
        )
