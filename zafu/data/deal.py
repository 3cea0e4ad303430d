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
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from zafu.data.contract import SPLITS
from zafu.data.duplicates import components, first_of
from zafu.data.files import refuse
from zafu.data.instants import instants, named
from zafu.errors import DataError
from zafu.hashing import fingerprint, key, mix
from zafu.spec import show

if TYPE_CHECKING:
    from zafu.data.contract import Shares

_SHOWN = 5  # values that an error names
_FINE = 1000  # units of at most such a part of their class are dealt by rank
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
    is stratified. `clusters` `(n,)` label samples that content, random and group keep together.
    Raises DataError if a value cannot be used or a split that has a share would be empty; `what`
    names the samples.
    """
    wanted = _wanted(shares)
    if shares.by == "time":
        dealt = _by_time(instants(_needed(keys, shares), what), shares)
    elif shares.by == "given":
        dealt = _as_given(_needed(keys, shares), wanted, what)
        dealt = _completed(dealt, _chance(prints, seed), wanted)
    else:
        prints = _deciding(prints, shares, keys, what)
        prints = _together(prints, clusters)
        chance = _chance(prints, seed)
        if not shares.stratify:
            dealt = _by_chance(chance, shares)
        elif classes is None:
            raise DataError("data.split.stratify: expected samples with classes, found none")
        else:
            dealt = _by_class(chance, classes, wanted, what)
    kinds = "different" if shares.by == "content" and clusters is None else "that may part"
    refuse(
        f"{len(prints)} {what} ({len(np.unique(prints))} {kinds}) leave none for the {split} "
        f"split: expected more {what}, or other shares in data.split"
        for split in SPLITS
        if wanted[split] and not len(dealt[split])
    )
    return dealt


def texts(values: np.ndarray) -> list[str]:
    """Each value as text, "" if it is missing (nan, NaT, None, or blank)."""
    if values.dtype.kind == "f":
        return ["" if value != value else str(value) for value in values.tolist()]
    plain = values.astype(str) if values.dtype.kind == "M" else values
    found = ["" if value is None else str(value).strip() for value in plain.tolist()]
    return ["" if value in ("nan", "NaT") else value for value in found]


def _wanted(shares: Shares) -> dict[str, float]:
    """The share of each split; that of training is above 0."""
    held = shares.validation + shares.test
    return dict(zip(SPLITS, (1 - held, shares.validation, shares.test), strict=True))


def _needed(keys: np.ndarray | None, shares: Shares) -> np.ndarray:
    if keys is None:
        raise DataError(
            f"data.split.by: expected samples with a column {show(shares.column)} to split by "
            f"{shares.by}, found samples without columns"
        )
    return keys


def _deciding(prints: np.ndarray, shares: Shares, keys: np.ndarray | None, what: str) -> np.ndarray:
    """The fingerprints `(n,)` by whose hash samples are dealt."""
    if shares.by == "content":
        return prints
    if shares.by == "random" and keys is None:
        return mix(np.arange(len(prints), dtype=np.uint64))
    values = texts(_needed(keys, shares))
    missing = np.flatnonzero([not value for value in values])
    if len(missing):
        column = f"data.split.column {show(shares.column)}"
        raise DataError(f"{column}: expected a value, found none in {named(missing, what)}")
    known = {value: fingerprint(value.encode()) for value in dict.fromkeys(values)}
    return np.array([known[value] for value in values], np.uint64)


def _together(prints: np.ndarray, clusters: np.ndarray | None) -> np.ndarray:
    """The fingerprints, the smallest of all for samples that a cluster or a fingerprint joins."""
    if clusters is None:
        return prints
    places = np.arange(len(prints))
    joined = [np.stack([first_of(labels), places], axis=1) for labels in (prints, clusters)]
    unit = components(len(prints), np.concatenate(joined))
    least = prints.copy()
    np.minimum.at(least, unit, prints)
    return least[unit]


def _by_chance(chance: np.ndarray, shares: Shares) -> dict[str, np.ndarray]:
    """Each sample by its own number in [0, 1), or by its rank if a split would be empty."""
    dealt = _below(chance, shares.test, shares.test + shares.validation)
    wanted = _wanted(shares)
    if any(wanted[split] and not len(dealt[split]) for split in SPLITS):
        different, ranks = np.unique(chance, return_inverse=True)
        test, validation = (
            _at_least_one(s, len(different)) for s in (shares.test, shares.validation)
        )
        dealt = _below(ranks, test, test + validation)
    return dealt


def _by_class(
    chance: np.ndarray, classes: np.ndarray, wanted: dict[str, float], what: str
) -> dict[str, np.ndarray]:
    """Each class by its shares: exactly where no unit has two classes, else as near as may be."""
    different, unit = np.unique(chance, return_inverse=True)  # units in the order of their chance
    names, label = np.unique(np.asarray(texts(classes)), return_inverse=True)
    counts = np.zeros((len(different), len(names)), np.int64)
    np.add.at(counts, (unit, label), 1)
    splits = [split for split in SPLITS if wanted[split]]
    units = (counts > 0).sum(axis=0)
    refuse(
        f"class {name!r} has {count} different {what}, expected at least {len(splits)} to stand in "
        f"{', '.join(splits)}: add some, remove the class, or set data.split.stratify=false"
        for name, count in zip(names.tolist(), units.tolist(), strict=True)
        if count < len(splits)
    )
    place = np.full(len(counts), -1)
    target = np.outer(list(wanted.values()), counts.sum(axis=0))  # (splits, classes)
    have = np.zeros_like(target)
    coarse = (counts > 1) & (counts * _FINE > counts.sum(axis=0))
    single = np.flatnonzero(((counts > 0).sum(axis=1) > 1) | coarse.any(axis=1))
    place[single] = _greedy(counts[single], target, have)
    for index, size in enumerate(counts.T):
        pure = np.flatnonzero((size > 0) & (place < 0))
        if len(pure):
            place[pure] = _ranked(
                size[pure], np.maximum(target - have, 0)[:, index], have[:, index]
            )
    return {split: np.flatnonzero(place[unit] == i) for i, split in enumerate(SPLITS)}


def _greedy(counts: np.ndarray, target: np.ndarray, have: np.ndarray) -> np.ndarray:
    """The split's index `(units,)`: where a unit brings the classes nearest to their target.

    The largest units come first, equal ones in the order of their hash. In place, `have` grows.
    """
    weight = np.divide(1, target, out=np.full_like(target, np.inf), where=target > 0)
    place = np.zeros(len(counts), np.int64)
    for index in np.argsort(-counts.sum(axis=1), kind="stable").tolist():
        some = np.flatnonzero(counts[index])
        more = counts[index, some]
        gap = 2 * (have[:, some] - target[:, some]) * more + more**2
        best = int((gap * weight[:, some]).sum(axis=1).argmin())
        have[best, some] += more
        place[index] = best
    return place


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


def _by_time(when: np.ndarray, shares: Shares) -> dict[str, np.ndarray]:
    """The newest into the test, the next into validation; samples of one moment stay together."""
    times, rank, count = np.unique(when, return_inverse=True, return_counts=True)
    upto = np.concatenate([[0], np.cumsum(count)])  # samples before each moment
    test = len(times) - _newest(upto, shares.test)
    held = test - _newest(upto[: test + 1], shares.validation * upto[-1] / max(1, upto[test]))
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


def _chance(prints: np.ndarray, seed: int) -> np.ndarray:
    """A number in [0, 1) for each fingerprint, which follows from it and the seed."""
    return (mix(prints ^ key(seed)) >> np.uint64(11)) * 2.0**-53


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
