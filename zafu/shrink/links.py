"""Links: each step of a compression is a finished run of its own, made once.

A link that reshapes is built beside its name and renamed when it is whole; a link that trains is a
recipe like any other. So a chain that was killed goes on where it stopped, and two chains that
begin alike share what they begin with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from zafu import answer, artifact
from zafu.artifact import read_json, write_json, write_text
from zafu.batch import Batch
from zafu.build import load_model
from zafu.compress.contract import Compression, Reshaping, Work
from zafu.compress.recovery import Recovery
from zafu.compress.rewind import Rewind
from zafu.data.contract import Split
from zafu.errors import DataError, Interrupted
from zafu.evaluation import calibration
from zafu.judge import gathered, judged_answers, judging, scored, unless_stopped
from zafu.loading.order import Order
from zafu.models.compressed import edited
from zafu.pipeline import Event, whole
from zafu.recipe import Recipe
from zafu.report import page as report
from zafu.report.folder import read as read_folder
from zafu.run import Run, prepared
from zafu.session import Note
from zafu.shrink.processes import laid_out, trained
from zafu.shrink.rewinding import rewound
from zafu.signals import Stop, stoppable
from zafu.spec import digest_of

AT_ONCE = 16  # samples in one pass of calibration


class Place(NamedTuple):
    """Where a chain works."""

    source: Run  # the run with which it begins
    data: Path  # its prepared data
    runs: Path


def placed(folder: Path, runs: Path | None) -> Place:
    """Where chains that begin with a finished run work; raises Refused, DataError."""
    source = Run.open(folder)
    model = artifact.model_folder(folder)
    was, data = artifact.card(model).get("data"), prepared(source.recipe, folder.parent)
    if was and data.name != was:
        text = f"expected the data that the model was trained on, {was}, found {data.name}"
        raise DataError(f"{data}: {text}: files, packages or zafu have changed since")
    return Place(source, data, runs or folder.parent)


def digest(source: Path, links: Sequence[Compression]) -> str:
    """Of the model with which a chain begins, and its links."""
    return digest_of_all(source, [link.dump() for link in links])


def digest_of_all(source: Path, asked: Sequence[object]) -> str:
    """Of a finished run's model, and what is done with it."""
    begin = artifact.card(artifact.model_folder(source))["sha256"]
    return digest_of([begin, *asked])[:8]


def folder_of(place: Place, links: Sequence[Compression]) -> Path:
    """Where the last of these links is, or will be."""
    return place.runs / f"{place.source.stem}-{links[-1].kind}-{digest(place.source.folder, links)}"


def made(place: Place, links: Sequence[Compression]) -> Iterator[Event]:
    """Make the last of these links, whose parent must be there; yields what happens.

    Raises Refused, naming the layer, where a model cannot be changed so, Interrupted after a
    signal.
    """
    parent = (folder_of(place, links[:-1]) if len(links) > 1 else place.source.folder).resolve()
    folder, link = folder_of(place, links), links[-1]
    if isinstance(link, Recovery):
        start = artifact.model_folder(parent)
        recipe = Recipe.stored(start / "recipe.yaml")
        first, fit = artifact.model_folder(place.source.folder.resolve()), recipe.fit
        if isinstance(link, Rewind):
            fit = place.source.recipe.fit
            start = rewound(place.source, place.data, parent, link, folder.resolve() / "start")
        fit = link.changes(fit.dump(), str(start), str(first))
        plain = recipe.dump() | {"fit": fit, "compress": [], "export": []}
        own, notes = laid_out(plain, place.source.recipe.layout)
        yield from notes
        yield from trained(Run(folder, own))
        return
    if isinstance(link, Reshaping) and not (folder / artifact.CARD).is_file():
        with stoppable() as stop:
            yield from _reshaped(place, parent, folder, link, stop)


def _reshaped(
    place: Place, parent: Path, folder: Path, link: Reshaping, stop: Stop
) -> Iterator[Event]:
    module, recipe, _ = load_model(artifact.model_folder(parent))
    notes: list[str] = []
    edits = tuple(link.apply(work(recipe, module, place.data, link.looked_at, notes.append)))
    yield from map(Note, notes)
    unstopped(stop)
    update = {"model": edited(recipe.model, edits), "compress": (), "export": ()}
    smaller = recipe.model_copy(update=update)

    def write(part: Path) -> None:
        fitted = calibrated(smaller, module, place.data, stop)
        run = whole(part, smaller, module, place.data, fitted=fitted, link=link.dump())
        again, _, _ = load_model(run.model)  # what is judged is what was written
        judged(run, again, place.data, fitted, stop, baselines=_baselines(place.source))
        write_text(part / report.NAME, report.page(replace(read_folder(part), name=folder.name)))

    artifact.publish(folder, write, kind="link", link=link.dump(), parent=str(parent))


def work(
    recipe: Recipe, module: nn.Module, data: Path, samples: int, note: Callable[[str], None]
) -> Work:
    """What a method works on: the first samples of the training split in a shuffled order."""
    split = recipe.data.open(data, "train")
    batches = list(calibration_batches(split, samples, recipe.seed))
    return Work(module, batches, recipe.task.loss, recipe.seed, note)


def calibration_batches(split: Split, samples: int, seed: int) -> Iterator[Batch]:
    """Samples of a split by batches, the same for the same seed."""
    ids = Order(len(split), seed).positions(0, min(samples, len(split)))
    for start in range(0, len(ids), AT_ONCE):
        yield split.batch(np.asarray(ids[start : start + AT_ONCE]))


def calibrated(
    recipe: Recipe, module: nn.Module, data: Path, stop: Stop
) -> calibration.Calibration | None:
    """The temperature of a changed classifier, learned anew on the validation split."""
    if recipe.task.kind != "classification" or not len(recipe.data.open(data, "validation")):
        return None
    return calibration.fit(answers(recipe, module, data, "validation", stop), "validation")


def answers(recipe: Recipe, module: nn.Module, data: Path, split: str, stop: Stop) -> np.ndarray:
    """What a model says of a split, `(samples, k)`."""
    loader = recipe.fit.loader.nearby()
    found = unless_stopped(judged_answers(recipe, module, data, split, loader=loader), stop)
    unstopped(stop)
    return gathered(found or [])


def judged(
    run: Run,
    module: nn.Module,
    data: Path,
    fitted: calibration.Calibration | None,
    stop: Stop,
    *,
    baselines: dict[str, Any],
) -> None:
    """Write into a run what its model says of held-out samples."""
    recipe, split = run.recipe, judging(run.recipe, data)
    found = [answers(recipe, module, data, split, stop)]
    evaluation = scored(recipe, data, split, found, fitted) | {"baselines": baselines}
    write_json(run.folder / "evaluation.json", evaluation)
    write_json(run.folder / "samples.json", answer.shown(recipe, module, data, split))


def _baselines(source: Run) -> dict[str, Any]:
    file = source.folder / "evaluation.json"
    return read_json(file).get("baselines", {}) if file.is_file() else {}


def unstopped(stop: Stop) -> None:
    """Raise Interrupted if somebody asked to stop."""
    if stop:
        raise Interrupted(f"{stop.signal}: finished links are kept; run the same command again")
