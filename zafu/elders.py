"""Elders: the finished models that a recipe builds on, to start from or to learn from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from zafu.artifact import MODEL, card, digest_file, model_folder
from zafu.distil import Distil
from zafu.errors import Damaged, Fault, Refused
from zafu.fit import Fit
from zafu.layout import Layout
from zafu.models.contract import Model
from zafu.spec import digest_of
from zafu.task import Task

RECIPE, CONFIG = "recipe.yaml", "config.json"


def from_hub(folder: Path) -> bool:
    """Whether a folder is one of `transformers`, or an export of that kind, and none of ours."""
    return (folder / CONFIG).is_file() and not (folder / RECIPE).is_file()


def weights(folder: Path) -> str:
    """Which weights a folder has: their digest; its name, where there are none."""
    if from_hub(folder):
        files = [folder / CONFIG, *sorted(folder.glob("*.safetensors"))]
        return digest_of([digest_file(file) for file in files])
    try:
        return card(model_folder(folder))["files"][MODEL]
    except (Refused, Damaged, KeyError, TypeError):
        return str(folder)


def absent(fit: Fit) -> Iterator[Fault]:
    """Faults of elders that are not there."""
    named = {"fit.start": fit.start}
    if fit.distil and not from_hub(Path(fit.distil.teacher)):
        named["fit.distil.teacher"] = fit.distil.teacher
    for path, folder in named.items():
        try:
            if folder is not None:
                model_folder(Path(folder))
        except Refused:
            yield Fault(path, "a finished run or its model folder", folder or "")


def unsuited(task: Task, model: Model, fit: Fit, layout: Layout) -> Iterator[Fault]:
    """Faults of a teacher's lessons that this student, or its layout, cannot take."""
    spec = fit.distil
    if spec is None:
        return
    if layout.tensor * layout.pipeline * layout.context > 1:
        expected = "data and shard alone with fit.distil, as else no process has all logits"
        yield Fault("layout", expected, "others")
    if from_hub(Path(spec.teacher)) and task.kind != "language-modeling":
        found = "a folder of transformers, which does not say how its inputs were prepared"
        yield Fault("fit.distil.teacher", f"a finished run for {task.kind}", found)
    if spec.attention and not model.attends():
        found = f"{spec.attention:g} for {model.kind}"
        yield Fault("fit.distil.attention", "0, as only decoder and vit show what they see", found)
    if fit.compile and (spec.looks_inside or spec.own):
        names = ", ".join(name for name in ("features", "attention", "own") if spec.dump()[name])
        yield Fault("fit.compile", f"false with fit.distil.{names}", "true")
    yield from _unwritten(task, spec, layout)


def _unwritten(task: Task, spec: Distil, layout: Layout) -> Iterator[Fault]:
    if not spec.own:
        return
    if task.kind != "language-modeling":
        yield Fault("fit.distil.own", f"0, as {task.kind} writes no text", f"{spec.own:g}")
    if layout.shard > 1:
        hint = "set layout.data in its place"
        expected = "1 with fit.distil.own, for which each process writes with all weights"
        yield Fault("layout.shard", expected, str(layout.shard), hint=hint)
