"""Streams: the samples of each step for many models, each in the order that it would see alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor

from zafu.data.contract import Data, Split
from zafu.errors import DataError
from zafu.loading.order import Order
from zafu.trial import Trial


@dataclass(frozen=True)
class Given:
    """A step's samples: `(models, batch, ...)`, of which each model has its first `rows`."""

    inputs: list[Tensor]
    targets: Tensor  # (models, batch, ...)
    rows: list[int]  # samples of each model; what lies beyond counts nothing
    counts: list[int]  # targets of each model


@dataclass(frozen=True)
class Held:
    """A split as tensors."""

    split: Split
    inputs: tuple[Tensor, ...]
    targets: Tensor
    apiece: int  # targets of each sample; 0: they differ


@final
class Streams:
    """The training splits of all trials, and what each trial sees of its own in each step.

    Trials with the same data and seed share a stream, which is computed once.
    """

    def __init__(self, trials: Sequence[Trial], size: int, like: Tensor) -> None:
        self.size, self._device = size, like.device
        folders = {trial.data: trial.recipe.data for trial in trials}
        self._held = {f: hold(data, f, "train", like=like) for f, data in folders.items()}
        held = self._held.values()
        self._inputs = [torch.cat(same) for same in zip(*(h.inputs for h in held), strict=True)]
        self._targets = torch.cat([h.targets for h in held])
        sizes = np.cumsum([0, *(len(h.split) for h in held)])
        self._offsets = dict(zip(self._held, sizes.tolist(), strict=False))
        self._numbers: dict[tuple[Path, int], int] = {}
        self._streams: list[tuple[Path, Order]] = []

    def samples(self, trial: Trial) -> int:
        """Samples of a trial's training split."""
        return len(self._held[trial.data].split)

    def targets(self, trial: Trial) -> int:
        """Targets of a trial's training split."""
        split = self._held[trial.data].split
        return split.count(np.arange(len(split)))

    def validated(self, trial: Trial) -> bool:
        """Whether a trial's data has a validation split."""
        return len(trial.recipe.data.open(trial.data, "validation")) > 0

    def number(self, trial: Trial) -> int:
        """The stream of a trial."""
        key = (trial.data, trial.recipe.seed)
        if key not in self._numbers:
            self._numbers[key] = len(self._streams)
            self._streams.append((trial.data, Order(self.samples(trial), trial.recipe.seed)))
        return self._numbers[key]

    def at(self, start: int, numbers: Sequence[int], totals: Sequence[int]) -> Given:
        """What trials with these streams see after so many samples, each up to its own budget."""
        rows = [min(self.size, total - start) for total in totals]
        ids, counts = np.zeros((len(numbers), max(rows)), np.int64), list[int]()
        known: dict[tuple[int, int], tuple[np.ndarray, int]] = {}
        for model, key in enumerate(zip(numbers, rows, strict=True)):
            if key not in known:
                known[key] = self._seen(*key, start)
            ids[model, : key[1]], count = known[key]
            counts.append(count)
        flat = torch.from_numpy(ids.reshape(-1)).to(self._device)
        inputs = [x.index_select(0, flat).unflatten(0, ids.shape) for x in self._inputs]
        targets = self._targets.index_select(0, flat).unflatten(0, ids.shape)
        return Given(inputs, targets, rows, counts)

    def _seen(self, number: int, many: int, start: int) -> tuple[np.ndarray, int]:
        """A step's rows among those of all splits, and the targets in them."""
        folder, order = self._streams[number]
        held, own = self._held[folder], order.positions(start, many)
        return own + self._offsets[folder], held.apiece * many or held.split.count(own)


def hold(data: Data, folder: Path, name: str, *, like: Tensor) -> Held:
    """A split of prepared data as tensors, their floats in the type and all on the device of one.

    Raises DataError if it is empty.
    """
    split = data.open(folder, name)
    if not len(split):
        raise DataError(f"{folder}: the {name} split is empty; see data.split.{name}")
    batch = split.batch(np.arange(len(split)))
    apiece = 0 if data.gives == "tokens" else split.count(np.zeros(1, np.int64))
    inputs, targets = (tuple(_as(x, like) for x in t) for t in (batch.inputs, (batch.targets,)))
    return Held(split, inputs, targets[0], apiece)


def _as(x: Tensor, like: Tensor) -> Tensor:
    return x.to(like) if x.is_floating_point() else x.to(like.device)
