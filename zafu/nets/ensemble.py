"""An ensemble: several nets that read the same sample, and one answer out of theirs.

The mean of probabilities and votes by majority: Hansen & Salamon, 1990. Stacking: Wolpert, 1992; of
numbers: Breiman, 1996; of classes, each from what members say of that class alone: Seewald, 2002.
Probabilities are given as logarithms, so that losses and calibration are those of any other net.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Join = Literal["soft", "hard", "mean", "stack", "linear"]
LEARNED = ("stack", "linear")
SPREAD = 0.01  # share of the probability that a hard vote leaves to all classes alike


class Ensemble(nn.Module):
    """Nets with the same inputs and outputs, joined."""

    def __init__(
        self,
        members: Sequence[nn.Module],
        *,
        join: Join,
        weights: Sequence[float],
        outputs: int,
        context: int | None = None,
    ) -> None:
        """`weights` are the members', of any positive sum; `context` is that of tokens."""
        super().__init__()
        self.members = nn.ModuleList(members)
        self.join: Join = join
        self.weights = [weight / sum(weights) for weight in weights]
        self.context = context
        self.stack = Stack(len(members), outputs) if join in LEARNED else None

    def forward(self, *inputs: Tensor) -> Tensor:
        """Logits `(batch, ..., outputs)`, or the numbers that are predicted."""
        return self.joined(torch.stack([member(*inputs) for member in self.members]))

    def joined(self, answers: Tensor) -> Tensor:
        """One answer `(batch, ..., outputs)` out of the members' `(members, batch, ..., outputs)`.

        Those of votes and `stack` are logarithms of probabilities, up to a constant.
        """
        if self.join == "soft":
            return soft(answers, self.weights)
        if self.join == "hard":
            return hard(answers, self.weights)
        if self.stack is None:
            return mean(answers, self.weights)
        return self.stack(answers.log_softmax(-1) if self.join == "stack" else answers)


class Stack(nn.Module):
    """A weight for what each member says of each output, and a bias; the mean until it learns."""

    def __init__(self, members: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((members, outputs), 1 / members))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, answers: Tensor) -> Tensor:
        """`(members, batch, ..., outputs)` to `(batch, ..., outputs)`."""
        return torch.einsum("m...o,mo->...o", answers, self.weight) + self.bias


def soft(logits: Tensor, weights: Sequence[float]) -> Tensor:
    """The logarithm of the weighted mean of probabilities; weights sum to 1."""
    logs = [math.log(weight) if weight else -math.inf for weight in weights]
    return torch.logsumexp(logits.log_softmax(-1) + _beside(logs, logits), 0)


def hard(logits: Tensor, weights: Sequence[float]) -> Tensor:
    """The logarithm of each class's share of the votes, of which all classes share a hundredth.

    So a class without a vote has a finite loss. Of a tie the first class is the likeliest.
    """
    classes = logits.shape[-1]
    places = torch.arange(classes, device=logits.device)
    votes = (logits.argmax(-1, keepdim=True) == places).to(logits.dtype)
    shares = (votes * _beside(weights, logits)).sum(0)
    return (shares * (1 - SPREAD) + SPREAD / classes).log()


def mean(answers: Tensor, weights: Sequence[float]) -> Tensor:
    """The weighted mean of numbers; weights sum to 1."""
    return (answers * _beside(weights, answers)).sum(0)


def _beside(numbers: Sequence[float], answers: Tensor) -> Tensor:
    """A number for each member, in the shape of the answers."""
    return answers.new_tensor(numbers).view(-1, *[1] * (answers.dim() - 1))
