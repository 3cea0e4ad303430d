"""Duplicates: samples that repeat an earlier one, exactly or nearly, and what belongs together.

The first in order stays. A near duplicate is removed only for an earlier sample that itself stays
and whose likeness was verified (for texts by their sketches, `minhash.py`): so no chain of small
changes removes what is unlike all that is kept. The chains still decide what must share a split:
those are the connected components of all verified pairs.

Leskovec, Rajaraman & Ullman, 2014, "Mining of Massive Datasets", chapter 3, for the bands; Lee et
al., 2022 (arXiv:2107.06499), for what duplicates do to language models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pydantic import Field

from zafu.data import minhash
from zafu.spec import Spec

if TYPE_CHECKING:
    import polars as pl

REACH = 8  # with so many before it and so many first ones is each of a bucket compared
Near = Callable[[np.ndarray], np.ndarray]  # positions (m,) to pairs (k, 2) of indices into them


class NearDuplicates(Spec):
    """Texts that share most runs of words."""

    threshold: float = Field(default=0.8, ge=0.5, le=1)
    """Jaccard index of the runs of words, 0.5 to 1, from which on 99 % of the pairs are found."""
    words: int = Field(default=5, ge=1, le=64)
    """Words of a run, 1 to 64."""

    def sketch(self, texts: pl.Series) -> np.ndarray:
        """What `pairs` compares, `(n, 128)` uint32, of texts `(n,)`."""
        return minhash.sketch(texts, words=self.words)

    def pairs(self, sketches: np.ndarray) -> np.ndarray:
        """The near pairs `(k, 2)` of sketches `(n, hashes)`, as `near_pairs` says."""
        return near_pairs(sketches, threshold=self.threshold)


class Duplicates(Spec):
    """Which repetitions are removed before the samples are dealt to splits."""

    exact: bool = True
    """Whether exact copies of an earlier sample go."""
    near: NearDuplicates | None = None
    """Texts that nearly repeat an earlier one go too (exact copies with them); null: they stay."""


class Found(NamedTuple):
    """What repeats what, by position."""

    twins: np.ndarray  # (n,) int64: the earlier sample that this one repeats; -1 if it stays
    exact: np.ndarray  # (n,) bool: it is an exact copy of its twin, not just near to it
    groups: np.ndarray  # (n,) int64: the first sample of all that belong together, itself or less
    pairs: np.ndarray  # (k, 2) int64: verified near pairs of different samples, the earlier first

    def among(self, kept: np.ndarray) -> Found:
        """The same of the samples at these ascending positions alone, counted anew from 0."""
        new = np.full(len(self.twins), -1)
        new[kept] = np.arange(len(kept))
        groups = self.groups[kept]
        _, first, label = np.unique(groups, return_index=True, return_inverse=True)
        pairs = new[self.pairs]
        twins = np.where(self.twins[kept] >= 0, new[self.twins[kept]], -1)
        exact = self.exact[kept] & (twins >= 0)
        return Found(twins, exact, first[label], pairs[(pairs >= 0).all(axis=1)])


def clusters(prints: np.ndarray, near: Near | None = None) -> Found:
    """Duplicates among samples with these fingerprints `(n,)` uint64, and near ones by `near`.

    `near` is given the positions of the samples without their exact copies. Of each near duplicate
    the twin is the earliest near sample that stays; of an exact copy the first of its kind, which
    may itself be a near duplicate.
    """
    firsts = first_of(prints)
    places = np.arange(len(prints))
    exact = firsts != places
    known = np.where(exact, firsts, -1).tolist()
    pairs = np.zeros((0, 2), np.int64)
    if near is not None:
        different = np.flatnonzero(~exact)
        pairs = np.sort(different[near(different).reshape(-1, 2)], axis=1)
        pairs = pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]
        # In the order of the later, so that what concerns the earlier is settled.
        for early, late in zip(pairs[:, 0].tolist(), pairs[:, 1].tolist(), strict=True):
            if known[early] < 0 and known[late] < 0:
                known[late] = early
    joined = np.concatenate([pairs, np.stack([firsts, places], axis=1)[exact]])
    return Found(np.array(known, np.int64), exact, components(len(prints), joined), pairs)


def first_of(values: np.ndarray) -> np.ndarray:
    """The position `(n,)` of the first value that is equal to each."""
    _, first, label = np.unique(values, return_index=True, return_inverse=True)
    return first[label]


def components(n: int, pairs: np.ndarray) -> np.ndarray:
    """The smallest position `(n,)` that each is connected to by pairs `(k, 2)`.

    Union by the smallest label with path halving, over all pairs at once, until nothing changes.
    """
    labels = np.arange(n)
    while True:
        left, right = labels[pairs[:, 0]], labels[pairs[:, 1]]
        apart = left != right
        if not apart.any():
            return labels
        pairs, low = pairs[apart], np.minimum(left, right)[apart]
        np.minimum.at(labels, np.maximum(left, right)[apart], low)
        while not np.array_equal(labels, further := labels[labels]):
            labels = further


def near_pairs(sketches: np.ndarray, *, threshold: float) -> np.ndarray:
    """Pairs `(k, 2)` int64, the earlier first, whose sketches show at least this Jaccard index.

    A pair at the threshold is found with 99 % chance: it shares a band (99.8 % at 0.8), then enough
    hashes (99.4 %; pairs somewhat below the threshold pass too, at 0.8 half of those at 0.71).
    Texts that share a band are all compared, up to 17 of them; of more each with the 8 first and
    the 8 before it. Memory is some 50 bytes a text beside the sketches.
    """
    some = np.flatnonzero(sketches[:, 0] != minhash.EMPTY)
    plan = minhash.banding(threshold, sketches.shape[1])
    found: list[np.ndarray] = [np.zeros(0, np.int64)]
    for index in range(plan.bands):
        keys = minhash.band(sketches, plan, index)[some]
        for first, second in _together(keys):
            early, late = some[first], some[second]
            like = minhash.alike(sketches, early, late) >= plan.agree
            found.append(early[like] * len(sketches) + late[like])
    pairs = np.sort(np.concatenate(found))
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]
    return np.stack(np.divmod(pairs, max(1, len(sketches))), axis=1)


def _together(keys: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Positions of pairs with equal keys, the earlier first.

    Positions are packed below the highest bits of the keys, so that one sort of plain numbers is
    enough; keys that differ only lower are taken for equal, and their pairs refuted later.
    """
    bits = np.uint64(max(1, len(keys) - 1).bit_length())
    packed = np.sort((keys >> bits << bits) | np.arange(len(keys), dtype=np.uint64))
    heads = packed >> bits
    new = np.ones(len(keys) + 1, bool)
    new[1:-1] = heads[1:] != heads[:-1]
    shared = ~(new[:-1] & new[1:])
    places = (packed[shared] & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
    start = np.flatnonzero(new[:-1][shared])
    sizes = np.diff(start, append=len(places))
    starts = np.repeat(start, sizes)
    ranks = np.arange(len(places)) - starts
    for back in range(1, REACH + 1):
        late = np.flatnonzero(ranks >= back)
        if not len(late):
            return
        yield places[late - back], places[late]
    for lead in range(REACH):
        late = np.flatnonzero(ranks - lead > REACH)
        yield places[starts[late] + lead], places[late]
