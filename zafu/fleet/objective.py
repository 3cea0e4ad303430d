"""Objective: what each of many models minimizes, and what is done to its gradients.

Rows of gradients and weights are models; the first `large` numbers of a row are penalized.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zafu.fleet.streams import Given
from zafu.optim.gradient import Clip
from zafu.optim.penalties import L1, L2, ElasticNet, Penalty
from zafu.task import Task


def losses(tasks: Sequence[Task], logits: Tensor, given: Given) -> Tensor:
    """The summed loss of each model, `(models,)`, for logits `(models, batch, ..., outputs)`."""
    many, widest = logits.shape[:2]
    flat, targets = logits.flatten(0, 1), given.targets.flatten(0, 1)
    smoothing = [task.smoothing for task in tasks]
    if len(set(smoothing)) == 1:
        found = tasks[0].losses(flat, targets)
    else:
        shares = logits.new_tensor([s or 0.0 for s in smoothing]).repeat_interleave(widest)
        found = _smoothed(flat, targets, shares)
    found = found.reshape(many, widest, -1).sum(2)
    if min(given.rows) < widest:  # what fills up a shorter batch counts nothing
        rows = torch.tensor(given.rows, device=found.device).unsqueeze(1)
        found = found.where(torch.arange(widest, device=found.device) < rows, 0.0)
    return found.sum(1)


def _smoothed(logits: Tensor, targets: Tensor, shares: Tensor) -> Tensor:
    """Cross-entropy in which each sample has its own share of label smoothing.

    Absent targets (-100) have none.
    """
    logs = logits.log_softmax(-1)
    there = targets >= 0
    right = -logs.gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    shares = shares.reshape(-1, *[1] * (targets.ndim - 1))
    return ((1 - shares) * right - shares * logs.mean(-1)).where(there, 0.0)


def add_penalties(
    gradients: Tensor, weights: Tensor, penalties: Sequence[Sequence[Penalty]], *, large: int
) -> None:
    """In place: add what each model's penalties contribute to its gradient."""
    g, w = gradients[:, :large], weights[:, :large]
    for same in zip(*penalties, strict=True):
        strength = _column(weights, [p.strength for p in same])
        first = same[0]
        if isinstance(first, L2):
            g.addcmul_(w, strength)
        elif isinstance(first, L1) and first.method == "subgradient":
            g.addcmul_(w.sign(), strength)
        elif isinstance(first, ElasticNet) and first.method == "subgradient":
            g.addcmul_(w.sign(), strength * first.l1_ratio)
            g.addcmul_(w, strength * (1 - first.l1_ratio))


def shrink(
    weights: Tensor,
    penalties: Sequence[Sequence[Penalty]],
    rates: Sequence[float],
    *,
    large: int,
) -> None:
    """In place: the proximal steps that follow an optimizer's."""
    w = weights[:, :large]
    for same in zip(*penalties, strict=True):
        first = same[0]
        if not isinstance(first, (L1, ElasticNet)) or first.method != "proximal":
            continue
        ratio = first.l1_ratio if isinstance(first, ElasticNet) else 1.0
        step = _column(weights, [p.strength * lr for p, lr in zip(same, rates, strict=True)])
        bound = step * ratio
        w.sub_(w.clamp(min=-bound, max=bound))
        if ratio < 1:
            w.div_(1 + step * (1 - ratio))


def clip(gradients: Tensor, bounds: Clip | None, norms: Tensor) -> None:
    """In place: each number below `bounds.value`, then each model's norm below `bounds.norm`."""
    if bounds is None:
        return
    if bounds.value is not None:
        gradients.clamp_(-bounds.value, bounds.value)
        norms = torch.linalg.vector_norm(gradients, dim=1)
    if bounds.norm is not None:
        gradients.mul_((bounds.norm / (norms + 1e-6)).clamp(max=1.0).unsqueeze(1))


def _column(like: Tensor, values: Sequence[float]) -> Tensor:
    return like.new_tensor(values).unsqueeze(1)
