"""Steps of optimizers as functions whose results can be differentiated by their settings.

The same steps as `zafu.optim` takes in place, to rounding: SGD with momentum, Adam, AdamW.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from zafu.optim.adam import Adam
from zafu.optim.adamw import AdamW
from zafu.optim.contract import Optimizer
from zafu.optim.sgd import SGD

State = dict[str, Tensor]  # of one weight, by torch's names


class Rates(NamedTuple):
    """What a step takes beside the gradient: numbers, or tensors without dims."""

    lr: Tensor
    decay: Tensor


def moved(
    spec: Optimizer, w: Tensor, g: Tensor, state: State, rates: Rates
) -> tuple[Tensor, State]:
    """The next weights and state by an optimizer; raises TypeError for one that is not here."""
    if isinstance(spec, SGD):
        return _sgd(spec, w, g, state, rates)
    if isinstance(spec, (Adam, AdamW)):
        return _adam(spec, w, g, state, rates)
    raise TypeError(f"expected sgd, adam or adamw, found {spec.kind}")


def _sgd(spec: SGD, w: Tensor, g: Tensor, state: State, rates: Rates) -> tuple[Tensor, State]:
    g = g + rates.decay * w
    if not spec.momentum:
        return w - rates.lr * g, {}
    if "momentum_buffer" in state:
        kept = spec.momentum * state["momentum_buffer"] + (1 - spec.dampening) * g
    else:
        kept = g
    direction = g + spec.momentum * kept if spec.nesterov else kept
    return w - rates.lr * direction, {"momentum_buffer": kept}


def _adam(
    spec: Adam | AdamW, w: Tensor, g: Tensor, state: State, rates: Rates
) -> tuple[Tensor, State]:
    if isinstance(spec, AdamW):
        w = w * (1 - rates.lr * rates.decay)
    else:
        g = g + rates.decay * w
    (beta1, beta2), zero = spec.betas, torch.zeros_like(w)
    count = state["step"] + 1 if state else torch.ones(())
    mean = beta1 * state.get("exp_avg", zero) + (1 - beta1) * g
    square = beta2 * state.get("exp_avg_sq", zero) + (1 - beta2) * g * g
    some = square > 0  # at 0 the root has no slope, and the step is 0 whatever its slope
    root = torch.where(some, torch.where(some, square, 1.0).sqrt(), 0.0)
    share1, share2 = 1 - beta1 ** count.item(), 1 - beta2 ** count.item()
    step = mean / share1 / (root / math.sqrt(share2) + spec.eps)
    return w - rates.lr * step, {"step": count, "exp_avg": mean, "exp_avg_sq": square}
