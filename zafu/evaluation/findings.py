"""Findings: all that is worth saying of answers to samples with known targets, as plain data.

This is `evaluation.json`, and what the pages draw.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from zafu.errors import Fault
from zafu.evaluation import calibration, curves, slices
from zafu.evaluation.calibration import Calibration
from zafu.evaluation.contract import Evaluate
from zafu.spec import did_you_mean
from zafu.task import Classification, Task

APART = {"r2": "rmse"}  # what is explained of a part is a matter of how little the part varies
CLASS = "class"  # the name of the slices by true class


class Held(NamedTuple):
    """Answers to samples whose targets are known."""

    answers: np.ndarray  # (samples, k)
    units: int  # their `Split.units`
    labels: tuple[str, ...]  # of the classes, or of the predicted columns
    columns: Mapping[str, np.ndarray] = {}
    numbers: tuple[np.ndarray, np.ndarray] | None = None  # predicted and true, in their own unit


def findings(
    task: Task, settings: Evaluate, held: Held, fitted: Calibration | None = None
) -> dict[str, Any]:
    """Every metric with its interval, confusion, calibration, slices and curves."""
    metric = settings.metric or task.metric
    also = [*settings.metrics, metric]
    scores = task.judge(held.answers, units=held.units, also=also)
    said: dict[str, Any] = {
        "metric": metric,
        "higher_is_better": task.higher_is_better(metric),
        "higher": {name: task.higher_is_better(name) for name in scores},
        "scores": {name: score.dump() for name, score in scores.items()},
        "baselines": {},
    }
    if isinstance(task, Classification):
        said |= _of_classes(task, held, fitted)
    if held.numbers:
        said["numbers"] = curves.numbers(*held.numbers, name=held.labels[0])
    apart = APART.get(metric, metric)
    parts = {
        name: slices.judged(task, apart, held.answers, slices.groups(held.columns[name]))
        for name in settings.slices
    }
    if parts:
        said["slices"] = {**said.get("slices", {}), **parts}
    return said


def _of_classes(task: Classification, held: Held, fitted: Calibration | None) -> dict[str, Any]:
    answers, labels = held.answers, list(held.labels)
    _, true = task.classes(answers)
    by_class = [(label, true == i) for i, label in enumerate(labels) if (true == i).any()]
    return {
        "confusion": {
            "labels": labels,
            "counts": task.confusion(answers, len(labels)).tolist(),
        },
        "calibration": calibration.described(answers, fitted),
        "curves": curves.thresholds(task.probabilities(answers), true, labels),
        "slices": {CLASS: slices.judged(task, "accuracy", answers, by_class)},
    }


def absent(settings: Evaluate, columns: Iterable[str]) -> list[Fault]:
    """A fault for each column to slice by that is not there."""
    known = list(columns)
    return [
        Fault(f"evaluate.slices.{i}", f"a column of the data ({', '.join(known)})", name, hint=near)
        for i, name in enumerate(settings.slices)
        if name not in known
        for near in [did_you_mean(name, known)]
    ]
