"""Rewinding: the weights of a run's early training, in the form that a chain has given the model.

They are computed again, which gives the same bytes; no checkpoint needs to be kept for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from zafu import artifact
from zafu.build import load_model
from zafu.compress.contract import Compression
from zafu.compress.rewind import Rewind
from zafu.errors import Refused
from zafu.layout import Layout
from zafu.nets.sparse import thin
from zafu.pipeline import whole
from zafu.recipe import Recipe
from zafu.run import Run
from zafu.signals import Stop, stoppable
from zafu.trial import Trial, ready, trained


def refuse(source: Run, links: Sequence[Compression]) -> None:
    """Raise Refused where the run with which a chain begins has no early weights to go back to."""
    for link in links:
        if not isinstance(link, Rewind):
            continue
        if (source.folder / artifact.CARD).is_file():
            raise Refused(f"rewind: expected a run that was trained, found a link, {source.name}")
        if link.to and source.recipe.fit.seconds:
            raise Refused("rewind: expected a budget in steps or samples, found one in seconds")


def rewound(source: Run, data: Path, parent: Path, link: Rewind, folder: Path) -> Path:
    """The model folder of what `link` trains from, made in `folder` where it is not there.

    Raises Interrupted after a signal, and as `refuse`.
    """
    refuse(source, [link])
    if not (folder / artifact.CARD).is_file():
        with stoppable() as stop:
            early = early_model(source.recipe, data, link.to, stop)
        module, recipe, _ = load_model(artifact.model_folder(parent))
        take_back(module, early)

        def write(part: Path) -> None:
            whole(part, recipe, module, data, link=link.dump())

        artifact.publish(folder, write, kind="link", link=link.dump(), parent=str(parent))
    return artifact.model_folder(folder)


def early_model(recipe: Recipe, data: Path, to: float, stop: Stop) -> nn.Module:
    """A recipe's model as it is after a share of its training, by one process."""
    fit = recipe.fit.model_copy(update={"early_stopping": None})
    alone = recipe.model_copy(update={"fit": fit, "layout": Layout()})
    trial = Trial(alone, data, judged=(), until=to or 1.0)
    begun = ready(trial)
    if to and (wrong := trained(trial, begun, lambda: stop.signal).diverged):
        raise Refused(f"rewind: the first training cannot be repeated: {wrong}")
    return begun.objective.model


@torch.no_grad()
def take_back(module: nn.Module, early: nn.Module) -> None:
    """In place: a model with zeros gets the weights of another where it has some."""
    zeroed = thin(module)
    for name, layer in zeroed.items():
        weight: Tensor = early.get_submodule(name).weight  # pyright: ignore
        layer.values.copy_(weight.flatten()[layer.places().to(weight.device)])
    theirs = dict(early.named_parameters()) | dict(early.named_buffers())
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        owner, _, leaf = name.rpartition(".")
        if owner not in zeroed or leaf == "bias":
            tensor.copy_(theirs[name])
