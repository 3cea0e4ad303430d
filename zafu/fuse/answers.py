"""What members say of a split: the numbers from which weights of votes and stacks are learned."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from zafu.batch import Batch
from zafu.data.contract import Split
from zafu.errors import Interrupted
from zafu.signals import Stop

Pick = Callable[[Tensor, Tensor], Tensor]  # from logits and targets to rows that are kept


def said(
    modules: list[nn.Module], split: Split, pick: Pick, *, batch: int, stop: Stop
) -> tuple[Tensor, Tensor]:
    """What is picked of each member's answers, `(members, rows, ...)` float64, and the targets.

    Targets that are absent are left out. Raises Interrupted after a signal.
    """
    rows, targets = list[Tensor](), list[Tensor]()
    for samples in read(split, batch):
        go_on(stop)
        there = _there(samples.targets)
        with torch.inference_mode():
            every = [pick(m(*samples.inputs).double(), samples.targets)[there] for m in modules]
        rows.append(torch.stack(every))
        targets.append(samples.targets[there])
    # what inference mode made cannot enter a gradient
    return torch.cat(rows, 1).clone(), torch.cat(targets)


def read(split: Split, batch: int) -> Iterator[Batch]:
    """All samples of a split in order."""
    for start in range(0, len(split), batch):
        yield split.batch(np.arange(start, min(start + batch, len(split))))


def go_on(stop: Stop) -> None:
    """Raise Interrupted if somebody asked to stop."""
    if stop:
        raise Interrupted(f"{stop.signal}: nothing was written; run the same command again")


def numbers(outputs: Tensor, _: Tensor) -> Tensor:
    """Predicted numbers as they are."""
    return outputs


def log_probabilities(logits: Tensor, _: Tensor) -> Tensor:
    """Of every class."""
    return logits.log_softmax(-1)


def of_truth(logits: Tensor, targets: Tensor) -> Tensor:
    """The logarithm of the probability of the true class or token."""
    known = targets.clamp(min=0)[..., None]
    return logits.log_softmax(-1).gather(-1, known).squeeze(-1)


def _there(targets: Tensor) -> Tensor:
    """Which targets count: tokens that are absent are -100."""
    if targets.is_floating_point():
        return torch.ones(len(targets), dtype=torch.bool)
    return targets >= 0
