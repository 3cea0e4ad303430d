r"""The words and lines of many documents at once, as arrays of where they begin and end.

Words are what Unicode white space divides; lines are divided by "\n" and count where they hold a
word. Documents are taken in blocks that stay in the cache of a core; a block is an array of
characters, one byte wide where that suffices, so that every length is one of characters.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np

if TYPE_CHECKING:
    import polars as pl

BLOCK = 1 << 17  # characters; a longer document is a block by itself
# the property White_Space of Unicode, beyond ASCII
_WIDE_SPACES = (0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000)
_IS_SPACE = np.isin(np.arange(0x3002), _WIDE_SPACES)
_BASE = 0x9E3779B97F4A7C15  # odd: multiplying by it loses nothing modulo 2**64


class Spans(NamedTuple):
    """Runs of words: lines or paragraphs."""

    first: np.ndarray  # (spans,) the first word of each
    last: np.ndarray  # (spans,) its last word
    offsets: np.ndarray  # (documents + 1,) where the spans of each document begin


@final
class Block:
    """Some documents in a row.

    `starts` and `ends` `(words,)` are the words' places in `text` `(characters,)`; document i has
    the words `offsets[i]` to `offsets[i + 1]`.
    """

    def __init__(self, documents: list[str]) -> None:
        self.text = _characters("\n".join([*documents, ""]))
        space = _spaces(self.text)
        edges = np.flatnonzero(space[1:] != space[:-1]) + 1
        if not space[0]:
            edges = np.concatenate([[0], edges])
        self.starts, self.ends = edges[0::2], edges[1::2]
        sizes = np.fromiter(map(len, documents), np.int64, len(documents))
        first = np.concatenate([[0], np.cumsum(sizes + 1)])  # a line end after each document
        self.offsets = np.searchsorted(self.starts, first)

    @property
    def documents(self) -> int:
        """Number of documents."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Characters of each word, `(words,)`."""
        return self.ends - self.starts

    @cached_property
    def lines(self) -> Spans:
        """The lines that hold a word."""
        return self._spans(self._line_of_first_word[1])

    @cached_property
    def paragraphs(self) -> Spans:
        """The runs of lines between blank ones."""
        number, first = self._line_of_first_word
        alone = np.ones(len(first), bool)
        alone[1:] = np.diff(number) > 1
        begins = np.zeros(len(self.starts) + 1, bool)
        begins[self.offsets] = True  # a document
        alone |= begins[first]
        return self._spans(first[alone])

    def sums(self, values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """The sum of the values that lie between each two offsets, int64."""
        total = np.zeros(len(values) + 1, np.int64)
        np.cumsum(values, out=total[1:])
        return total[offsets[1:]] - total[offsets[:-1]]

    def sizes(self, spans: Spans) -> np.ndarray:
        """Characters from the first word's first to the last word's last of each span."""
        return self.ends[spans.last] - self.starts[spans.first]

    def with_letter(self) -> np.ndarray:
        """Which words hold an alphabetic character, `(words,)` bool."""
        letter = ((self.text | 32) - self.text.dtype.type(97)) < 26
        if self.text.itemsize > 1:
            wide = np.flatnonzero(self.text >= 128)
            letter[wide] = _alphabetic(self.text[wide])
        found = letter[self.starts]  # as most words do, so the others alone are searched
        rest = np.flatnonzero(~found & (self.lengths > 1))
        if len(rest):
            bounds = np.stack([self.starts[rest], self.ends[rest]], axis=1).ravel()
            found[rest] = np.logical_or.reduceat(letter, bounds)[::2]
        return found

    def codes(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """A number for each stretch of the text, `(n,)` uint64: equal text in it, equal number.

        It is the sum of c[i] * base**i modulo 2**64, had as a difference of two sums, brought to
        the same power of the base wherever it starts.
        """
        size = len(self.text)
        return (self._sums_of_powers[ends] - self._sums_of_powers[starts]) * _powers(size)[
            -1 - starts
        ]

    @cached_property
    def _sums_of_powers(self) -> np.ndarray:
        size = len(self.text)
        total = np.zeros(size + 1, np.uint64)
        np.cumsum((self.text + np.uint64(1)) * _powers(size), out=total[1:])
        return total

    @cached_property
    def _line_of_first_word(self) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of the lines that hold words, and the first word of each."""
        ends = np.flatnonzero(self.text == 10)  # the text ends with one
        words = np.concatenate([[0], np.searchsorted(self.starts, ends)])
        number = np.flatnonzero(np.diff(words))
        return number, words[number]

    def _spans(self, first: np.ndarray) -> Spans:
        last = np.append(first[1:], len(self.starts)) - 1 if len(first) else first
        return Spans(first, last, np.searchsorted(first, self.offsets))


def blocks(texts: pl.Series) -> Iterator[Block]:
    """The documents, in order, in blocks."""
    held: list[str] = []
    size = 0
    for text in texts.to_list():
        if held and size + len(text) > BLOCK:
            yield Block(held)
            held, size = [], 0
        held.append(text)
        size += len(text) + 1
    if held:
        yield Block(held)


def _powers(size: int) -> np.ndarray:
    """The first powers of the base modulo 2**64, `(size,)`."""
    enough = 1 << max(18, size.bit_length())
    return _known_powers(enough)[:size]


@lru_cache(maxsize=1)
def _known_powers(size: int) -> np.ndarray:
    power = np.full(size, _BASE, np.uint64)
    power[0] = 1
    np.multiply.accumulate(power, out=power)
    power.flags.writeable = False
    return power


def _characters(text: str) -> np.ndarray:
    """The code points, in the narrowest of one (ASCII alone), two and four bytes."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    raw = text.encode("utf-16-le")
    if len(raw) == 2 * len(text):
        return np.frombuffer(raw, "<u2")
    return np.frombuffer(text.encode("utf-32-le"), "<u4")


def _spaces(text: np.ndarray) -> np.ndarray:
    """Which characters are white space."""
    space = (text - text.dtype.type(9)) < 5
    space |= text == 32
    if text.itemsize > 1:
        wide = np.flatnonzero(text >= 128)
        space[wide] = _IS_SPACE[np.minimum(text[wide], len(_IS_SPACE) - 1)]
    return space


def _alphabetic(characters: np.ndarray) -> np.ndarray:
    """Which characters Unicode has as letters, as `str.isalpha` knows it."""
    known, places = np.unique(characters, return_inverse=True)
    return np.fromiter((chr(c).isalpha() for c in known.tolist()), bool, len(known))[places]
