"""Folds: which samples are held out as one part of a partition, and which are trained on.

Stratified by rank as scikit-learn's StratifiedKFold counts, what has several classes one by one as
StratifiedGroupKFold; by time in blocks as TimeSeriesSplit; given as PredefinedSplit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zafu.data import splitters
from zafu.data.chance import Pool, filled, greedy, texts, there, units
from zafu.data.files import refuse
from zafu.errors import DataError
from zafu.spec import show

if TYPE_CHECKING:
    from zafu.data.contract import Shares
    from zafu.data.fold import Fold

_SHOWN = 8  # values that an error names
ALWAYS = "-1"  # a value of samples that are only trained on


def parted(pool: Pool, fold: Fold, shares: Shares, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the samples to train on and of those held out, each ascending int64.

    Raises DataError where these samples cannot be parted so.
    """
    if fold.dealt_elsewhere:
        return _by_splitter(pool, fold, shares, seed)
    if shares.by == "time":
        return _by_time(there(pool.keys), fold)
    number = _numbers(pool, fold, shares, seed)
    return np.flatnonzero(number != fold.fold), np.flatnonzero(number == fold.fold)


def _numbers(pool: Pool, fold: Fold, shares: Shares, seed: int) -> np.ndarray:
    """The fold of each sample, `(n,)` int64; -1 for those of none."""
    if shares.by == "given":
        return _as_given(there(pool.keys), fold, shares.column, pool.what)
    seeds = (seed, fold.repeat) if fold.repeat else (seed,)
    chance = pool.chance(*seeds)
    if not shares.stratify:
        return _by_rank(chance, fold.of, pool.what)
    return _by_class(chance, there(pool.classes), fold.of, pool.what)


def _by_rank(chance: np.ndarray, of: int, what: str) -> np.ndarray:
    """Parts of as many units, to one."""
    different, rank = np.unique(chance, return_inverse=True)
    if len(different) < of:
        found = f"{len(different)} (of {len(chance)} {what}): take fewer folds"
        raise DataError(f"data.split: expected {of} parts that may stand alone, found {found}")
    return rank * of // len(different)


def _by_class(chance: np.ndarray, classes: np.ndarray, of: int, what: str) -> np.ndarray:
    """Parts with the same number of each class, to one where no unit has two classes or samples."""
    known = units(chance, classes)
    many = (known.counts > 0).sum(axis=0).tolist()
    refuse(
        f"class {name!r} has {count} different {what}, expected at least {of} to stand in each of "
        f"{of} folds: add some, remove the class, take fewer folds or data.split.stratify=false"
        for name, count in zip(known.names, many, strict=True)
        if count < of
    )
    target = _allocated(known.label, of)
    have = np.zeros_like(target)
    place = np.full(len(known.counts), -1)
    place[known.single] = greedy(known.counts[known.single], target, have)
    for index, size in enumerate(known.counts.T):
        pure = np.flatnonzero((size > 0) & (place < 0))
        if len(pure):
            place[pure] = _ranked(size[pure], np.maximum(target - have, 0)[:, index])
    return place[known.of]


def _allocated(label: np.ndarray, of: int) -> np.ndarray:
    """How many of each class a fold wants, `(of, classes)`: as StratifiedKFold allocates them.

    In the order in which classes first occur, samples are dealt round to the folds.
    """
    first = np.unique(label, return_index=True)[1]
    order = np.argsort(np.argsort(first))  # the rank of each class by its first sample
    dealt = np.sort(order[label])
    counts = [np.bincount(dealt[part::of], minlength=len(first)) for part in range(of)]
    return np.stack(counts)[:, order]


def _ranked(sizes: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """The fold `(units,)` by where the middle of each unit stands among the samples of a class."""
    ends = np.cumsum(sizes)
    whole = missing.sum()
    if not whole:  # larger units have filled every fold
        return np.arange(len(sizes)) % len(missing)
    middle = (ends - sizes / 2) / ends[-1]
    return np.searchsorted(np.cumsum(missing) / whole, middle, side="right").clip(
        0, len(missing) - 1
    )


def _by_time(when: np.ndarray, fold: Fold) -> tuple[np.ndarray, np.ndarray]:
    """A later block, and all that is older by a gap; samples of one moment stay together."""
    times, rank, count = np.unique(when, return_inverse=True, return_counts=True)
    upto = np.concatenate([[0], np.cumsum(count)])  # samples before each moment
    size = len(when) // (fold.of + 1)
    start = len(when) - (fold.of - fold.fold) * size
    first, last = (int(np.abs(upto - at).argmin()) for at in (start, start + size))
    older = int(np.searchsorted(upto, upto[first] - fold.gap, side="right")) - 1
    if not size or first == last or older < 1:
        found = f"{len(when)} samples of {len(times)} moments"
        gap = f" and a gap of {fold.gap}" if fold.gap else ""
        raise DataError(
            f"data.split: expected {fold.of + 1} blocks of time{gap}, found {found}: take fewer "
            "folds"
        )
    return np.flatnonzero(rank < older), np.flatnonzero((rank >= first) & (rank < last))


def _as_given(keys: np.ndarray, fold: Fold, column: str | None, what: str) -> np.ndarray:
    """The place of each value among the different ones; -1 where it says to train only."""
    values = filled(keys, column, what)
    different = _ordered(set(values) - {ALWAYS, f"{ALWAYS}.0"})
    if len(different) != fold.of:
        shown = ", ".join(map(show, different[:_SHOWN])) + (", …" * (len(different) > _SHOWN))
        raise DataError(
            f"data.split.column {show(column)}: expected {fold.of} different values, one a fold, "
            f"and {ALWAYS} for {what} that are only trained on; found {len(different)}: {shown}"
        )
    place = {value: index for index, value in enumerate(different)}
    return np.array([place.get(value, -1) for value in values], np.int64)


def _ordered(values: set[str]) -> list[str]:
    """The values in order: as numbers if all are, else as text."""
    try:
        return sorted(values, key=float)
    except ValueError:
        return sorted(values)


def _by_splitter(
    pool: Pool, fold: Fold, shares: Shares, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """As a splitter deals, by time in its order; or as a file says."""
    place = (fold.fold, fold.of)
    if fold.splitter is None:
        return splitters.stored(fold.indices or "", len(pool.prints), place=place)
    order = np.arange(len(pool.prints))
    if shares.by == "time":
        order = np.argsort(there(pool.keys), kind="stable")
    known = known_of(pool.at(order), shares)
    chance = seed + fold.repeat * 2**32
    found = splitters.split(fold.splitter, fold.settings, known, place=place, chance=chance)
    train, held = (np.sort(order[places]) for places in found)
    return train, held


def known_of(pool: Pool, shares: Shares) -> splitters.Known:
    """What a splitter is told of these samples."""
    classes = None if pool.classes is None else codes(pool.classes)
    groups = codes(there(pool.keys)) if shares.by == "group" else None
    return splitters.Known(len(pool.prints), classes, groups)


def codes(values: np.ndarray) -> np.ndarray:
    """A number for each different value, `(n,)` int64, in their order."""
    found = texts(values)
    place = {value: index for index, value in enumerate(_ordered(set(found)))}
    return np.array([place[value] for value in found], np.int64)
