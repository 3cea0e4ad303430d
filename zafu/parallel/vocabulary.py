"""Vocabulary: the loss where each process has the logits of a share of the vocabulary.

The whole logits, often the largest tensor of a training, exist on no process: two small collective
operations give each the log of the sum, the target's logit and the mean (Shoeybi et al., 2019,
arXiv:1909.08053, section 3). Label smoothing as in torch: Szegedy et al., 2015 (arXiv:1512.00567).
"""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false

from __future__ import annotations

from typing import Any, final

import torch
import torch.distributed as dist
from torch import Tensor, nn

from zafu.batch import Batch
from zafu.parallel.regions import joined, uncompiled
from zafu.parallel.spread import Loss

ABSENT = -100  # what a target is that does not count


@final
class SharedLogits:
    """A task whose logits are cut along the vocabulary of `size` tokens."""

    def __init__(self, task: Loss, group: dist.ProcessGroup, size: int) -> None:
        self._task, self._group, self._size = task, group, size

    @property
    def smoothing(self) -> float | None:
        """As the task's."""
        return self._task.smoothing

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The sum of the losses of all targets, the same on each process of the group."""
        return self.losses(model(*batch.inputs), batch.targets).sum()

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of each target; those that are no cross-entropy of classes see all logits."""
        smoothing = self._task.smoothing
        if smoothing is None or targets.is_floating_point():
            return self._task.losses(joined(logits, self._group, self._size), targets)
        return cross_entropy(logits, targets, smoothing, self._group, self._size)

    def answer(self, logits: Tensor, targets: Tensor) -> Tensor:
        """What judging needs of each sample."""
        return self._task.answer(joined(logits, self._group, self._size), targets)


@uncompiled
def cross_entropy(
    logits: Tensor, targets: Tensor, smoothing: float, group: dist.ProcessGroup, size: int
) -> Tensor:
    """Cross-entropy in nats of targets `(...)`, from this process's share of logits `(..., size)`.

    In float32; 0 where a target is -100.
    """
    return _CrossEntropy.apply(logits, targets, smoothing, group, size)


@final
class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        targets: Tensor,
        smoothing: float,
        group: dist.ProcessGroup,
        size: int,
    ) -> Tensor:
        start = group.rank() * -(-size // group.size())
        x = logits.float()
        most = x.amax(-1)
        dist.all_reduce(most, dist.ReduceOp.MAX, group=group)
        shares = (x - most.unsqueeze(-1)).exp_()
        places = targets - start
        here = (places >= 0) & (places < x.shape[-1])
        places = places.clamp(0, x.shape[-1] - 1).unsqueeze(-1)
        own = x.gather(-1, places).squeeze(-1) * here
        sums = torch.stack([shares.sum(-1), own, x.sum(-1)])
        dist.all_reduce(sums, group=group)
        total, target, every = sums
        ctx.save_for_backward(shares.div_(total.unsqueeze(-1)), places, here, targets)
        ctx.smoothing, ctx.size, ctx.dtype = smoothing, size, logits.dtype
        losses = total.log() + most - (1 - smoothing) * target - smoothing / size * every
        return losses.masked_fill(targets == ABSENT, 0)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        shares, places, here, targets = ctx.saved_tensors
        pulled = gradients[0].masked_fill(targets == ABSENT, 0).unsqueeze(-1)
        found = (shares - ctx.smoothing / ctx.size) * pulled
        found.scatter_add_(-1, places, -(1 - ctx.smoothing) * pulled * here.unsqueeze(-1))
        return found.to(ctx.dtype), None, None, None, None
