"""Thinning: puts more and more weights to 0 as a `Sparsity` says, and keeps them there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from zafu.optim.sparsity import Sparsity

GONE = torch.finfo(torch.float32).min  # finite, as all that is saved


class Thinning:
    """The weights that may go, each with a score; that of one that is gone is GONE.

    So scores are the whole state. `weights` are the model's own, by name, each whole.
    """

    def __init__(self, spec: Sparsity, weights: Mapping[str, Tensor]) -> None:
        self._spec = spec
        self._weights = dict(weights)
        self._scores = {name: torch.zeros_like(own) for name, own in weights.items()}
        self._find()

    def gradients(self) -> None:
        """In place: none of what is gone, so that no momentum or norm is made of it."""
        for name, weight in self._weights.items():
            if weight.grad is not None:
                weight.grad.masked_fill_(self._gone[name], 0)

    @torch.no_grad()
    def hears(self) -> None:
        """Take in the gradients of a step, as the optimizer is given them, before it moves."""
        if self._spec.score == "movement":
            for name, weight in self._weights.items():
                if weight.grad is not None:
                    self._scores[name].addcmul_(weight, weight.grad, value=-1)

    @torch.no_grad()
    def step(self, step: int, progress: float) -> None:
        """In place: let as many weights go as are due after this step."""
        if step % self._spec.every == 0 or progress >= self._spec.end:
            share = self._spec.share(progress)
            if self._spec.scope == "model":
                self._take([*self._weights], share)
            else:
                for name in self._weights:
                    self._take([name], share)
        self.keep()

    @torch.no_grad()
    def keep(self) -> None:
        """In place: what is gone is 0."""
        for name, weight in self._weights.items():
            weight.masked_fill_(self._gone[name], 0)

    def tensors(self) -> dict[str, Tensor]:
        """The scores by name, such as `sparsity.head.weight`."""
        return {f"sparsity.{name}": score for name, score in self._scores.items()}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """What `tensors` gives."""
        return {name: tuple(score.shape) for name, score in self.tensors().items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take on what `tensors` gave; what is not there stays as it is."""
        for name, score in self.tensors().items():
            if name in tensors:
                score.copy_(tensors[name])
        self._find()

    def _find(self) -> None:
        self._gone = {name: score == GONE for name, score in self._scores.items()}
        self._counts = {name: int(gone.sum()) for name, gone in self._gone.items()}

    def _take(self, names: Sequence[str], share: float) -> None:
        """Let the least of these go until so large a share of them is gone."""
        sizes = [self._weights[name].numel() for name in names]
        count = round(share * sum(sizes))
        if count <= sum(self._counts[name] for name in names):
            return
        ranked = torch.cat([self._ranked(name) for name in names])
        least = torch.zeros_like(ranked, dtype=torch.bool)
        least[ranked.argsort(stable=True)[:count]] = True  # of equals the first: the same anywhere
        for name, gone in zip(names, least.split(sizes), strict=True):
            self._scores[name].masked_fill_(gone.view_as(self._scores[name]), GONE)
            self._gone[name] = gone.view_as(self._scores[name])
            self._counts[name] = int(gone.sum())

    def _ranked(self, name: str) -> Tensor:
        """By what the weights of a matrix are ranked, flat; what is gone comes first."""
        if self._spec.score == "movement":
            return self._scores[name].flatten()
        return self._weights[name].abs().masked_fill(self._gone[name], GONE).flatten()
