"""Training samples that a recipe leaves out by id, such as those that `zafu audit` suspects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zafu.data.files import refuse
from zafu.data.ledger import Ledger, Removed
from zafu.spec import did_you_mean

STEP = "without"


def left_out(
    train: np.ndarray, ids: Sequence[str], without: Sequence[str], ledger: Ledger
) -> np.ndarray:
    """The training positions that stay; held-out samples stay where they are.

    `ids` are those of all samples. Raises DataError for one that no sample has.
    """
    if not without:
        return train
    known, gone = set(ids), set(without)
    refuse(
        f"data.without: expected ids of samples, found {name!r}"
        f"; {did_you_mean(name, known) or 'zafu audit and removed.jsonl name them'}"
        for name in without
        if name not in known
    )
    goes = np.array([ids[place] in gone for place in train.tolist()], bool)
    ledger.came(STEP, len(train))
    out: list[int] = train[goes].tolist()
    ledger.removed(STEP, [Removed(ids[place], "left out by the recipe") for place in out])
    return train[~goes]
