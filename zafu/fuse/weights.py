"""Weights of votes and stacks, learned from what members say of samples they did not train on.

Weights of probabilities: the likeliest mixture, by expectation and maximization (Dempster et al.,
1977). Of numbers: least squares on the simplex (Breiman, 1996), the projection by Duchi et al.,
2008. Of hard votes: the log-odds of being right (Shapley & Grofman, 1984). Stacks are drawn
towards the plain mean, as strongly as cross-validation over the same samples finds best.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

STRENGTHS = (10.0, 1.0, 0.1, 0.01, 0.001, 0.0001)  # with which stacks are drawn to the mean
FOLDS = 5
Solve = Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]
Loss = Callable[[Tensor, Tensor], Tensor]


def mixture(logs: Tensor) -> list[float]:
    """The weights, of sum 1, under which the truth is likeliest.

    `logs` `(members, samples)`: the logarithm of the probability that each gives to the truth.
    """
    weights = torch.full((len(logs), 1), 1 / len(logs), dtype=logs.dtype)
    for _ in range(500):
        shares = (logs + weights.log()).softmax(0).mean(1, keepdim=True)
        moved, weights = float((shares - weights).abs().max()), shares
        if moved < 1e-6:
            break
    return _rounded(weights.flatten().tolist())


def blend(predicted: Tensor, targets: Tensor) -> list[float]:
    """The weights >= 0, of sum 1, with the least squared error; `(members, samples, outputs)`."""
    flat, true = predicted.flatten(1), targets.double().flatten()
    gram, by_truth = (flat @ flat.T).numpy(), (flat @ true).numpy()
    step = 1 / max(float(np.linalg.eigvalsh(gram)[-1]), 1e-300)
    weights = np.full(len(flat), 1 / len(flat))
    for _ in range(20_000):
        after = _onto_simplex(weights - step * (gram @ weights - by_truth))
        moved, weights = np.abs(after - weights).max(), after
        if moved < 1e-12:
            break
    return _rounded(weights.tolist())


def odds(right: np.ndarray) -> list[float]:
    """Of members that were right `(members, samples)`: log-odds, not below 0, of sum 1.

    Half a success and half a failure are added, so that nobody counts without end.
    """
    n = right.shape[1]
    shares = (right.sum(1) + 0.5) / (n + 1)
    weights = np.maximum(np.log(shares / (1 - shares)), 0)
    return _rounded((weights / weights.sum() if weights.any() else weights + 1).tolist())


def stacked(answers: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, float]:
    """Weights `(members, outputs)`, biases `(outputs,)`, and the strength of the pull to the mean.

    `answers` `(members, samples, outputs)` are log-probabilities where targets are classes, else
    numbers.
    """
    if targets.is_floating_point():
        solve, loss, targets = _least_squares, functional.mse_loss, targets.double()
    else:
        solve, loss = _logistic, functional.cross_entropy
    strength = _chosen(answers, targets, solve, loss)
    return *solve(answers, targets, strength), strength


def joined(answers: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
    """What a stack makes of answers: `(samples, outputs)`."""
    return torch.einsum("mno,mo->no", answers, weights) + bias


def _chosen(answers: Tensor, targets: Tensor, solve: Solve, loss: Loss) -> float:
    """The strength with the least loss on samples that were left out; the first of equals."""
    fold = torch.arange(len(targets)) % min(FOLDS, len(targets))
    if len(targets) < 2 * FOLDS:
        return STRENGTHS[0]

    def missed(strength: float) -> float:
        total = 0.0
        for out in range(FOLDS):
            kept, left = fold != out, fold == out
            found = solve(answers[:, kept], targets[kept], strength)
            total += float(loss(joined(answers[:, left], *found), targets[left])) * int(left.sum())
        return total

    return min(STRENGTHS, key=missed)


def _logistic(answers: Tensor, targets: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    members, _, outputs = answers.shape
    weights = torch.full((members, outputs), 1 / members, dtype=answers.dtype, requires_grad=True)
    bias = torch.zeros(outputs, dtype=answers.dtype, requires_grad=True)
    search = torch.optim.LBFGS(
        [weights, bias], max_iter=100, tolerance_grad=1e-8, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        search.zero_grad()
        away = (weights - 1 / members).square().sum() + bias.square().sum()
        loss = functional.cross_entropy(joined(answers, weights, bias), targets) + strength * away
        loss.backward()
        return float(loss.detach())

    search.step(closure)
    return weights.detach(), bias.detach()


def _least_squares(answers: Tensor, targets: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    members, samples, outputs = answers.shape
    found = list[Tensor]()
    for output in range(outputs):
        given = torch.cat([answers[:, :, output].T, answers.new_ones(samples, 1)], 1)
        start = answers.new_tensor([1 / members] * members + [0.0])
        pull = strength * samples * torch.eye(members + 1, dtype=answers.dtype)
        missed = targets[:, output] - given @ start
        found.append(start + torch.linalg.solve(given.T @ given + pull, given.T @ missed))
    together = torch.stack(found, 1)  # (members + 1, outputs)
    return together[:-1], together[-1]


def _onto_simplex(point: np.ndarray) -> np.ndarray:
    """The nearest weights >= 0 of sum 1."""
    ordered = np.sort(point)[::-1]
    excess = (np.cumsum(ordered) - 1) / np.arange(1, len(point) + 1)
    return np.maximum(point - excess[ordered > excess][-1], 0)


def _rounded(weights: Sequence[float]) -> list[float]:
    """To four digits, as a recipe holds them; what sinks to 0 does not count any more."""
    return [round(weight, 4) for weight in weights]
