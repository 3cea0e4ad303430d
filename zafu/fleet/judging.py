"""Judging: what many models say of whole splits, without dropout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor

from zafu.fleet.crew import Place, view
from zafu.fleet.nets import Net
from zafu.fleet.streams import Held, hold
from zafu.trial import Trial, scored

SAMPLES = 4096  # in one forward pass, over all models


@final
class Judging:
    """Judges rows of weights on the splits of their trials' data, which are held."""

    def __init__(self, net: Net, where: Sequence[Place], like: Tensor) -> None:
        self._net, self._places, self._like = net, where, like
        self._held: dict[tuple[Path, str], Held] = {}

    def values(self, weights: Tensor, trials: Sequence[Trial]) -> list[float]:
        """Each trial's metric on what of the validation split is judged during training."""
        most = [t.recipe.evaluate.during if t.recipe.fit.early_stopping else None for t in trials]
        answers = self.answers(weights, trials, "validation")
        return [
            scored(t.recipe.task, t.recipe.metric, self.held(t, "validation").split, found[:n])
            for t, found, n in zip(trials, answers, most, strict=True)
        ]

    def answers(self, weights: Tensor, trials: Sequence[Trial], name: str) -> list[np.ndarray]:
        """What judging needs of each sample of a split, `(samples, k)`, for each trial."""
        found: dict[int, np.ndarray] = {}
        for folder in dict.fromkeys(trial.data for trial in trials):
            rows = [row for row, trial in enumerate(trials) if trial.data == folder]
            held = self.held(trials[rows[0]], name)
            together = self._of_one(weights[rows], trials[rows[0]], held)
            found |= dict(zip(rows, together, strict=True))
        return [found[row] for row in range(len(trials))]

    def held(self, trial: Trial, name: str) -> Held:
        """A split of a trial's data as tensors."""
        key = (trial.data, name)
        if key not in self._held:
            self._held[key] = hold(trial.recipe.data, trial.data, name, like=self._like)
        return self._held[key]

    @torch.inference_mode()
    def _of_one(self, weights: Tensor, trial: Trial, held: Held) -> np.ndarray:
        """The answers `(models, samples, k)` to one split."""
        models, task, own = len(weights), trial.recipe.task, view(weights, self._places)
        size, parts = max(1, SAMPLES // models), list[np.ndarray]()
        for start in range(0, len(held.split), size):
            inputs = [_for_all(x[start : start + size], models) for x in held.inputs]
            targets = _for_all(held.targets[start : start + size], models).flatten(0, 1)
            logits = self._net(own, inputs, None).flatten(0, 1)
            answers = task.answer(logits, targets)
            parts.append(answers.unflatten(0, (models, -1)).cpu().numpy())
        return np.concatenate(parts, 1)


def _for_all(x: Tensor, models: int) -> Tensor:
    return x.expand(models, *x.shape)
