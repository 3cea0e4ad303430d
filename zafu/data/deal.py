"""Dealing: which sample goes to which split, decided by its content before anything is fitted.

A keyed hash of the content decides, so equal samples share a split (none leaks from training into
the test), and adding or removing samples moves no other. Only where so few are left that a split
would be empty, the hash ranks the samples and each split has its share of the ranks, at least one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zafu.data.contract import SPLITS
from zafu.data.files import refuse
from zafu.hashing import key, mix

if TYPE_CHECKING:
    from zafu.data.contract import Shares


def deal(prints: np.ndarray, shares: Shares, *, seed: int, what: str) -> dict[str, np.ndarray]:
    """Positions of the samples of each split, ascending int64, from fingerprints `(n,)` uint64.

    Raises DataError if a split that has a share would be empty; `what` names the samples.
    """
    chance = (mix(prints ^ key(seed)) >> np.uint64(11)) * 2.0**-53  # in [0, 1)
    dealt = _below(chance, shares.test, shares.test + shares.validation)
    wanted = {"train": 1.0, "validation": shares.validation, "test": shares.test}
    if any(wanted[split] and not len(dealt[split]) for split in SPLITS):
        different, ranks = np.unique(chance, return_inverse=True)
        test, validation = (
            _at_least_one(s, len(different)) for s in (shares.test, shares.validation)
        )
        dealt = _below(ranks, test, test + validation)
    refuse(
        f"{len(prints)} {what} ({len(np.unique(prints))} different) leave none for the {split} "
        f"split: expected more {what}, or other shares in data.split"
        for split in SPLITS
        if wanted[split] and not len(dealt[split])
    )
    return dealt


def _below(values: np.ndarray, test: float, validation: float) -> dict[str, np.ndarray]:
    """The positions of values below the first bound, below the second, and of the others."""
    return {
        "train": np.flatnonzero(values >= validation),
        "validation": np.flatnonzero((values >= test) & (values < validation)),
        "test": np.flatnonzero(values < test),
    }


def _at_least_one(share: float, count: int) -> int:
    return max(1, round(share * count)) if share else 0
