"""What is exported: the model of a finished run, or of a checkpoint, and all fitted with it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from torch import nn

from zafu import artifact, checkpoint
from zafu.artifact import read_json
from zafu.build import build, load_model
from zafu.data.contract import Split
from zafu.errors import Refused
from zafu.evaluation import calibration
from zafu.export.contract import Source, read
from zafu.run import Run, prepared
from zafu.signature import Signature

SHOWN = 8  # samples that a writer may look at
CALIBRATING = 64  # training samples by which ranges are calibrated


@contextmanager
def taken(
    run: Run, step: int | None, say: Callable[[str], None]
) -> Generator[tuple[Source, Split]]:
    """Inside, what is exported of a run, and the held-out samples on which it is judged."""
    recipe = run.recipe
    data = prepared(recipe, run.folder.parent)
    signature = Signature.parse(read_json(data / "signature.json"))
    split = held_out(run, data)
    inputs = read(split.batch(np.arange(min(SHOWN, len(split)))).inputs)
    with trained(run, signature, step) as module, TemporaryDirectory() as place:
        fitted = Path(place)
        shutil.copytree(data / "transform", fitted, dirs_exist_ok=True)
        for file in (data / "signature.json", run.folder / "recipe.yaml"):
            shutil.copyfile(file, fitted / file.name)
        if step is None and (found := run.model / calibration.FILE).is_file():
            shutil.copyfile(found, fitted / found.name)
        train = recipe.data.open(data, "train")
        seen = read(train.batch(np.arange(min(CALIBRATING, len(train)))).inputs)
        yield Source(module, recipe, signature, fitted, inputs, say, seen), split


def held_out(run: Run, data: Path) -> Split:
    """The samples on which an export is judged: the validation split, else test, else training."""
    splits = [run.recipe.data.open(data, name) for name in ("validation", "test", "train")]
    return next(split for split in splits if len(split))


@contextmanager
def trained(run: Run, signature: Signature, step: int | None) -> Generator[nn.Module]:
    """Inside, the module with the weights that are shipped, on the CPU, in evaluation mode.

    Those of a checkpoint are as they would be if the run ended there.
    """
    if step is None:
        if not run.finished:
            saved = checkpoint.complete(run.checkpoints)
            known = "it has no step"
            if saved:
                known = f"--step {checkpoint.step_of(saved[-1])} takes {saved[-1].name}"
            raise Refused(f"{run.folder}: expected a finished run; {known}")
        yield load_model(run.model)[0]
        return
    path = run.checkpoints / checkpoint.name_of(step)
    if path not in (saved := checkpoint.complete(run.checkpoints)):
        known = ", ".join(str(checkpoint.step_of(found)) for found in saved) or "none"
        raise Refused(f"--step: expected one of {known}, found {step}")
    artifact.verify(path)
    model, update, _ = build(on_cpu(run).recipe, signature)
    checkpoint.load_shown(path, model, update)
    with update.evaluating():
        yield model.eval()


def on_cpu(run: Run) -> Run:
    """The same run where it is computed by one process, as it stands in code, on the CPU."""
    recipe = run.recipe.at("fit.device", "cpu").at("fit.compile", False)
    return Run(run.folder, recipe)
