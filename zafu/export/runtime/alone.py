"""Runtimes that take one sample at a time, as if they took any number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zafu.export.contract import Answers


def one_by_one(answer: Answers, shape: Sequence[int]) -> Answers:
    """Sample after sample, each of the shape `(1, ...)` of the first input.

    A window of tokens that is shorter is filled up behind its end, which no token before can see.
    """

    def answers(*inputs: np.ndarray) -> np.ndarray:
        first = inputs[0]
        if len(shape) > 2 or [*first.shape[1:]] == [*shape[1:]]:
            rows = [answer(*(x[i : i + 1] for x in inputs)) for i in range(len(first))]
            return np.concatenate(rows)
        time = first.shape[1]
        whole = np.zeros((len(first), shape[1]), first.dtype)
        whole[:, :time] = first
        return answers(whole)[:, :time]

    return answers
