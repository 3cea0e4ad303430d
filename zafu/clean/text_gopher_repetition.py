"""Gopher's repetition rules: drop documents that say the same again and again.

Rae et al., 2021 (arXiv:2112.11446, appendix A1.1 and table A1), with the published thresholds. The
paper leaves open how to count. Here shares of characters are of those in words (of those in lines,
for lines and paragraphs); a line or paragraph is a duplicate if an earlier one of the document is
equal, white space at its ends aside; an n-gram that occurs once is not repeated; each place of an
n-gram that occurs more often counts, and characters under several such places count once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, final

import numpy as np
from pydantic import Field

from zafu.clean.contract import Cleaned, TextCleaning
from zafu.clean.text_reasons import judged, share
from zafu.clean.text_words import Block, Spans, blocks
from zafu.hashing import mix

if TYPE_CHECKING:
    import polars as pl

Share = Annotated[float, Field(ge=0, le=1)]
_TOP = (2, 3, 4)
_REPEATED = (5, 6, 7, 8, 9, 10)
_NEXT = np.uint64(0xD1342543DE82EF95)  # odd: multiplying by it loses nothing


@final
class GopherRepetition(TextCleaning):
    """Thirteen rules on repeated lines, paragraphs and runs of words."""

    kind: Literal["gopher-repetition"] = "gopher-repetition"
    lines: float = Field(default=0.3, ge=0, le=1)
    """Greatest share of lines that are duplicates, 0 to 1."""
    paragraphs: float = Field(default=0.3, ge=0, le=1)
    """Greatest share of paragraphs that are duplicates, 0 to 1."""
    line_characters: float = Field(default=0.2, ge=0, le=1)
    """Greatest share of characters in duplicate lines, 0 to 1."""
    paragraph_characters: float = Field(default=0.2, ge=0, le=1)
    """Greatest share of characters in duplicate paragraphs, 0 to 1."""
    top: tuple[Share, Share, Share] = (0.2, 0.18, 0.16)
    """Greatest share of characters in the most frequent 2-gram, 3-gram, 4-gram, each 0 to 1."""
    repeated: tuple[Share, Share, Share, Share, Share, Share] = (0.15, 0.14, 0.13, 0.12, 0.11, 0.1)
    """Greatest share of characters in repeated 5-grams to 10-grams, each 0 to 1."""

    def clean(self, texts: pl.Series) -> Cleaned:
        """The texts as they are, and the first rule that each breaks."""
        found = [_shares(block) for block in blocks(texts)] or [np.zeros((13, 0))]
        limits = {
            "duplicate lines": self.lines,
            "duplicate paragraphs": self.paragraphs,
            "characters in duplicate lines": self.line_characters,
            "characters in duplicate paragraphs": self.paragraph_characters,
        }
        limits |= {f"one {n}-gram": limit for n, limit in zip(_TOP, self.top, strict=True)}
        limits |= {
            f"repeated {n}-grams": limit for n, limit in zip(_REPEATED, self.repeated, strict=True)
        }
        shares = np.concatenate(found, axis=1)
        rules = zip(limits.items(), shares, strict=True)
        return judged(texts, [(name, values > limit) for (name, limit), values in rules])


class Repeats(NamedTuple):
    """Equal things in a row of things."""

    places: np.ndarray  # (m,) of things that have an equal
    group: np.ndarray  # (m,) equal things have the same number
    counts: np.ndarray  # (groups,) how many


def duplicates(codes: np.ndarray) -> Repeats:
    """The places whose codes occur more than once."""
    order = np.argsort(codes)
    ordered = codes[order]
    again = np.zeros(len(codes) + 1, bool)
    again[1:-1] = ordered[1:] == ordered[:-1]  # equal to the one before
    many = again[:-1] | again[1:]
    group = np.cumsum(~again[:-1][many]) - 1
    return Repeats(order[many], group, np.bincount(group))


def _shares(block: Block) -> np.ndarray:
    """What the rules look at, `(13, documents)`, in the order of the rules."""
    lines, line_characters = repeated_spans(block, block.lines)
    paragraphs, paragraph_characters = repeated_spans(block, block.paragraphs)
    grams = _grams(block)
    return np.stack([lines, paragraphs, line_characters, paragraph_characters, *grams])


def repeated_spans(block: Block, spans: Spans) -> tuple[np.ndarray, np.ndarray]:
    """The shares of spans that repeat an earlier one, and of their characters."""
    sizes = block.sizes(spans)
    codes = block.codes(block.starts[spans.first], block.ends[spans.last])
    found = duplicates(_of_document(codes, spans.offsets))
    first = np.full(len(found.counts), len(sizes))
    np.minimum.at(first, found.group, found.places)
    repeated = np.zeros(len(sizes), bool)
    repeated[found.places] = True
    repeated[first] = False
    count = share(block.sums(repeated, spans.offsets), np.diff(spans.offsets))
    characters = block.sums(sizes * repeated, spans.offsets)
    return count, share(characters, block.sums(sizes, spans.offsets))


def _grams(block: Block) -> list[np.ndarray]:
    """For each n from 2 to 10 the share of characters in the top or in all repeated n-grams.

    Where an n-gram is repeated, so is the shorter one that it begins with: each round looks only
    where the one before found something.
    """
    words = _of_document(block.codes(block.starts, block.ends), block.offsets)
    document = np.repeat(np.arange(block.documents), np.diff(block.offsets))
    before = np.concatenate([[0], np.cumsum(block.lengths)])  # characters before each word
    whole = before[block.offsets[1:]] - before[block.offsets[:-1]]
    places, codes, shares = np.arange(len(words)), words, []
    for n in range(2, 11):
        fits = places + n <= block.offsets[document[places] + 1]
        places, codes = places[fits], codes[fits]
        codes = mix(codes * _NEXT + words[places + n - 1])
        found = duplicates(codes)
        places, codes = places[found.places], codes[found.places]
        if n in _TOP:
            part = np.zeros(block.documents, np.int64)
            length = before[places + n] - before[places]
            rank = (found.counts[found.group] << 32) + length  # more often, then longer
            np.maximum.at(part, document[places], rank)
            part = (part >> 32) * (part & 0xFFFFFFFF)
        else:
            start = np.sort(places)
            end = np.minimum(start + n, np.append(start[1:], len(words)))  # overlaps count once
            part = np.bincount(
                document[start], before[end] - before[start], minlength=block.documents
            )
        shares.append(share(part, whole))
    return shares


def _of_document(codes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The codes made different from those of other documents."""
    salt = mix(np.arange(1, len(offsets), dtype=np.uint64))
    return mix(codes ^ np.repeat(salt, np.diff(offsets)))
