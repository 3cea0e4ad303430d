"""Sensitivity: what it costs that one layer alone is rounded, on the same samples.

Which layers can have fewer bits, Dong et al., 2019 (arXiv:1905.03696) read off the curvature of the
loss; Cai et al., 2020 (arXiv:2001.00281) measure how far answers move, as is done here. The loss
itself is measured too: it is what one asks for, but by few samples it tells layers apart badly.
Layers are taken from the model that was rounded: what is measured is what is used.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from zafu import metrics
from zafu.batch import Batch
from zafu.measure import Measurement, percentiles
from zafu.nets.fp8 import Fp8
from zafu.nets.int4 import Int4Linear
from zafu.nets.int8 import Int8
from zafu.nets.surgery import put
from zafu.nets.table import Table, inside

Loss = Callable[[nn.Module, Batch], Tensor]
Forms = Mapping[str, nn.Module]  # what may stand in place of layers, by their names
ROUNDED = (Int8, Int4Linear, Fp8)


class Cost(NamedTuple):
    """What it costs that some layers have another form."""

    loss: Measurement  # of a target, less that of the model as it is
    moved: float  # how far answers move: the rise of the loss if targets were what the model says


class Judge:
    """Measures what other forms of layers cost a model, each alone, batch by batch."""

    def __init__(self, model: nn.Module, loss: Loss, candidates: Sequence[Forms]) -> None:
        self._model, self._loss, self._candidates = model, loss, candidates
        self._counts = list[np.ndarray]()
        self._rises: list[list[np.ndarray]] = [[] for _ in candidates]
        self._moved = np.zeros(len(candidates))

    @torch.no_grad()
    def see(self, batch: Batch) -> None:
        """In place: measure by these samples too; the model is left as it was."""
        here = _here(batch.targets)
        answers = self._model(*batch.inputs)
        before = _losses(self._loss, answers, batch)
        self._counts.append(here.view(len(here), -1).sum(1).numpy())
        for at, forms in enumerate(self._candidates):
            with _instead(self._model, forms):
                own = self._model(*batch.inputs)
            self._rises[at].append(_losses(self._loss, own, batch) - before)
            self._moved[at] += float(_moved(answers, own, batch.targets)[here].double().sum())

    def found(self) -> list[Cost]:
        """What each costs by the samples that were seen, of which there must be one."""
        counts = np.concatenate(self._counts)
        moved = (self._moved / counts.sum()).tolist()
        return [
            Cost(_paired(np.concatenate(rises), counts), away)
            for rises, away in zip(self._rises, moved, strict=True)
        ]


class _Said(nn.Module):
    """A model that has answered already."""

    def __init__(self, answers: Tensor) -> None:
        super().__init__()
        self._answers = answers

    def forward(self) -> Tensor:
        return self._answers


def rounded(before: nn.Module, after: nn.Module) -> dict[str, nn.Module]:
    """What a rounded model has in place of layers of the one before, by name."""
    forms = dict(after.named_modules(remove_duplicate=False))
    return {
        name: forms[name]
        for name, layer in before.named_modules()
        if not isinstance(layer, (Table, *ROUNDED))
        and name in forms
        and isinstance(inside(forms[name]), ROUNDED)
    }


def bits(form: nn.Module) -> int:
    """How many bits a weight of a rounded layer has."""
    return cast("Int8 | Int4Linear | Fp8", inside(form)).bits


def tied(model: nn.Module, names: Iterable[str]) -> list[tuple[str, ...]]:
    """Layers by name, those that share their weights side by side."""
    found = dict[int, tuple[str, ...]]()
    for name in names:
        key = id(model.get_submodule(name).weight)
        found[key] = (*found.get(key, ()), name)
    return list(found.values())


@contextmanager
def _instead(root: nn.Module, forms: Forms) -> Generator[None]:
    """Other layers in the place of those of these names, while this is open."""
    old = {name: root.get_submodule(name) for name in forms}
    try:
        for name, form in forms.items():
            put(root, name, form)
        yield
    finally:
        for name, layer in old.items():
            put(root, name, layer)


def _losses(loss: Loss, answers: Tensor, batch: Batch) -> np.ndarray:
    """Of each sample, summed over its targets: `(samples,)`."""
    found = list[float]()
    for at in range(len(answers)):
        one = Batch((), batch.targets[at : at + 1], batch.ids[at : at + 1])
        found.append(float(loss(_Said(answers[at : at + 1]), one)))
    return np.array(found)


def _moved(before: Tensor, after: Tensor, targets: Tensor) -> Tensor:
    """How far the answer to each target moved: of classes a divergence, of numbers a square."""
    if targets.is_floating_point():
        return (after - before).square().mean(1)
    said, own = (x.float().log_softmax(-1) for x in (before, after))
    return functional.kl_div(own, said, reduction="none", log_target=True).sum(-1)


def _here(targets: Tensor) -> Tensor:
    """Which targets count: a row of numbers is one, a token that is absent none."""
    if targets.is_floating_point():
        return torch.ones(len(targets), dtype=torch.bool)
    return targets >= 0


def _paired(rises: np.ndarray, counts: np.ndarray) -> Measurement:
    found = percentiles((rises, counts), metrics.ratio)
    return found.model_copy(update={"how": f"paired {found.how}"})
