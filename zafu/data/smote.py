"""SMOTE: more training rows of the rarer classes, between real ones of the same class.

Chawla, Bowyer, Hall & Kegelmeyer, 2002 (arXiv:1106.1813): each new row lies at a random place on
the line from a row to one of its nearest neighbours in its class. SMOTE-NC, section 6.1 there, for
categories: two rows that differ in one are further apart by the median of the numbers' standard
deviations, and a new row has the value that most of the neighbours have. Whether a number was
missing counts as a category. Neighbours are exact, and chance comes from a hash: the same rows on
any machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from pydantic import Field

from zafu.hashing import key, mix
from zafu.spec import Spec

_BLOCK = 1 << 22  # distances that are held at once, 32 MiB


class Smote(Spec):
    """Rows made up for classes that have fewer than others."""

    neighbours: int = Field(default=5, ge=1, le=32)
    """Nearest rows of the class of which one is the other end of the line, 1 to 32."""
    ratio: float = Field(default=1.0, gt=0, le=1)
    """Share of the largest class's rows that every class has afterwards at least, 0 to 1."""
    among: int = Field(default=10_000, ge=2)
    """Rows of a class that are drawn upon, at most; chosen by hash."""

    def wanted(self, targets: np.ndarray) -> dict[int, int]:
        """How many rows each class lacks, of the classes `(n,)` that there are."""
        sizes = np.bincount(targets)
        most = int(np.floor(self.ratio * sizes.max() + 1e-9))
        return {c: most - n for c, n in enumerate(sizes.tolist()) if 0 < n < most}


class Rows(NamedTuple):
    """Rows as arrays."""

    numbers: np.ndarray  # (rows, numbers) float32: between whose values lines run
    categories: np.ndarray  # (rows, categories) int64


class Made(NamedTuple):
    """New rows and what they were made of."""

    rows: Rows
    targets: np.ndarray  # (m,) int64
    ends: np.ndarray  # (m, 2) int64: positions of the rows at the ends of the line


def made(rows: Rows, targets: np.ndarray, smote: Smote, *, seed: int) -> Made:
    """The rows that the classes `(n,)` lack, class by class.

    Each class that lacks some has two rows or more.
    """
    parts = [
        _of_class(rows, np.flatnonzero(targets == label), count, (smote, seed, label))
        for label, count in smote.wanted(targets).items()
    ]
    empty = Rows(rows.numbers[:0], rows.categories[:0])
    parts = [Made(empty, targets[:0], np.zeros((0, 2), np.int64)), *parts]
    return Made(
        Rows(
            np.concatenate([part.rows.numbers for part in parts]),
            np.concatenate([part.rows.categories for part in parts]),
        ),
        np.concatenate([part.targets for part in parts]),
        np.concatenate([part.ends for part in parts]),
    )


def _of_class(rows: Rows, places: np.ndarray, count: int, how: tuple[Smote, int, int]) -> Made:
    """`count` rows made of those of one class at `places`."""
    smote, seed, label = how
    chance = mix(places.astype(np.uint64) ^ key(seed, label))
    drawn = places[np.argsort(chance, kind="stable")[: smote.among]]
    own = Rows(rows.numbers[drawn], rows.categories[drawn])
    starts = np.arange(count) % len(drawn)  # each row as often as any other, to within one
    near = neighbours(own, min(count, len(drawn)), min(smote.neighbours, len(drawn) - 1))
    random = mix(np.arange(2 * count, dtype=np.uint64) ^ key(seed, label, 1)).reshape(2, count)
    chosen = (random[0] % np.uint64(near.shape[1])).astype(np.int64)
    ends = near[starts, chosen]
    along = ((random[1] >> np.uint64(11)) * 2.0**-53)[:, None]  # in [0, 1)
    first, second = (own.numbers[at].astype(np.float64) for at in (starts, ends))
    between = (first + along * (second - first)).astype(np.float32)
    categories = _commonest(own.categories[near])[starts]
    return Made(
        Rows(between, categories),
        np.full(count, label, np.int64),
        np.stack([drawn[starts], drawn[ends]], 1),
    )


def neighbours(rows: Rows, first: int, count: int) -> np.ndarray:
    """For each of the first rows its `count` nearest others, `(first, count)`, nearest first.

    Of equally near ones the earlier is the nearer.
    """
    found = np.empty((first, count), np.int64)
    for start, distances in _distances(rows, first):
        own = np.arange(len(distances))
        distances[own, start + own] = np.inf
        reach = np.partition(distances, count - 1, axis=1)[:, count - 1]
        for i in range(len(distances)):
            within = np.flatnonzero(distances[i] <= reach[i])
            order = np.argsort(distances[i, within], kind="stable")[:count]
            found[start + i] = within[order]
    return found


def _distances(rows: Rows, first: int) -> Iterator[tuple[int, np.ndarray]]:
    """Squared distances `(some, rows)` float64 of the first rows to all, some at a time."""
    numbers = rows.numbers.astype(np.float64)
    apart = np.median(numbers.std(0)) ** 2 if numbers.shape[1] else 1.0
    step = max(1, _BLOCK // max(1, len(numbers)))
    for start in range(0, first, step):
        stop = min(first, start + step)
        found = np.zeros((stop - start, len(numbers)))
        for column in numbers.T:
            found += np.square(column[start:stop, None] - column)
        for column in rows.categories.T:
            found += apart * (column[start:stop, None] != column)
        yield start, found


def _commonest(values: np.ndarray) -> np.ndarray:
    """The value that most neighbours have, of `(m, neighbours, categories)`: `(m, categories)`.

    Of equally common ones that of the nearest.
    """
    found = np.empty((len(values), values.shape[2]), np.int64)
    for place, column in enumerate(np.moveaxis(values, 2, 0)):  # (m, neighbours)
        votes = (column[:, :, None] == column[:, None]).sum(2)
        best = votes.argmax(1)  # the first of the greatest
        found[:, place] = np.take_along_axis(column, best[:, None], 1)[:, 0]
    return found
