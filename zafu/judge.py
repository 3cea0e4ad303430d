"""Judging: a model on a whole split, without dropout, each sample once."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing

import numpy as np
import torch
from torch import nn

from zafu.data.contract import Split
from zafu.errors import NonFinite
from zafu.loading.contract import Loader
from zafu.loading.inline import Inline
from zafu.loading.requests import in_order
from zafu.measure import Measurement
from zafu.parallel.spread import ALONE, Spread
from zafu.reading import plain
from zafu.signals import Stop
from zafu.task import Task


def answers(
    model: nn.Module,
    task: Task,
    split: Split,
    *,
    batch: int,
    most: int | None = None,
    loader: Loader = Inline(),  # noqa: B008  (a frozen value)
    spread: Spread = ALONE,
) -> Generator[np.ndarray]:
    """What judging needs of each sample, `(samples, k)`, batch by batch.

    Between batches the model is as it was, so that whoever iterates may stop at any time. Ranks
    deal the batches among them, and each hears all answers.
    """
    device = next(model.parameters()).device
    total = min(len(split), most or len(split))
    requests = list(in_order(total, batch))
    index, of = spread.dealt
    rounds = range(0, len(requests), of)
    own = (requests[min(start + index, len(requests) - 1)] for start in rounds)
    without = torch.inference_mode if spread.world.alone else torch.no_grad
    with loader.open(plain(split).source, own) as batches:
        for start, read in zip(rounds, batches, strict=True):
            samples = read.to(device)
            training = model.training
            model.eval()
            with without():
                answer = spread.answer(task, model, samples)
            model.train(training)
            sizes = [len(request.ids) for request in requests[start : start + of]]
            spread.settle()
            yield from (rows.cpu().numpy() for rows in spread.heard(answer, sizes))


def verdict(
    task: Task, split: Split, found: list[np.ndarray], *, also: Iterable[str] = ()
) -> dict[str, Measurement]:
    """The metrics of answers to the first samples of a split, and those of libraries."""
    together = gathered(found)
    return task.judge(together, units=split.units(np.arange(len(together))), also=also)


def glance(task: Task, split: Split, found: list[np.ndarray], main: str) -> dict[str, Measurement]:
    """The metrics of answers while training: one of a library has no interval, to lose no time."""
    scores = verdict(task, split, found)
    if main not in scores:
        together = gathered(found)
        value = task.score(main, together, units=split.units(np.arange(len(together))))
        how = "without an interval while training"
        scores[main] = Measurement.exact(value, n=len(together), how=how)
    return scores


def gathered(found: list[np.ndarray]) -> np.ndarray:
    """All answers, `(samples, k)`; raises NonFinite if one is not finite."""
    together = np.concatenate(found)
    if bad := int((~np.isfinite(together).all(1)).sum()):
        raise NonFinite(
            f"{bad} of {len(together)} judged samples have an answer that is not finite"
        )
    return together


def unless_stopped(found: Generator[np.ndarray], stop: Stop) -> list[np.ndarray] | None:
    """All answers, or None as soon as somebody asks the process to stop."""
    gathered: list[np.ndarray] = []
    with closing(found):
        for answer in found:
            if stop:
                return None
            gathered.append(answer)
    return gathered
