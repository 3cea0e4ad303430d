"""Labels that are probably wrong, found by confident learning.

Northcutt, Jiang & Chuang, 2021 (arXiv:1911.00068): a model that did not see a sample says how
probable each class is; the mean probability of a class among the samples that bear its label is the
threshold from which the model is sure of it. A sample that it is sure belongs to another class than
its label is off the diagonal of the confident joint, and suspected. The model is a logistic
regression on standardized features: its loss is a proper score, so its probabilities are
calibrated where a boosted tree's need mending, and it is fitted in moments, the same each time.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from zafu.hashing import key, mix

_FREEDOM = 0.1  # scikit-learn's C; of 1, .1, .03, .01 the least log-loss on four noisy data sets
_STEPS = 1000  # of the optimizer, far more than standardized features need


class Suspects(NamedTuple):
    """Samples whose label is doubtful, in the order in which they came."""

    positions: np.ndarray  # (m,) int64, ascending
    suggested: np.ndarray  # (m,) int64: the class that the model is sure of
    probability: np.ndarray  # (m,) float64: of the suggested class
    given: np.ndarray  # (m,) float64: probability of the label as it stands
    joint: np.ndarray  # (classes, classes) int64: samples by label and by the class that is sure


def suspects(features: np.ndarray, labels: np.ndarray, *, folds: int, seed: int) -> Suspects:
    """The samples of `features` `(n, d)` whose `labels` `(n,)`, 0 to classes - 1, are doubtful.

    A class with fewer samples than folds is neither suspected nor suggested: a model could not be
    judged on it. Needs scikit-learn.
    """
    return confident(probabilities(features, labels, folds=folds, seed=seed), labels, least=folds)


def confident(chances: np.ndarray, labels: np.ndarray, *, least: int = 1) -> Suspects:
    """The doubtful among `labels` `(n,)` by out-of-sample probabilities `(n, classes)`.

    Classes with fewer than `least` samples are left out.
    """
    count, classes = chances.shape
    sizes = np.bincount(labels, minlength=classes)
    own = chances[np.arange(count), labels]
    threshold = np.bincount(labels, own, classes) / np.maximum(sizes, 1)
    threshold[sizes < least] = np.inf
    sure = chances >= threshold  # (n, classes)
    likeliest = np.where(sure, chances, -1.0).argmax(1)
    counted = sure.any(1) & (sizes[labels] >= least)
    joint = np.zeros((classes, classes), np.int64)
    np.add.at(joint, (labels[counted], likeliest[counted]), 1)
    found = np.flatnonzero(counted & (likeliest != labels))
    suggested = likeliest[found]
    return Suspects(found, suggested, chances[found, suggested], own[found], joint)


def probabilities(features: np.ndarray, labels: np.ndarray, *, folds: int, seed: int) -> np.ndarray:
    """Probabilities `(n, classes)` of each sample's classes by a model that did not see it.

    0 for a class that the model did not see either. Needs scikit-learn.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    fold = folds_of(labels, folds=folds, seed=seed)
    found = np.zeros((len(labels), int(labels.max()) + 1))
    with threadpool_limits(1), warnings.catch_warnings():  # sums do not depend on the threads
        warnings.simplefilter("ignore", ConvergenceWarning)  # near enough after so many steps
        for out in range(folds):
            held, rest = np.flatnonzero(fold == out), np.flatnonzero(fold != out)
            seen = np.unique(labels[rest])
            if len(seen) < 2:
                found[np.ix_(held, seen)] = 1.0
            elif len(held):
                regression = LogisticRegression(C=_FREEDOM, max_iter=_STEPS)
                model = make_pipeline(StandardScaler(), regression)
                model.fit(features[rest], labels[rest])
                found[np.ix_(held, seen)] = model.predict_proba(features[held])
    return found


def folds_of(labels: np.ndarray, *, folds: int, seed: int) -> np.ndarray:
    """The fold of each sample, `(n,)` int64, each class dealt evenly in an order by hash."""
    chance = mix(np.arange(len(labels), dtype=np.uint64) ^ key(seed, folds))
    order = np.lexsort((chance, labels))
    fold = np.empty(len(labels), np.int64)
    fold[order] = np.arange(len(labels)) % folds  # on through the classes: folds of equal size
    return fold
