"""Dealing: which sample goes to which split, decided before anything is fitted.

By content, a keyed hash of it decides, so equal samples share a split (none leaks from training
into the test), and adding or removing samples moves no other. Only where so few are left that a
split would be empty, the hash ranks the samples and each split has its share of the ranks, at least
one. By group and at random the hash is of the group's value or the sample's id; samples that are
said to belong together (`clusters`) then move as one, by the smallest of their hashes.

Stratified, what has several classes or is much of one (groups, clusters) is dealt one by one to the
split whose classes want it most, as scikit-learn's StratifiedGroupKFold does; then the hash ranks
the others within each class. By time and as given, each sample goes where its value says, whatever
belongs to it: `leaks.py` tells what that parts.

Where the test is a fold it is dealt first (`folds.py`), then validation from what it leaves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from zafu.data import folds
from zafu.data.chance import Pool, filled, greedy, of_texts, texts, there, together, units
from zafu.data.contract import SPLITS
from zafu.data.files import refuse
from zafu.data.fold import Fold
from zafu.data.instants import instants, named
from zafu.errors import DataError
from zafu.hashing import mix
from zafu.spec import show

if TYPE_CHECKING:
    from zafu.data.contract import Shares

_SHOWN = 5  # values that an error names
_AGAIN = 1  # tells the chance of a validation share from that of the fold before it
_SPELLINGS = {"train": "train", "test": "test"} | dict.fromkeys(
    ("validation", "valid", "val", "dev"), "validation"
)


def deal(
    prints: np.ndarray,
    shares: Shares,
    *,
    seed: int,
    what: str,
    keys: np.ndarray | None = None,
    classes: np.ndarray | None = None,
    clusters: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Positions of the samples of each split, ascending int64, from fingerprints `(n,)` uint64.

    `keys` `(n,)` are the values of `shares.column`, numbers or text, missing ones nan, None or "";
    for a random split ids, without which the position is the id. `classes` `(n,)` are read where it
    is stratified, and by splitters. `clusters` `(n,)` label samples that content, random and group
    keep together. Only folds by time and of splitters may leave samples out. Raises DataError if a
    value cannot be used or a split that has a share would be empty; `what` names the samples.
    """
    if shares.stratify and classes is None:
        raise DataError("data.split.stratify: expected samples with classes, found none")
    prints, keys = _deciding(prints, shares, keys, clusters, what=what)
    pool = Pool(what, prints, keys, classes)
    validation, test = shares.validation, shares.test
    if isinstance(validation, Fold) or isinstance(test, Fold):
        dealt = _in_turn(pool, shares, seed)
    else:
        dealt = _by_shares(pool, shares, _wanted(validation, test), seed)
    held = {"validation": validation, "test": test}
    kinds = "different" if shares.by == "content" and clusters is None else "that may part"
    refuse(
        f"{len(prints)} {what} ({len(np.unique(prints))} {kinds}) leave none for the {split} "
        f"split: expected more {what}, or other shares in data.split"
        for split in SPLITS
        if held.get(split, 1) and not len(dealt[split])
    )
    return dealt


def _by_shares(
    pool: Pool, shares: Shares, wanted: dict[str, float], seed: int
) -> dict[str, np.ndarray]:
    """All splits at once, where none is a fold."""
    if shares.by == "time":
        return _by_time(there(pool.keys), wanted)
    chance = pool.chance(seed)
    if shares.by == "given":
        return _completed(_as_given(there(pool.keys), wanted, pool.what), chance, wanted)
    if shares.stratify:
        return _by_class(chance, there(pool.classes), wanted, pool.what)
    return _by_chance(chance, wanted)


def _in_turn(pool: Pool, shares: Shares, seed: int) -> dict[str, np.ndarray]:
    """The test, then validation from what it leaves; one of them at least is a fold."""
    repeat = 0
    if isinstance(shares.test, Fold):
        repeat = shares.test.repeat
        rest, test = folds.parted(pool, shares.test, shares, seed=seed)
    else:
        alone = _by_shares(pool, shares, _wanted(0.0, shares.test), seed)
        rest, test = alone["train"], alone["test"]
    left = pool.at(rest)
    if isinstance(shares.validation, Fold):
        train, validation = folds.parted(left, shares.validation, shares, seed=seed)
    else:
        wanted = _wanted(shares.validation, 0.0)
        dealt = _of_rest(left, shares, wanted, (seed, repeat, _AGAIN))
        train, validation = dealt["train"], dealt["validation"]
    return {"train": rest[train], "validation": rest[validation], "test": test}


