"""Reading: how the samples of a split become what a model is given, here or in another process.

Augmentation is part of it: on the CPU whoever reads ahead augments as well; for a GPU the samples
go there as they are stored, and are augmented and finished where that is fastest.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from zafu.artifact import read_json
from zafu.batch import Batch
from zafu.data.contract import Split
from zafu.loading.contract import Read, Remote, Request, Source
from zafu.recipe import Recipe
from zafu.signature import Signature

if TYPE_CHECKING:
    from zafu.augment.runtime.chain import Chain

CPU = torch.device("cpu")
Finish = Callable[[Batch, Request], Batch]


class Reading(NamedTuple):
    """What a loader does, and what is left to do on the model's device."""

    source: Source
    finish: Finish | None = None  # None: nothing

    def batch(self, request: Request, device: torch.device) -> Batch:
        """The batch of a request on a device, read now: whoever reads it, it has these bytes."""
        return self.arrived(self.source.read(request), request, device)

    def arrived(self, batch: Batch, request: Request, device: torch.device) -> Batch:
        """A batch that a loader gave, on the device and finished."""
        if device.type == "cuda" and not batch.targets.is_pinned():  # it is another process's
            batch = batch.pinned()
        batch = batch.to(device)
        return self.finish(batch, request) if self.finish else batch


def plain(split: Split) -> Reading:
    """The samples as they are."""
    return Reading(Source(lambda request: split.batch(request.ids)))


def training(recipe: Recipe, file: Path, data: Path, *, device: torch.device) -> Reading:
    """The samples of the prepared training split for a recipe, augmented as that says.

    `file` holds the recipe: another process reads it there.
    """
    told = {"recipe": str(file.resolve()), "data": str(data.resolve()), "device": device.type}
    here = _reading(recipe, data, device)
    read = here.source.read if device.type == "cpu" else _pinned(here.source.read)
    return Reading(Source(read, Remote("zafu.reading", told)), here.finish)


def augmented(recipe: Recipe, data: Path) -> Read:
    """The raw samples of the training split as augmentation leaves them, on the CPU."""
    split = recipe.data.open(data, "train")
    chain = chain_of(recipe, data, split, CPU)
    return lambda request: chain(split.raw(request.ids), request.epochs)


def _reading(recipe: Recipe, data: Path, device: torch.device) -> Reading:
    split = recipe.data.open(data, "train")
    fit = recipe.fit
    if not fit.augment:
        return plain(split)
    there = device if fit.augment_backend == "torch" else CPU
    chain = chain_of(recipe, data, split, there)
    if there.type == "cpu":
        return Reading(Source(lambda r: split.finish(chain(split.raw(r.ids), r.epochs))))
    return Reading(
        Source(lambda r: split.raw(r.ids)), lambda batch, r: split.finish(chain(batch, r.epochs))
    )


def chain_of(recipe: Recipe, data: Path, split: Split, device: torch.device) -> Chain:
    """What a recipe does to raw training samples."""
    from zafu.augment.runtime.chain import Chain

    return Chain(
        recipe.fit.augment,
        seed=recipe.seed,
        outputs=Signature.parse(read_json(data / "signature.json")).outputs,
        read=lambda ids: split.raw(ids).to(device),
        n=len(split),
        backend=recipe.fit.augment_backend,
        white=recipe.data.white,
        vocabulary=recipe.data.vocabulary(data / "transform"),
    )


def _pinned(read: Read) -> Read:
    """The same, in memory from which a GPU copies while the processor goes on."""
    return lambda request: read(request).pinned()


def _again(told: dict[str, Any]) -> Read:
    """The function that `training` described, in the process that was told."""
    recipe, data = Recipe.stored(Path(told["recipe"])), Path(told["data"])
    return _reading(recipe, data, torch.device(told["device"])).source.read


if __name__ == "__main__":
    from zafu.loading.runtime.serve import serve

    serve(_again)
