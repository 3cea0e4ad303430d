"""Judging: a model on a whole split, without dropout, each sample once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from zafu.data.contract import Split
from zafu.errors import NonFinite
from zafu.measure import Measurement
from zafu.signals import Stop
from zafu.task import Task


def answers(
    model: nn.Module, task: Task, split: Split, *, batch: int, most: int | None = None
) -> Iterator[np.ndarray]:
    """What judging needs of each sample, `(samples, k)`, batch by batch.

    Between batches the model is as it was, so that whoever iterates may stop at any time.
    """
    device = next(model.parameters()).device
    total = min(len(split), most or len(split))
    for start in range(0, total, batch):
        ids = np.arange(start, min(start + batch, total))
        samples = split.batch(ids).to(device)
        training = model.training
        model.eval()
        with torch.inference_mode():
            answer = task.answer(model(*samples.inputs), samples.targets)
        model.train(training)
        yield answer.cpu().numpy()


def verdict(task: Task, split: Split, found: list[np.ndarray]) -> dict[str, Measurement]:
    """The metrics of answers to the first samples of a split."""
    together = np.concatenate(found)
    if bad := int((~np.isfinite(together).all(1)).sum()):
        raise NonFinite(
            f"{bad} of {len(together)} judged samples have an answer that is not finite"
        )
    return task.judge(together, units=split.units(np.arange(len(together))))


def unless_stopped(found: Iterator[np.ndarray], stop: Stop) -> list[np.ndarray] | None:
    """All answers, or None as soon as somebody asks the process to stop."""
    gathered: list[np.ndarray] = []
    for answer in found:
        if stop:
            return None
        gathered.append(answer)
    return gathered
