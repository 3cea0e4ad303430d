"""Judging: a model on a whole split, without dropout, each sample once."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from zafu import tensors
from zafu.artifact import read_json
from zafu.data.contract import Split
from zafu.errors import DataError, NonFinite
from zafu.evaluation.calibration import Calibration
from zafu.evaluation.contract import Baseline
from zafu.evaluation.findings import Held, findings
from zafu.loading.contract import Loader
from zafu.loading.inline import Inline
from zafu.loading.requests import in_order
from zafu.measure import Measurement
from zafu.parallel.spread import ALONE, Spread
from zafu.reading import plain
from zafu.recipe import Recipe
from zafu.signals import Stop
from zafu.signature import Signature
from zafu.task import Task


def answers(
    model: nn.Module,
    task: Task,
    split: Split,
    *,
    batch: int,
    most: int | None = None,
    loader: Loader = Inline(),  # noqa: B008  (a frozen value)
    spread: Spread = ALONE,
) -> Generator[np.ndarray]:
    """What judging needs of each sample, `(samples, k)`, batch by batch.

    Between batches the model is as it was, so that whoever iterates may stop at any time. Ranks
    deal the batches among them, and each hears all answers.
    """
    device = tensors.device_of(model)
    total = min(len(split), most or len(split))
    requests = list(in_order(total, batch))
    index, of = spread.dealt
    rounds = range(0, len(requests), of)
    own = (requests[min(start + index, len(requests) - 1)] for start in rounds)
    without = torch.inference_mode if spread.world.alone else torch.no_grad
    with loader.open(plain(split).source, own) as batches:
        for start, read in zip(rounds, batches, strict=True):
            samples = read.to(device)
            training = model.training
            model.eval()
            with without():
                answer = spread.answer(task, model, samples)
            model.train(training)
            sizes = [len(request.ids) for request in requests[start : start + of]]
            spread.settle()
            yield from (rows.cpu().numpy() for rows in spread.heard(answer, sizes))


def verdict(
    task: Task, split: Split, found: list[np.ndarray], *, also: Iterable[str] = ()
) -> dict[str, Measurement]:
    """The metrics of answers to the first samples of a split, and those of libraries."""
    together = gathered(found)
    return task.judge(together, units=split.units(np.arange(len(together))), also=also)


def glance(task: Task, split: Split, found: list[np.ndarray], main: str) -> dict[str, Measurement]:
    """The metrics of answers while training: one of a library has no interval, to lose no time."""
    scores = verdict(task, split, found)
    if main not in scores:
        together = gathered(found)
        value = task.score(main, together, units=split.units(np.arange(len(together))))
        how = "without an interval while training"
        scores[main] = Measurement.exact(value, n=len(together), how=how)
    return scores


def gathered(found: list[np.ndarray]) -> np.ndarray:
    """All answers, `(samples, k)`; raises NonFinite if one is not finite."""
    together = np.concatenate(found)
    if bad := int((~np.isfinite(together).all(1)).sum()):
        raise NonFinite(
            f"{bad} of {len(together)} judged samples have an answer that is not finite"
        )
    return together


def unless_stopped(found: Generator[np.ndarray], stop: Stop) -> list[np.ndarray] | None:
    """All answers, or None as soon as somebody asks the process to stop."""
    gathered: list[np.ndarray] = []
    with closing(found):
        for answer in found:
            if stop:
                return None
            gathered.append(answer)
    return gathered


def judging(recipe: Recipe, data: Path) -> str:
    """The split that judges: test, or validation where there is none."""
    return "test" if len(recipe.data.open(data, "test")) else "validation"


def judged_answers(
    recipe: Recipe, model: nn.Module, data: Path, name: str, *, loader: Loader
) -> Generator[np.ndarray]:
    """The model's answers on a whole split, in batches; raises DataError if it is empty."""
    split = recipe.data.open(data, name)
    if not len(split):
        raise DataError(f"{data}: the {name} split is empty; see data.split.{name}")
    return answers(model, recipe.task, split, batch=recipe.evaluate.batch, loader=loader)


def scored(
    recipe: Recipe,
    data: Path,
    name: str,
    found: list[np.ndarray],
    fitted: Calibration | None = None,
) -> dict[str, Any]:
    """What answers to a whole split are worth, as plain data; baselines are yet to be added."""
    split, signature = recipe.data.open(data, name), read_json(data / "signature.json")
    columns = recipe.data.raw_columns(data, name) if recipe.evaluate.slices else {}
    held = Held(
        gathered(found),
        split.units(np.arange(len(split))),
        Signature.parse(signature).labels,
        columns,
    )
    held = in_units(recipe, data / "transform", held)
    return {"split": name, **findings(recipe.task, recipe.evaluate, held, fitted)}


def in_units(recipe: Recipe, transform: Path, held: Held) -> Held:
    """With the first predicted and true number of each sample in the unit of the data."""
    if recipe.task.kind != "regression":
        return held
    both = np.split(held.answers, 2, axis=1)
    predicted, true = (recipe.data.in_units(transform, part)[:, 0] for part in both)
    return held._replace(numbers=(predicted, true))


def measured(recipe: Recipe, baseline: Baseline, data: Path, split: str) -> dict[str, Any]:
    """The scores of a baseline on the same samples, as plain data."""
    splits = {"train": recipe.data.open(data, "train"), "test": recipe.data.open(data, split)}
    raw = recipe.data.documents(data)
    # a baseline judges on what it knows as test: where there is none, the validation split
    read = None if raw is None else (lambda name: raw(split if name == "test" else name))
    scores = baseline.measure(recipe.task, splits, read)
    return {name: score.dump() for name, score in scores.items()}


def chosen_baselines(recipe: Recipe) -> tuple[Baseline, ...]:
    """The recipe's baselines, or the defaults for its task and data."""
    if recipe.evaluate.baselines is not None:
        return recipe.evaluate.baselines
    suited = [
        kind
        for kind in Baseline.kinds().values()
        if kind.default and recipe.task.kind in kind.tasks and recipe.data.gives in kind.gives
    ]
    return tuple(kind(kind=kind.tag()) for kind in suited)
