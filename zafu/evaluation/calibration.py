"""Calibration: whether a model that is 80 % sure is right 80 % of the time, and what mends it.

Reliability in bins of confidence, and one temperature by which logits are divided, the one with the
least loss on the validation split: Guo et al., 2017 (arXiv:1706.04599). The test split is never
seen; the most likely class, and so the accuracy, stays what it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zafu.artifact import read_json
from zafu.measure import share
from zafu.metrics import BINS, bin_of
from zafu.task import Classification

FILE = "calibration.json"  # in a model folder
COLDEST, HOTTEST = 0.05, 20.0  # temperatures between which one is sought
SCORES = ("ece", "brier", "loss")  # what a temperature changes
TINY = 1e-38  # the least positive probability that float32 has


class Calibration(NamedTuple):
    """By what logits are divided, and of what that was learned."""

    temperature: float
    split: str
    n: int


def fit(answers: np.ndarray, split: str) -> Calibration:
    """The temperature with the least loss on answers `(samples, 3 + classes)` to a split.

    Beside Guo et al. the loss counts one more sample, whose class is any, as in Platt's scaling
    (1999): a split without a mistake, as small ones may be, would else ask for no doubt at all.
    The loss is convex in 1 / temperature: its slope is followed to 0 by halving, to 1e-9 of it.
    """
    _, true = Classification.classes(answers)
    logs = _logs(answers)
    blind = 1 / (len(true) + 1)
    own = (1 - blind) * logs[np.arange(len(true)), true] + blind * logs.mean(1)

    def slope(factor: float) -> float:
        shares = _shares(logs * factor)
        return float(((shares * logs).sum(1) - own).mean())

    low, high = np.log(1 / HOTTEST), np.log(1 / COLDEST)
    for _ in range(32):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(float(np.exp(middle))) < 0 else (low, middle)
    return Calibration(float(np.exp(-(low + high) / 2)), split, len(true))


def cooled(answers: np.ndarray, temperature: float) -> np.ndarray:
    """The same answers with calibrated probabilities and the loss that these have."""
    _, true = Classification.classes(answers)
    logs = _logs(answers) / temperature
    shares = _shares(logs)
    nats = -np.log(np.maximum(shares[np.arange(len(true)), true], TINY))
    return np.concatenate([nats[:, None], answers[:, 1:3], shares], 1)


def described(answers: np.ndarray, fitted: Calibration | None) -> dict[str, Any]:
    """Reliability and what it costs, before and after a temperature, as plain data."""
    said: dict[str, Any] = {"before": _of(answers)}
    if fitted:
        said |= {**fitted._asdict(), "after": _of(cooled(answers, fitted.temperature))}
    return said


def stored(model: Path) -> Calibration | None:
    """What a model folder carries of it, if anything."""
    file = model / FILE
    return Calibration(**read_json(file)) if file.is_file() else None


def _of(answers: np.ndarray) -> dict[str, Any]:
    task = Classification()
    scores = {name: task.row(name, answers, units=len(answers)).measured() for name in SCORES}
    return {
        "scores": {name: score.dump() for name, score in scores.items()},
        "bins": bins(answers),
    }


def bins(answers: np.ndarray) -> list[dict[str, Any]]:
    """For each bin that holds samples: its bounds, mean confidence and share of right answers."""
    predicted, true = Classification.classes(answers)
    sure = answers[:, 3:].max(1).astype(np.float64)
    place, right = bin_of(sure), predicted == true
    return [
        {
            "low": index / BINS,
            "high": (index + 1) / BINS,
            "confidence": float(sure[place == index].mean()),
            "accuracy": share(int(right[place == index].sum()), int((place == index).sum())).dump(),
        }
        for index in np.unique(place).tolist()
    ]


def _logs(answers: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(answers[:, 3:].astype(np.float64), TINY))


def _shares(logs: np.ndarray) -> np.ndarray:
    found = np.exp(logs - logs.max(1, keepdims=True))
    return found / found.sum(1, keepdims=True)
