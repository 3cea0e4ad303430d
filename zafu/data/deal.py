"""Dealing: which sample goes to which split, decided by its content before anything is fitted.

A keyed hash of the content decides, so equal samples share a split (none leaks from training into
the test), and adding or removing samples moves no other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zafu.data.contract import SPLITS
from zafu.data.files import refuse
from zafu.data.hashing import key, mix

if TYPE_CHECKING:
    from zafu.data.contract import Shares


def deal(prints: np.ndarray, shares: Shares, *, seed: int, what: str) -> dict[str, np.ndarray]:
    """Positions of the samples of each split, ascending int64, from fingerprints `(n,)` uint64.

    Raises DataError if a split that has a share would be empty; `what` names the samples.
    """
    chance = (mix(prints ^ key(seed)) >> np.uint64(11)) * 2.0**-53  # in [0, 1)
    test = chance < shares.test
    validation = ~test & (chance < shares.test + shares.validation)
    masks = {"train": ~(test | validation), "validation": validation, "test": test}
    wanted = {"train": 1.0, "validation": shares.validation, "test": shares.test}
    refuse(
        f"{len(prints)} {what} ({len(np.unique(prints))} different) leave none for the {split} "
        f"split: expected more {what}, or other shares in data.split"
        for split in SPLITS
        if wanted[split] > 0 and not masks[split].any()
    )
    return {split: np.flatnonzero(masks[split]) for split in SPLITS}
