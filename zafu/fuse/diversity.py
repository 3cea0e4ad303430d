"""How differently members err: what a fusion can gain.

Disagreement of two classifiers: the share of samples that one of them alone has right (Kuncheva &
Whitaker, 2003, Machine Learning 51). Of two predictions of numbers: the correlation of their errors
(Krogh & Vedelsby, 1995, say why it decides).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zafu.measure import share
from zafu.task import Classification, Task


def diversity(task: Task, answers: list[np.ndarray]) -> dict[str, Any]:
    """Figures of each pair, and how often one member at least is right, as plain data.

    `answers` are each member's, to the same samples. Nothing for tasks without such figures.
    """
    if len(answers) < 2:
        return {}
    if isinstance(task, Classification):
        right = rights(answers)
        table = [[float((a != b).mean()) for b in right] for a in right]
        oracle = share(int(right.any(0).sum()), right.shape[1])
        return {"measure": "disagreement", "pairs": table, "any_right": oracle.dump()}
    if task.kind == "regression":
        missed = [np.subtract(*np.split(rows, 2, axis=1)).ravel() for rows in answers]
        if any(not np.ptp(row) for row in missed):
            return {}
        return {"measure": "correlation of errors", "pairs": np.corrcoef(missed).tolist()}
    return {}


def rights(answers: list[np.ndarray]) -> np.ndarray:
    """Which samples each member has right, `(members, samples)`."""
    return np.array([predicted == true for predicted, true in map(Classification.classes, answers)])
