"""Examining: a finished model on a split or on a file with targets, alone or against another one.

Nothing is fitted: a file is encoded by what was fitted with the model, and probabilities are mended
by the temperature that the model carries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zafu import borrowed
from zafu.artifact import model_folder, read_json
from zafu.build import device_of, load_model
from zafu.data.contract import Labelled
from zafu.errors import Fault, RecipeError, Refused
from zafu.evaluation import calibration
from zafu.evaluation.against import compared
from zafu.evaluation.contract import Evaluate
from zafu.evaluation.findings import Held, absent, findings
from zafu.judge import answers, gathered, in_units
from zafu.loading.inline import Inline
from zafu.recipe import Recipe
from zafu.run import Run, prepared
from zafu.signature import Signature

MISTAKES = 12  # samples in the list of the worst answers


class Asked(NamedTuple):
    """What is to be judged, and by what beside the recipe's own metrics."""

    file: Path | None = None  # None: the split
    split: str = "test"
    metrics: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()


class Examined(NamedTuple):
    """A model's answers to samples whose targets are known."""

    recipe: Recipe
    signature: Signature
    samples: Labelled
    held: Held
    fitted: calibration.Calibration | None


def examine(folder: Path, asked: Asked, other: Path | None = None) -> dict[str, Any]:
    """Everything that `evaluation.json` says, of a file or split, and of the worst answers.

    With another finished run both are compared on the same samples. Raises DataError that names
    file, row and column, RecipeError for a metric or column that cannot be had, and Refused where
    the other model cannot be asked the same.
    """
    found = answered(folder, asked)
    recipe = found.recipe
    settings = _settings(recipe, found.signature, asked)
    columns: Mapping[str, np.ndarray] = found.samples.columns if settings.slices else {}
    if faults := absent(settings, columns):
        raise RecipeError(faults)
    held = found.held._replace(columns=columns)
    said = findings(recipe.task, settings, held, found.fitted)
    said["mistakes"] = _mistakes(recipe, found)
    where = {"file": str(asked.file)} if asked.file else {"split": asked.split}
    if other:
        metrics = list(said["scores"])
        said["against"] = _against(found, other, asked, metrics)
    return {**where, "samples": len(held.answers), **said}


def answered(folder: Path, asked: Asked) -> Examined:
    """The answers of a finished model to a file, or to a split of the data it was trained on."""
    transform = model_folder(folder)
    module, recipe, signature = load_model(transform)
    module.to(device_of(recipe.fit))
    samples = _samples(folder, transform, recipe, asked)
    batch = recipe.evaluate.batch
    told = list(answers(module, recipe.task, samples.split, batch=batch, loader=Inline()))
    together = gathered(told)
    units = samples.split.units(np.arange(len(together)))
    held = in_units(recipe, transform, Held(together, units, signature.labels))
    return Examined(recipe, signature, samples, held, calibration.stored(transform))


def _samples(folder: Path, transform: Path, recipe: Recipe, asked: Asked) -> Labelled:
    if asked.file:
        if not asked.file.exists():
            raise Refused(f"{asked.file}: expected a file with targets, found nothing there")
        return recipe.data.labelled(transform, asked.file)
    data = prepared(Run.open(folder).recipe, folder.parent)
    split = recipe.data.open(data, asked.split)
    if not len(split):
        raise Refused(f"{data}: the {asked.split} split is empty; see data.split.{asked.split}")
    names = [f"{asked.split} {i}" for i in range(len(split))]
    return Labelled(split, names, recipe.data.raw_columns(data, asked.split))


def _settings(recipe: Recipe, signature: Signature, asked: Asked) -> Evaluate:
    """The recipe's, with what is asked for beside; raises RecipeError for what cannot be had."""
    outputs, task = signature.outputs, recipe.task
    faults = [
        Fault("--metrics", fault.expected, fault.found, hint=fault.hint)
        for name in asked.metrics
        if name not in task.metrics
        for fault in borrowed.faults(name, task.kind, outputs)
    ]
    if asked.slices and recipe.data.kind != "table":
        faults.append(Fault("--slices", "nothing, as only a table has columns", recipe.data.kind))
    if faults:
        raise RecipeError(faults)
    metrics = dict.fromkeys([*recipe.evaluate.metrics, *asked.metrics])
    slices = dict.fromkeys([*recipe.evaluate.slices, *asked.slices])
    return recipe.evaluate.model_copy(update={"metrics": (*metrics,), "slices": (*slices,)})


def _mistakes(recipe: Recipe, found: Examined) -> list[dict[str, Any]]:
    """The wrong answers that the model was surest of, or the numbers that it missed most."""
    names, answered = found.samples.names, found.held.answers
    if recipe.task.kind == "classification":
        labels = found.signature.labels
        if found.fitted:
            answered = calibration.cooled(answered, found.fitted.temperature)
        predicted, true = answered[:, 1:3].T.astype(np.int64)
        sure = answered[:, 3:].max(1)
        worst = np.argsort(np.where(predicted != true, -sure, 1.0), kind="stable")[:MISTAKES]
        return [
            {
                "name": names[i],
                "predicted": labels[predicted[i]],
                "true": labels[true[i]],
                "probability": round(float(sure[i]), 4),
            }
            for i in worst.tolist()
            if predicted[i] != true[i]
        ]
    if not found.held.numbers:
        return []
    predicted, true = found.held.numbers
    worst = np.argsort(-np.abs(predicted - true), kind="stable")[:MISTAKES].tolist()
    return [
        {"name": names[i], "predicted": float(predicted[i]), "true": float(true[i])} for i in worst
    ]


def _against(found: Examined, other: Path, asked: Asked, metrics: Sequence[str]) -> dict[str, Any]:
    """Both models on the same samples; raises Refused where these are not the same."""
    if asked.file is None:
        _refuse_other_split(found.recipe, other)
    there = model_folder(other)
    kind = Recipe.stored(there / "recipe.yaml").task.kind
    labels = Signature.parse(read_json(there / "signature.json")).labels
    if kind != found.recipe.task.kind or labels != found.held.labels:
        raise Refused(f"{other}: expected a model of the same task and classes")
    own, theirs = found.held, answered(other, asked).held
    if len(own.answers) != len(theirs.answers) or own.units != theirs.units:
        counts = f"{len(own.answers)} and {len(theirs.answers)}"
        raise Refused(f"{other}: expected answers to the same samples, found {counts} of them")
    rows = compared(found.recipe.task, metrics, own.answers, theirs.answers, units=own.units)
    return {"run": str(other), "rows": rows}


def _refuse_other_split(recipe: Recipe, other: Path) -> None:
    """Raises Refused where the other run was not trained on the same split of the same data."""
    here, there = (r.at("data.split.seed", r.split_seed) for r in (recipe, Run.open(other).recipe))
    if (there.data, there.task.kind) != (here.data, here.task.kind):
        raise Refused(
            f"{other}: expected a run on the same split, since it may have learned from these "
            "samples; give --data FILE with samples that neither has seen"
        )
