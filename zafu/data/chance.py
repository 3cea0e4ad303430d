"""Chance: a number for each sample that follows from what keeps samples together, and a seed.

So equal samples share it, on any machine, and dealing by it needs no state.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from zafu.data.duplicates import components, first_of
from zafu.data.instants import named
from zafu.errors import DataError
from zafu.hashing import fingerprint, key, mix
from zafu.spec import show


class Pool(NamedTuple):
    """The samples to deal, or some of them: one value each."""

    what: str  # what they are called
    prints: np.ndarray  # (n,) uint64: samples with the same one stay together
    keys: np.ndarray | None = None  # (n,) values of the column; of time, numbers that sort
    classes: np.ndarray | None = None  # (n,)

    def at(self, places: np.ndarray) -> Pool:
        """The samples at these positions."""
        keys, classes = (x if x is None else x[places] for x in (self.keys, self.classes))
        return Pool(self.what, self.prints[places], keys, classes)

    def chance(self, *seeds: int) -> np.ndarray:
        """A number in [0, 1) for each sample, `(n,)`, by its print and the seeds."""
        return (mix(self.prints ^ key(*seeds)) >> np.uint64(11)) * 2.0**-53


def there(values: np.ndarray | None) -> np.ndarray:
    """The values of a pool; raises ValueError where it lacks what its way of dealing reads."""
    if values is None:
        raise ValueError("expected a pool with keys and classes, as its way of dealing reads them")
    return values


def texts(values: np.ndarray) -> list[str]:
    """Each value as text, "" if it is missing (nan, NaT, None, or blank)."""
    if values.dtype.kind == "f":
        return ["" if value != value else str(value) for value in values.tolist()]
    plain = values.astype(str) if values.dtype.kind == "M" else values
    found = ["" if value is None else str(value).strip() for value in plain.tolist()]
    return ["" if value in ("nan", "NaT") else value for value in found]


def filled(values: np.ndarray, column: str | None, what: str) -> list[str]:
    """Each value as text; raises DataError that names the samples (from 1) without one."""
    found = texts(values)
    if missing := [place for place, value in enumerate(found) if not value]:
        where = f"data.split.column {show(column)}"
        found = named(np.array(missing), what)
        raise DataError(f"{where}: expected a value, found none in {found}")
    return found


def of_texts(values: list[str]) -> np.ndarray:
    """A fingerprint of each text, `(n,)` uint64."""
    known = {value: fingerprint(value.encode()) for value in dict.fromkeys(values)}
    return np.array([known[value] for value in values], np.uint64)


def together(prints: np.ndarray, clusters: np.ndarray | None) -> np.ndarray:
    """The fingerprints, the smallest of all for samples that a cluster or a fingerprint joins."""
    if clusters is None:
        return prints
    places = np.arange(len(prints))
    joined = [np.stack([first_of(labels), places], axis=1) for labels in (prints, clusters)]
    unit = components(len(prints), np.concatenate(joined))
    least = prints.copy()
    np.minimum.at(least, unit, prints)
    return least[unit]


def greedy(counts: np.ndarray, target: np.ndarray, have: np.ndarray) -> np.ndarray:
    """The part's index `(units,)`: where a unit brings the classes nearest to their target.

    `counts` `(units, classes)`, `target` and `have` `(parts, classes)`. The largest units come
    first, equal ones in their order. In place, `have` grows.
    """
    weight = np.divide(1, target, out=np.full(target.shape, np.inf), where=target > 0)
    place = np.zeros(len(counts), np.int64)
    for index in np.argsort(-counts.sum(axis=1), kind="stable").tolist():
        some = np.flatnonzero(counts[index])
        more = counts[index, some]
        gap = 2 * (have[:, some] - target[:, some]) * more + more**2
        best = int((gap * weight[:, some]).sum(axis=1).argmin())
        have[best, some] += more
        place[index] = best
    return place


class Units(NamedTuple):
    """What may part, in the order of its chance, by class."""

    of: np.ndarray  # (n,) int64: the unit of each sample
    counts: np.ndarray  # (units, classes) int64
    names: list[str]  # of the classes
    label: np.ndarray  # (n,) int64: the class of each sample

    @property
    def single(self) -> np.ndarray:
        """Positions of the units that have several classes or are much of one."""
        coarse = (self.counts > 1) & (self.counts * _FINE > self.counts.sum(axis=0))
        return np.flatnonzero(((self.counts > 0).sum(axis=1) > 1) | coarse.any(axis=1))


_FINE = 1000  # units of at most such a part of their class are dealt by rank


def units(chance: np.ndarray, classes: np.ndarray) -> Units:
    """The units of samples with these chances and classes."""
    different, unit = np.unique(chance, return_inverse=True)
    names, label = np.unique(np.asarray(texts(classes)), return_inverse=True)
    counts = np.zeros((len(different), len(names)), np.int64)
    np.add.at(counts, (unit, label), 1)
    return Units(unit, counts, names.tolist(), label)
