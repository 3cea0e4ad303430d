"""MinHash: 128 numbers of a text that agree with another text's as often as their words overlap.

Broder, 1997, "On the resemblance and containment of documents": the share of numbers in which two
sketches agree estimates the Jaccard index of the two sets of shingles (runs of `words` words).
Li, Owen & Zhang, 2012 (arXiv:1208.1259): one hash of each shingle throws it into one of 128 bins,
which keeps its smallest. Shrivastava, 2017 (arXiv:1703.04664): an empty bin borrows from the first
bin of an order of its own that is not empty; we draw that order without repeats.

A word is a run of ASCII letters, digits, underscores and bytes of other letters; a character of
three or four bytes (Chinese, Hangul, Thai, emoji) begins a word of its own, so that scripts without
spaces have shingles too. Letters' case is passed over: bit 0x20 of each byte is set, which folds
ASCII and Latin-1 (and now and then two other characters). All is done on whole arrays of bytes, in
blocks that stay in the processor's cache; memory is 512 bytes a text and about 30 times a block,
which is 256 KiB or one longer text.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import comb
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from zafu.hashing import fingerprint, key, mix

if TYPE_CHECKING:
    import polars as pl

EMPTY = np.uint32(2**32 - 1)  # in every bin of a text without words, which is near to nothing
HASHES = 128
RECALL = 0.99  # of the pairs at the threshold
_BROUGHT = 0.995  # of them by the bands; the rest may be lost to the estimate
_BLOCK = 2**19  # bytes
_TEXTS = 1024  # that are densified at once
_PAIRS = 512  # that are compared at once
_SOURCE = 255  # the bits that name a source
_LOAD = 8  # bytes of a word that are hashed at once
_LONG = 64  # bytes, from which on words are hashed one by one
_ODD, _NEXT = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_LOWER = np.uint64(0x2020202020202020)
_MASKS = np.array([2 ** (8 * size) - 1 for size in range(_LOAD + 1)], np.uint64)


def sketch(texts: pl.Series, *, words: int = 5, hashes: int = HASHES) -> np.ndarray:
    """Sketches `(n, hashes)` uint32 of the sets of runs of `words` words of texts `(n,)` String.

    A text of fewer words is one shingle of all its words; one without words is all `EMPTY`.
    """
    texts = texts.fill_null("")
    ends = np.cumsum(texts.str.len_bytes().to_numpy().astype(np.int64) + 1)
    sketches = np.full((len(texts), hashes), EMPTY, np.uint32)
    for first, last in _blocks(ends):
        joined = texts.slice(first, last - first).str.join("\n").cast(_binary())[0]
        buffer = np.frombuffer(b"".join((b"\n", joined, b"\n" * (_LONG + _LOAD))), np.uint8)
        starts = ends[first:last] - (ends[first - 1] if first else 0)  # of the next texts
        codes, counts = _words(buffer, starts)
        _throw(sketches[first:last], codes, counts, words)
    _densify(sketches)
    return sketches


class Banding(NamedTuple):
    """How sketches are compared: those that agree in all rows of a band, then in enough hashes."""

    bands: int
    rows: int  # hashes of a band
    agree: int  # hashes of all that agree in a pair that is taken for near
    recall: float  # share of the pairs at the threshold that is found

    def candidates(self, jaccard: float) -> float:
        """The chance that a pair of this Jaccard index is compared at all."""
        return 1 - (1 - jaccard**self.rows) ** self.bands


@lru_cache
def banding(threshold: float, hashes: int = HASHES) -> Banding:
    """The longest bands that bring 99.5 % of pairs at the threshold together, and what must agree.

    The estimate is binomial, with a standard error of 0.035 at 0.8: so that 99 % of the pairs at
    the threshold pass both, fewer hashes need to agree (of 128 at 0.8, 91, which are 0.71).
    """

    def brought(rows: int) -> float:
        return 1 - (1 - threshold**rows) ** (hashes // rows)

    rows = max(r for r in range(1, hashes + 1) if brought(r) >= _BROUGHT)
    chances = [
        comb(hashes, k) * threshold**k * (1 - threshold) ** (hashes - k) for k in range(hashes + 1)
    ]
    passed = np.cumsum(chances[::-1])[::-1]  # the chance of so many agreeing, or more
    agree = int(np.flatnonzero(passed * brought(rows) >= RECALL)[-1])
    return Banding(hashes // rows, rows, agree, float(passed[agree] * brought(rows)))


def bands(sketches: np.ndarray, *, threshold: float) -> np.ndarray:
    """Keys `(n, bands)` uint64: two texts that share one in its column may be near.

    At 0.8 there are 21 keys of 6 hashes: they bring 99.8 % of pairs at 0.8 together, 63 % at 0.6,
    8 % at 0.4, and 0.1 % at 0.2.
    """
    plan = banding(threshold, sketches.shape[1])
    keys = [band(sketches, plan, b) for b in range(plan.bands)]
    return np.stack(keys, axis=1) if len(sketches) else np.zeros((0, plan.bands), np.uint64)


def band(sketches: np.ndarray, plan: Banding, index: int) -> np.ndarray:
    """The keys `(n,)` uint64 of one band."""
    keys = np.broadcast_to(key(index), len(sketches))
    for row in range(index * plan.rows, (index + 1) * plan.rows):
        keys = mix(keys ^ sketches[:, row])
    return keys


def alike(sketches: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """In how many hashes the texts at these positions agree, `(pairs,)` int64; 0 if empty."""
    agree = [
        (sketches[left[i : i + _PAIRS]] == sketches[right[i : i + _PAIRS]]).sum(axis=1)
        for i in range(0, len(left), _PAIRS)
    ]
    counts = np.concatenate(agree) if agree else np.zeros(0, np.int64)
    return np.where(sketches[left, 0] == EMPTY, 0, counts)


def _blocks(ends: np.ndarray) -> Iterator[tuple[int, int]]:
    """First and last text of each block, from where the texts end."""
    first = 0
    while first < len(ends):
        begin = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, begin + _BLOCK, side="right")))
        yield first, last
        first = last


def _words(buffer: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A hash of each word `(words,)` uint64, and how many words each text has.

    `buffer` begins with a byte that is in no word and ends with 72 of them.
    """
    letter = ((buffer | 0x20) - 97) < 26
    letter |= (buffer - 48) < 10
    letter |= buffer >= 128
    letter |= buffer == 95
    edge = letter[1:] != letter[:-1]
    edge |= buffer[1:] >= 0xE0  # the first byte of a character of three or four
    edges = np.flatnonzero(edge) + 1
    inside = letter[edges]
    starts, stops = edges.compress(inside), edges[1:].compress(inside[:-1])
    lengths = stops - starts
    eights = np.ndarray((len(buffer) - _LOAD + 1,), "<u8", buffer.data, strides=(1,))
    codes = _scrambled(_without_case(eights[starts], lengths))
    more = np.flatnonzero(lengths > _LOAD)
    for offset in range(_LOAD, _LONG, _LOAD):
        if not len(more):
            break
        further = _without_case(eights[starts[more] + offset], lengths[more] - offset)
        codes[more] = _scrambled(codes[more] * _NEXT + further)
        more = more[lengths[more] > offset + _LOAD]
    if len(more):
        raw = buffer.tobytes()
        spans = zip(starts[more].tolist(), stops[more].tolist(), strict=True)
        codes[more] = [fingerprint(raw[start:stop].lower()) for start, stop in spans]
    upto = np.searchsorted(starts, ends + 1)
    return codes, np.diff(upto, prepend=0)


