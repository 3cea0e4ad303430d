"""Metrics: one number of a split's answers, with or without its interval.

Each is named as scikit-learn or the paper names it. Expected calibration error: Guo et al., 2017
(arXiv:1706.04599). A probability's squared error over all classes: Brier, 1950.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, final

import numpy as np

from zafu.measure import DRAWS, Measurement, percentiles, share

BINS = 15  # of confidence, equally wide, as in Guo et al.


class Metric(Protocol):
    """What is computed of answers."""

    @property
    def columns(self) -> Sequence[np.ndarray]:
        """What is drawn of the samples, each `(samples, ...)`."""
        ...

    @property
    def statistic(self) -> Callable[..., np.ndarray]:
        """From columns `(draws, samples, ...)` to values `(draws,)`."""
        ...

    @property
    def draws(self) -> int:
        """How often samples are drawn for an interval."""
        ...

    def score(self) -> float:
        """The value alone, at the cost of computing it once."""
        ...

    def measured(self) -> Measurement:
        """The value with its 95 % interval."""
        ...


@final
class Share(NamedTuple):
    """The share of samples for which something holds; its interval is Wilson's."""

    holds: np.ndarray  # (samples,) bool
    draws: int = DRAWS

    @property
    def columns(self) -> Sequence[np.ndarray]:
        """Whether it holds."""
        return (self.holds,)

    @property
    def statistic(self) -> Callable[..., np.ndarray]:
        """The share of each draw."""
        return mean

    def score(self) -> float:
        """The share."""
        return float(self.holds.mean())

    def measured(self) -> Measurement:
        """The share with its Wilson interval."""
        return share(int(self.holds.sum()), len(self.holds))


@final
class Sampled(NamedTuple):
    """A statistic of columns; its interval is of a bootstrap over samples."""

    columns: Sequence[np.ndarray]  # each (samples, ...)
    statistic: Callable[..., np.ndarray]  # columns (draws, samples, ...) -> (draws,)
    unit: str = ""
    n: int | None = None  # what the value is an average over, where that is not samples
    draws: int = DRAWS

    def score(self) -> float:
        """The value."""
        return float(self.statistic(*(column[None] for column in self.columns))[0])

    def measured(self) -> Measurement:
        """The value with its percentile interval."""
        return percentiles(self.columns, self.statistic, unit=self.unit, n=self.n, draws=self.draws)


def mean(values: np.ndarray) -> np.ndarray:
    """The mean of each draw of `(draws, samples)`."""
    return values.mean(1)


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The sum of one column over the sum of another, of each draw."""
    return above.sum(1) / below.sum(1)


def root_mean(squares: np.ndarray) -> np.ndarray:
    """The root of the mean of `(draws, samples, outputs)`."""
    return np.sqrt(squares.mean((1, 2)))


def middle(values: np.ndarray) -> np.ndarray:
    """The median over samples, averaged over outputs, of `(draws, samples, outputs)`."""
    return np.median(values, axis=1).mean(1)


def f1_macro(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """F1 averaged over the classes that a draw has, true or predicted; columns are int64."""
    hits, said, are = _counts(predicted, true)
    there = said + are
    f1 = np.divide(2 * hits, there, out=np.zeros(there.shape), where=there > 0)
    return f1.sum(1) / (there > 0).sum(1)


def balanced_accuracy(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """The share of right answers of each true class that a draw has, averaged over these."""
    hits, _, are = _counts(predicted, true)
    recall = np.divide(hits, are, out=np.zeros(are.shape), where=are > 0)
    return recall.sum(1) / (are > 0).sum(1)


def ece(confidence: np.ndarray, right: np.ndarray) -> np.ndarray:
    """How far confidence is from the share of right answers, in bins, weighted by their samples.

    |sum of confidence - sum of right| of each bin, over all samples: no bin is empty or divided by.
    """
    gap = confidence - right
    sums = _summed(bin_of(confidence), BINS, gap)
    return np.abs(sums).sum(1) / confidence.shape[1]


def bin_of(confidence: np.ndarray) -> np.ndarray:
    """The bin of each confidence: (0, 1/15] is the first, as in Guo et al."""
    return np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)


def r2(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """The share of the targets' squares about their mean that is explained, over all outputs."""
    missed = np.square(true - predicted).sum((1, 2))
    spread = np.square(true - true.mean(1, keepdims=True)).sum((1, 2))
    nothing = np.where(missed > 0, 0.0, 1.0)  # where nothing is to explain, as scikit-learn says
    return np.where(spread > 0, 1 - missed / np.where(spread > 0, spread, 1.0), nothing)


def brier(probabilities: np.ndarray, true: np.ndarray) -> np.ndarray:
    """The squared distance of each sample's probabilities from the truth, 0 to 2: `(samples,)`."""
    own = probabilities[np.arange(len(true)), true]
    return np.square(probabilities).sum(1) - 2 * own + 1


def among(probabilities: np.ndarray, true: np.ndarray, most: int) -> np.ndarray:
    """Whether the true class is among the so many likeliest, `(samples,)`; ties count for it."""
    own = probabilities[np.arange(len(true)), true]
    return (probabilities > own[:, None]).sum(1) < most


def perplexity(nats: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """E to the power of the nats of a token, as large as a float can be."""
    return np.exp(np.minimum(ratio(nats, tokens), 700))


def _counts(predicted: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each class how many are right, are said and are true, `(draws, classes)` each."""
    classes = int(max(predicted.max(), true.max())) + 1
    hits = _summed(true, classes, predicted == true)
    return hits, _summed(predicted, classes), _summed(true, classes)


def _summed(groups: np.ndarray, many: int, weights: np.ndarray | None = None) -> np.ndarray:
    """The sums of weights (None: of ones) in each group of each draw, `(draws, many)`."""
    draws = len(groups)
    flat = (groups + many * np.arange(draws)[:, None]).ravel()
    given = None if weights is None else weights.ravel()
    return np.bincount(flat, given, minlength=draws * many).reshape(draws, many)