def _of_rest(
    left: Pool, shares: Shares, wanted: dict[str, float], seeds: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """A validation split of what a test fold leaves; its size is exact, as the fold's is."""
    if not wanted["validation"]:
        return {"train": np.arange(len(left.prints)), "validation": np.arange(0)}
    if shares.by == "time":
        return _by_time(there(left.keys), wanted)
    chance = left.chance(*seeds)
    if shares.stratify:
        return _by_class(chance, there(left.classes), wanted, left.what)
    return _by_rank(chance, wanted)


def _wanted(validation: float, test: float) -> dict[str, float]:
    """The share of each split; that of training is above 0."""
    return dict(zip(SPLITS, (1 - (validation + test), validation, test), strict=True))


def _needed(keys: np.ndarray | None, shares: Shares) -> np.ndarray:
    if keys is None:
        raise DataError(
            f"data.split.by: expected samples with a column {show(shares.column)} to split by "
            f"{shares.by}, found samples without columns"
        )
    return keys


def _deciding(
    prints: np.ndarray,
    shares: Shares,
    keys: np.ndarray | None,
    clusters: np.ndarray | None,
    *,
    what: str,
) -> tuple[np.ndarray, np.ndarray | None]:
    """The fingerprints `(n,)` by whose hash samples are dealt, and the values that are read."""
    if shares.by == "time":
        return prints, instants(_needed(keys, shares), what)
    if shares.by == "given":
        return prints, _needed(keys, shares)
    if shares.by == "random" and keys is None:
        prints = mix(np.arange(len(prints), dtype=np.uint64))
    elif shares.by != "content":
        prints = of_texts(filled(_needed(keys, shares), shares.column, what))
    return together(prints, clusters), keys


def _by_chance(chance: np.ndarray, wanted: dict[str, float]) -> dict[str, np.ndarray]:
    """Each sample by its own number in [0, 1), or by its rank if a split would be empty."""
    test, validation = wanted["test"], wanted["validation"]
    dealt = _below(chance, test, test + validation)
    if any(wanted[split] and not len(dealt[split]) for split in SPLITS):
        return _by_rank(chance, wanted)
    return dealt


def _by_rank(chance: np.ndarray, wanted: dict[str, float]) -> dict[str, np.ndarray]:
    """Each sample by the rank of its number; a split that has a share gets at least one."""
    different, ranks = np.unique(chance, return_inverse=True)
    test, validation = (
        _at_least_one(wanted[split], len(different)) for split in ("test", "validation")
    )
    return _below(ranks, test, test + validation)


def _by_class(
    chance: np.ndarray, classes: np.ndarray, wanted: dict[str, float], what: str
) -> dict[str, np.ndarray]:
    """Each class by its shares: exactly where no unit has two classes, else as near as may be."""
    known = units(chance, classes)
    splits = [split for split in SPLITS if wanted[split]]
    many = (known.counts > 0).sum(axis=0).tolist()
    refuse(
        f"class {name!r} has {count} different {what}, expected at least {len(splits)} to stand in "
        f"{', '.join(splits)}: add some, remove the class, or set data.split.stratify=false"
        for name, count in zip(known.names, many, strict=True)
        if count < len(splits)
    )
    place = np.full(len(known.counts), -1)
    target = np.outer(list(wanted.values()), known.counts.sum(axis=0))  # (splits, classes)
    have = np.zeros_like(target)
    place[known.single] = greedy(known.counts[known.single], target, have)
    for index, size in enumerate(known.counts.T):
        pure = np.flatnonzero((size > 0) & (place < 0))
        if len(pure):
            place[pure] = _ranked(
                size[pure], np.maximum(target - have, 0)[:, index], have[:, index]
            )
    return {split: np.flatnonzero(place[known.of] == i) for i, split in enumerate(SPLITS)}


def _ranked(sizes: np.ndarray, missing: np.ndarray, have: np.ndarray) -> np.ndarray:
    """The split's index `(units,)` by where the middle of each unit stands among the samples.

    `missing` `(splits,)` is how many each split still wants. One that wants some, but has none
    (`have`) and would get none, gets at least one unit.
    """
    _, validation, test = missing / missing.sum() if missing.sum() else (1.0, 0.0, 0.0)
    ends = np.cumsum(sizes)
    middle = (ends - sizes / 2) / ends[-1]
    found = np.where(middle < test, 2, np.where(middle < test + validation, 1, 0))
    if all(
        got or not wants or i in found
        for i, (wants, got) in enumerate(zip(missing, have, strict=True))
    ):
        return found
    ranks, few = np.arange(len(sizes)), _at_least_one(test, len(sizes))
    more = few + _at_least_one(validation, len(sizes))
    return np.where(ranks < few, 2, np.where(ranks < more, 1, 0))


def _by_time(when: np.ndarray, wanted: dict[str, float]) -> dict[str, np.ndarray]:
    """The newest into the test, the next into validation; samples of one moment stay together."""
    times, rank, count = np.unique(when, return_inverse=True, return_counts=True)
    upto = np.concatenate([[0], np.cumsum(count)])  # samples before each moment
    test = len(times) - _newest(upto, wanted["test"])
    held = test - _newest(upto[: test + 1], wanted["validation"] * upto[-1] / max(1, upto[test]))
    return {
        "train": np.flatnonzero(rank < held),
        "validation": np.flatnonzero((rank >= held) & (rank < test)),
        "test": np.flatnonzero(rank >= test),
    }


def _newest(upto: np.ndarray, share: float) -> int:
    """How many of the last moments hold nearest to a share of the samples, at least one."""
    held = upto[-1] - upto[::-1]  # samples in the last 0, 1, ... moments
    nearest = int(np.abs(held - share * upto[-1]).argmin())
    return max(1, nearest) if share and len(upto) > 1 else 0


def _as_given(keys: np.ndarray, wanted: dict[str, float], what: str) -> dict[str, np.ndarray]:
    """Each sample in the split that its value names; DataError lists all values that name none."""
    values = texts(keys)
    names = list(dict.fromkeys(values))
    unknown = [value for value in names if value.lower() not in _SPELLINGS]
    rows = {value: np.flatnonzero([v == value for v in values]) for value in unknown[:_SHOWN]}
    refuse(_faults_of_names(rows, len(unknown), what))
    splits = np.array([SPLITS.index(_SPELLINGS[value.lower()]) for value in values], np.int64)
    dealt = {split: np.flatnonzero(splits == i) for i, split in enumerate(SPLITS)}
    refuse(
        f"data.split.{split}: expected a share, as {len(dealt[split]):,} {what} are given to "
        f"{split}, found 0"
        for split in SPLITS
        if len(dealt[split]) and not wanted[split]
    )
    return dealt


def _completed(
    dealt: dict[str, np.ndarray], chance: np.ndarray, wanted: dict[str, float]
) -> dict[str, np.ndarray]:
    """Where no sample is given to a held-out split: its share of the training samples, by chance.

    So a set that comes with a test split alone has a validation split too.
    """
    share = {split: 0.0 if len(dealt[split]) else wanted[split] for split in SPLITS[1:]}
    train = dealt["train"]
    taken = _below(chance[train], share["test"], share["test"] + share["validation"])
    return {
        split: train[taken[split]] if split == "train" or share[split] else dealt[split]
        for split in SPLITS
    }


def _faults_of_names(rows: dict[str, np.ndarray], count: int, what: str) -> Iterable[str]:
    for value, places in rows.items():
        found = show(value) if value else "nothing"
        yield (
            f"{named(places, what)}: expected train, validation (valid, val, dev) or test, "
            f"found {found}"
        )
    if count > len(rows):
        yield f"and {count - len(rows):,} more values"


def _below(values: np.ndarray, test: float, validation: float) -> dict[str, np.ndarray]:
    """The positions of values below the first bound, below the second, and of the others."""
    return {
        "train": np.flatnonzero(values >= validation),
        "validation": np.flatnonzero((values >= test) & (values < validation)),
        "test": np.flatnonzero(values < test),
    }


def _at_least_one(share: float, count: int) -> int:
    return max(1, round(share * count)) if share else 0
