"""From scratch: a fresh model of a pruned one's shape, trained as long as both trainings took.

Liu et al., 2019 (arXiv:1810.05270): the rival that structured pruning has to beat. Units of a fresh
model are taken out at random; what reads fewer inputs is scaled up by the root of how many fewer,
so that its outputs are as large as those of a fresh layer of that size.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from zafu import artifact
from zafu.build import load_model
from zafu.compress.prune import Prune
from zafu.compress.recovery import UNITS, Recovery
from zafu.errors import Refused
from zafu.fit import Fit
from zafu.loop import budget
from zafu.models.compressed import Compressed, edited
from zafu.pipeline import Event, whole
from zafu.recipe import Recipe
from zafu.run import Run
from zafu.shrink import processes
from zafu.shrink.links import Place, digest, work
from zafu.signature import Signature


def trained(place: Place, link: Prune, again: Recovery) -> Iterator[Event | Run]:
    """Train a fresh model of the shape that `link` leaves; yields what happens, at last its Run.

    Raises Refused where no budget in samples is known, or the shape is not that of one pruning.
    """
    recipe = place.source.recipe
    fit = _fit(place, again)
    name = place.source.stem
    folder = place.runs / f"{name}-fresh-{digest(place.source.folder, [link])}"
    if not (folder / artifact.CARD).is_file():
        _publish(place, link, folder)
    model = Recipe.stored(folder / "recipe.yaml").model.dump()
    fit["start"] = str(artifact.model_folder(folder))
    plain = recipe.dump() | {"model": model, "fit": fit, "compress": [], "export": []}
    own, notes = processes.laid_out(plain, recipe.layout)
    run = Run.named(own, f"{name}-scratch", place.runs)
    yield from notes
    yield from processes.trained(run)
    yield run


def _fit(place: Place, again: Recovery) -> dict[str, object]:
    """The recipe's own training, for as many samples as it and the one behind a link take."""
    recipe = place.source.recipe
    split, plain = recipe.data.open(place.data, "train"), recipe.dump()["fit"]
    further = Fit.parse(again.trained(plain, str(artifact.model_folder(place.source.folder))))
    totals = [budget(split, fit)[1] for fit in (recipe.fit, further)]
    known = [total for total in totals if total]
    if len(known) < len(totals):
        raise Refused("from scratch: expected budgets in samples, found one in seconds")
    return plain | dict.fromkeys((*UNITS, "seconds")) | {"samples": sum(known)}


def _publish(place: Place, link: Prune, folder: Path) -> None:
    recipe = place.source.recipe
    if isinstance(recipe.model, Compressed):
        raise Refused("from scratch: expected a model that was not compressed before")
    _, _, signature = load_model(artifact.model_folder(place.source.folder))
    module = fresh(recipe, signature)
    before = {name: p.shape for name, p in module.named_parameters()}
    plain = link.model_copy(update={"score": "random", "repair": False})
    edits = tuple(plain.apply(work(recipe, module, place.data, 1, lambda _: None)))
    scale(module, before)
    update = {"model": edited(recipe.model, edits), "compress": (), "export": ()}
    small = recipe.model_copy(update=update)

    def write(part: Path) -> None:
        whole(part, small, module, place.data, link=link.dump())

    artifact.publish(folder, write, kind="fresh", link=link.dump())


def fresh(recipe: Recipe, signature: Signature) -> nn.Module:
    """The model with the weights with which its training began, had it begun with none."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return recipe.model.build(signature).eval()


def scale(module: nn.Module, before: dict[str, torch.Size]) -> None:
    """In place: enlarge matrices that read fewer inputs than before by the root of the ratio."""
    with torch.no_grad():
        for name, p in module.named_parameters():
            if p.ndim > 1 and p.shape[1] < before[name][1]:
                p.mul_((before[name][1] / p.shape[1]) ** 0.5)
