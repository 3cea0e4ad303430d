"""Curves: what a threshold trades, and how numbers were missed; as plain data for a picture.

Of two classes the second one is sought, of several each against the rest. The areas are those of
scikit-learn's `roc_auc_score` and `average_precision_score`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

MOST = 10  # classes whose curves are worth a picture
POINTS = 120  # of a curve
SHOWN = 1500  # samples in a picture of numbers


def thresholds(
    probabilities: np.ndarray, true: np.ndarray, labels: Sequence[str]
) -> list[dict[str, Any]]:
    """Both curves of each class that is sought and that some samples have and others have not."""
    classes = probabilities.shape[1]
    if classes > MOST:
        return []
    sought = [1] if classes == 2 else range(classes)
    return [
        {"label": labels[index], **curve(probabilities[:, index], true == index)}
        for index in sought
        if 0 < (true == index).sum() < len(true)
    ]


def curve(scores: np.ndarray, positive: np.ndarray) -> dict[str, Any]:
    """ROC and precision-recall over all thresholds of scores `(samples,)`, with their areas."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)  # of equal scores
    hits = np.cumsum(positive[order])[ends]
    said = ends + 1.0
    tpr = np.append(0.0, hits / hits[-1])
    fpr = np.append(0.0, (said - hits) / (said[-1] - hits[-1]))
    precision, recall = hits / said, hits / hits[-1]
    area = float((np.diff(recall, prepend=0.0) * precision).sum())
    return {
        "positives": int(hits[-1]),
        "roc_auc": float(np.trapezoid(tpr, fpr)),
        "average_precision": area,
        "roc": _thinned(fpr, tpr),
        "precision_recall": _thinned(recall, precision),
    }


def numbers(predicted: np.ndarray, true: np.ndarray, name: str) -> dict[str, Any]:
    """Some of the pairs `(samples,)` in the target's own unit, evenly over the samples."""
    every = np.unique(np.linspace(0, len(true) - 1, min(SHOWN, len(true))).round().astype(int))
    return {
        "name": name,
        "samples": len(true),
        "true": [float(f"{x:.6g}") for x in true[every]],
        "predicted": [float(f"{x:.6g}") for x in predicted[every]],
    }


def _thinned(x: np.ndarray, y: np.ndarray) -> list[list[float]]:
    """At most `POINTS` of a curve, evenly over its length, the first and the last among them."""
    along = np.append(0.0, np.cumsum(np.hypot(np.diff(x), np.diff(y))))
    wanted = np.linspace(0, along[-1], POINTS)
    kept = np.unique(np.searchsorted(along, wanted).clip(0, len(x) - 1))
    return [np.round(x[kept], 5).tolist(), np.round(y[kept], 5).tolist()]
