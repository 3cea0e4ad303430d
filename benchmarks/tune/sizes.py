"""What all contestants train: 20 settings of a small network on five folds of the digits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

FOLDS, EPOCHS, BATCH = 5, 10, 32
WIDTH = 64  # of each of two hidden layers
RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
DECAYS = (0.0, 1e-3, 1e-2, 1e-1)


class Setting(NamedTuple):
    """Of AdamW."""

    lr: float
    weight_decay: float


def settings(count: int) -> list[Setting]:
    """The first so many, at most 20, evenly over learning rates and decays."""
    every = [Setting(lr, decay) for lr in RATES for decay in DECAYS]
    return [every[i * len(every) // count] for i in range(count)]


def samples() -> tuple[np.ndarray, np.ndarray]:
    """The digits, `(1797, 64)` float32 between 0 and 1, and their classes."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return (digits.data / 16).astype(np.float32), digits.target.astype(np.int64)


def folds(targets: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows to train on and rows to judge, of each fold."""
    from sklearn.model_selection import StratifiedKFold

    found = StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(targets, targets)
    return [(train, held) for train, held in found]