def _without_case(loaded: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Eight bytes each, as numbers, without the case of letters and what follows the word."""
    return (loaded | _LOWER) & _MASKS.take(lengths, mode="clip")


def _scrambled(codes: np.ndarray) -> np.ndarray:
    codes = codes * _ODD
    codes ^= codes >> np.uint64(32)
    return codes


def _throw(sketches: np.ndarray, codes: np.ndarray, counts: np.ndarray, words: int) -> None:
    """Fill the sketches `(texts, hashes)`, all EMPTY, in place from the words of their texts."""
    texts, hashes = sketches.shape
    whole = np.maximum(counts - words + 1, 0)  # shingles of each text
    # A run of words that goes on into the next text is thrown into a row that is left out.
    rows = np.stack([np.arange(texts), np.full(texts, texts)], axis=1).ravel()
    owner = np.repeat(rows, np.stack([whole, counts - whole], axis=1).ravel())
    runs = max(len(codes) - words + 1, 0)
    shingles = codes[:runs]
    for offset in range(1, words):
        shingles = shingles * _NEXT + codes[offset : runs + offset]
    short = np.flatnonzero((counts > 0) & (whole == 0))
    firsts = (np.cumsum(counts) - counts)[short]
    few = codes[firsts]
    for offset in range(1, words - 1):
        longer = counts[short] > offset
        few[longer] = few[longer] * _NEXT + codes[firsts[longer] + offset]
    thrown = mix(np.concatenate([shingles, few]))
    owner = np.concatenate([owner[:runs], short])
    bins = ((thrown >> np.uint64(32)) * np.uint64(hashes)) >> np.uint64(32)
    filled = np.full((texts + 1) * hashes, EMPTY, np.uint32)
    places = owner * hashes + bins.view(np.int64)
    np.minimum.at(filled, places, thrown.astype(np.uint32))
    sketches[:] = filled.reshape(texts + 1, hashes)[:texts]


def _densify(sketches: np.ndarray) -> None:
    """In place, each empty bin takes the value of the first of its own order that is not empty."""
    hashes = sketches.shape[1]
    orders = _orders(hashes)
    counts = (sketches != EMPTY).sum(axis=1)
    holes = np.flatnonzero((counts < hashes) & (counts > 0))
    holes = holes[np.argsort(-counts[holes], kind="stable")]
    for begin in range(0, len(holes), _TEXTS):
        texts = holes[begin : begin + _TEXTS]
        some = sketches[texts]
        sources = np.flatnonzero(some != EMPTY) % hashes  # text by text
        count = counts[texts]
        firsts = np.cumsum(count) - count
        nearest = orders[sources[firsts]]  # (texts, hashes)
        for index in range(1, count[0]):
            left = np.searchsorted(-count, -index)  # texts that have so many sources
            further = orders.take(sources[firsts[:left] + index], axis=0)
            np.minimum(nearest[:left], further, out=nearest[:left])
        places = (nearest & _SOURCE) + np.arange(len(texts))[:, None] * hashes
        sketches[texts] = some.ravel().take(places)


@lru_cache
def _orders(hashes: int) -> np.ndarray:
    """`(source, bin)`: the source's rank in the order of the bin, times 256, plus the source.

    The smallest over the sources that are not empty names the first of them; a bin's first source
    is itself.
    """
    source, own = np.indices((hashes, hashes), np.uint64)
    chance = mix(mix(source) ^ (own << np.uint64(32)))
    chance[np.arange(hashes), np.arange(hashes)] = 0
    ranks = chance.argsort(axis=0).argsort(axis=0)
    return (ranks * (_SOURCE + 1) + np.arange(hashes)[:, None]).astype(np.uint16)


def _binary() -> type[pl.Binary]:
    import polars as pl

    return pl.Binary
