"""Fitting z-scores: zafu's moments beside scikit-learn's scalers, on the same blocks of numbers.

    python benchmarks/data/normalize.py [REPEATS]

Both see the same float64 rows in the same blocks, in one process on one thread, in turns (the order
changes with each), so that a busy machine meets both alike. A figure is the median of the repeats
in MB of one core's second, a ratio the median of the ratios of each turn, with its 95 % interval
from order statistics. zafu's moments know least and greatest too; "both scalers" is what
scikit-learn does for the same facts. Below it: what remains of a variance at a mean of 1e9.
"""

from __future__ import annotations

import os
import sys

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # before numpy is loaded

import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from math import comb

import numpy as np
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from zafu.data.moments import Moments

MEGABYTES = 64
SHAPES = (
    (1, 8192),
    (4, 8192),
    (16, 8192),
    (64, 8192),
    (784, 1024),
    (16, 0),
)  # columns, rows at once
Fit = Callable[[Sequence[np.ndarray]], object]


def main(repeats: int) -> None:
    random = np.random.default_rng(0)
    print(f"{repeats} turns, {MEGABYTES} MB of float64; MB/core-s, and zafu as a multiple")
    print(f"{'columns':>8}{'rows at once':>14}{'zafu':>7}{'z-score':>9}{'ratio':>22}", end="")
    print(f"{'both scalers':>14}{'ratio':>22}")
    for columns, at_once in SHAPES:
        rows = random.normal(size=(MEGABYTES * 10**6 // 8 // columns, columns))
        step = at_once or len(rows)
        blocks = [rows[i : i + step] for i in range(0, len(rows), step)]
        times = in_turns((ours, standard, both), blocks, repeats)
        speed = [rows.nbytes / 1e6 / np.median(taken) for taken in times]
        one, two = (interval(taken / times[0]) for taken in times[1:])
        told = f"{columns:>8}{at_once or 'all':>14}{speed[0]:>7.0f}"
        print(f"{told}{speed[1]:>9.0f}{one:>22}{speed[2]:>14.0f}{two:>22}", flush=True)
    print("\nrelative error of the variance of whole numbers about a mean of 1e9")
    for name, error in errors().items():
        print(f"  {name:<28}{error:.1e}")


def ours(blocks: Sequence[np.ndarray]) -> Moments:
    found = Moments.none(blocks[0].shape[1])
    for block in blocks:
        found = found.merge(Moments.of(block))
    return found


def standard(blocks: Sequence[np.ndarray]) -> StandardScaler:
    scaler = StandardScaler()
    for block in blocks:
        scaler.partial_fit(block)
    return scaler


def both(blocks: Sequence[np.ndarray]) -> MinMaxScaler:
    standard(blocks)
    scaler = MinMaxScaler()
    for block in blocks:
        scaler.partial_fit(block)
    return scaler


def in_turns(fits: Sequence[Fit], blocks: Sequence[np.ndarray], repeats: int) -> list[np.ndarray]:
    """CPU seconds of each fit in each turn, after one that is not counted."""
    times = np.empty((len(fits), repeats + 1))
    for turn in range(repeats + 1):
        for i in range(len(fits)):
            which = (i + turn) % len(fits)
            began = time.process_time()
            fits[which](blocks)
            times[which, turn] = time.process_time() - began
    return list(times[:, 1:])


def interval(ratios: np.ndarray) -> str:
    """The median and the order statistics that hold it in 95 % of cases."""
    ordered, n = np.sort(ratios), len(ratios)
    tail, place = 0.0, 0
    while (tail := tail + comb(n, place) / 2**n) <= 0.025:
        place += 1
    low, high = ordered[max(place - 1, 0)], ordered[n - max(place, 1)]
    return f"{np.median(ratios):.2f} [{low:.2f}, {high:.2f}]"


def errors() -> dict[str, float]:
    """Of each way, against the variance in whole numbers, which has none."""
    values = np.random.default_rng(0).integers(0, 12, 100_000)
    total, squares = int(values.sum()), int(np.square(values).sum())
    true = float(Fraction(squares, len(values)) - Fraction(total, len(values)) ** 2)
    far = (values + 1_000_000_000).astype(np.float64)[:, None]
    found = {
        "zafu": Moments.of(far).variance[0],
        "zafu, merged from 13 parts": ours(np.array_split(far, 13)).variance[0],
        "scikit-learn": StandardScaler().fit(far).var_[0],
        "scikit-learn, 13 parts": standard(np.array_split(far, 13)).var_[0],
        "E[x^2] - E[x]^2": np.mean(far**2) - np.mean(far) ** 2,
    }
    return {name: float(abs(value / true - 1)) for name, value in found.items()}


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 21)
