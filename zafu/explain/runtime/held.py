"""Held-out samples, and how well a model answers them as they are and as they are changed."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from zafu.batch import Batch
from zafu.data.contract import Split
from zafu.errors import Refused
from zafu.evaluation.against import difference
from zafu.explain.runtime.scene import Scene
from zafu.explain.runtime.subject import AT_ONCE
from zafu.measure import Measurement
from zafu.signature import Tokens

WORDS = 4096  # of held-out text that is looked at


def batch(scene: Scene, most: int) -> Batch:
    """The first held-out samples, on the model's device; of text as many as have 4,096 tokens."""
    return _split(scene).batch(ids(scene, most)).to(scene.device)


def raw(scene: Scene, most: int) -> Batch:
    """The same as augmentation wants them, on the CPU."""
    return _split(scene).raw(ids(scene, most))


def raw_at(scene: Scene, places: np.ndarray) -> Batch:
    """Raw samples at other positions, on the CPU."""
    return _split(scene).raw(places)


def count(scene: Scene) -> int:
    """How many samples are held out."""
    return len(_split(scene))


def finished(scene: Scene, samples: Batch) -> Batch:
    """Raw samples, perhaps changed, as a model wants them, on its device."""
    return _split(scene).finish(samples).to(scene.device)


def ids(scene: Scene, most: int) -> np.ndarray:
    """The positions of the first held-out samples."""
    split = _split(scene)
    inputs = scene.signature.inputs
    if isinstance(inputs, Tokens):
        most = min(most, max(2, WORDS // inputs.context))
    return np.arange(min(most, len(split)))


def answers(scene: Scene, samples: Batch, module: nn.Module | None = None) -> np.ndarray:
    """What judging needs of each sample, `(samples, k)`, by the model or another one."""
    ask = module or scene.answers
    with torch.no_grad():
        pieces = zip(*(x.split(AT_ONCE) for x in samples.inputs), strict=True)
        logits = torch.cat([ask(*piece).float() for piece in pieces])
        return scene.recipe.task.answer(logits, samples.targets).cpu().numpy()


def worse(scene: Scene, samples: Batch, before: np.ndarray, after: np.ndarray) -> Measurement:
    """By how much the main metric is worse afterwards, on the same samples."""
    task, metric = scene.recipe.task, scene.recipe.metric
    units = _split(scene).units(samples.ids)
    good, bad = (task.row(metric, x, units=units) for x in (before, after))
    return difference(good, bad) if task.higher_is_better(metric) else difference(bad, good)


def score(scene: Scene, samples: Batch, found: np.ndarray) -> Measurement:
    """The main metric of answers."""
    units = _split(scene).units(samples.ids)
    return scene.recipe.task.row(scene.recipe.metric, found, units=units).measured()


def loss(scene: Scene, samples: Batch, module: nn.Module) -> Tensor:
    """The mean loss of each sample, `(samples,)` float64 on the CPU."""
    task = scene.recipe.task
    with torch.no_grad():
        pieces = zip(*(x.split(AT_ONCE) for x in samples.inputs), strict=True)
        logits = torch.cat([module(*piece).float() for piece in pieces])
        found = task.losses(logits, samples.targets).double()
    return (found.mean(1) if found.dim() > 1 else found).cpu()


def _split(scene: Scene) -> Split:
    if scene.held is None:
        raise Refused("expected a run, as held-out samples are asked for")
    return scene.held
