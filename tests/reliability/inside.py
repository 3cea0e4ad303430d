"""Trainings inside this process: to stop them at a step, and to look at what they hold."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

from torch import nn

from zafu import artifact, tensors
from zafu.build import build
from zafu.loop import Objective, Step
from zafu.optim.runtime.update import Update
from zafu.pipeline import Began, Event, Note, events
from zafu.recipe import Recipe
from zafu.run import Run, prepared
from zafu.signature import Signature
from zafu.source import parse_yaml
from zafu.spec import digest_of


def run_of(folder: Path, recipe: Path, name: str) -> Run:
    """The run of a recipe's file in a folder of this name."""
    return Run(folder / "runs" / name, Recipe.load(recipe))


def carried(run: Run, *, to: int) -> None:
    """Train up to a step and walk away, without a word."""
    stream = events(run)
    for event in stream:
        if isinstance(event, Step) and event.number == to:
            break
    stream.close()


def notes(run: Run) -> tuple[list[str], list[Event]]:
    """Carry a run to its end: the notes before training began, and what came after."""
    stream = list(events(run))
    begun = next(i for i, event in enumerate(stream) if isinstance(event, Began))
    return [event.text for event in stream[:begun] if isinstance(event, Note)], stream[begun:]


def before_training(run: Run) -> list[str]:
    """What a run says before its first step; then it is left."""
    said: list[str] = []
    stream = events(run)
    for event in stream:
        if isinstance(event, Began):
            break
        assert isinstance(event, Note)
        said.append(event.text)
    stream.close()
    return said


@dataclasses.dataclass
class Parts:
    """What the loop works on."""

    objective: Objective
    update: Update

    @property
    def model(self) -> nn.Module:
        """The model that is trained."""
        return self.objective.model

    def digest(self) -> str:
        """One digest of all bytes of weights, optimizer state and averages, and their names."""
        return digest(self.model, self.update)


def recipe_of(text: str) -> Recipe:
    """The recipe that a YAML text describes."""
    return Recipe.parse(parse_yaml(text).data)


def parts(recipe: Recipe, folder: Path) -> Parts:
    """Fresh weights and what trains them, with the data prepared below `folder`."""
    run = Run(folder / "parts", recipe)
    data = prepared(recipe, folder)
    signature = Signature.parse(artifact.read_json(data / "signature.json"))
    model, update, _ = build(run.recipe, signature)
    split = recipe.data.open(data, "train")
    return Parts(Objective(model, recipe.task, split, recipe.fit, recipe.seed), update)


def digest(model: nn.Module, update: Update) -> str:
    """SHA-256 of names, types, shapes and bytes of all that a checkpoint would hold."""
    found = hashlib.sha256(repr(update.plain()).encode())
    state = tensors.of_module(model) | update.tensors()
    for name in sorted(state):
        tensor = state[name].contiguous()
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.numpy().tobytes())
    return found.hexdigest()


def signed(folder: Path, extra: dict[str, str] | None = None) -> None:
    """Make the card of a folder fit its files, as the author of a hostile folder would."""
    card = json.loads((folder / "card.json").read_text())
    del card["sha256"]
    card["files"] = {name: artifact.digest_file(folder / name) for name in card["files"]}
    card["files"] |= extra or {}
    card["sha256"] = digest_of(card)
    (folder / "card.json").write_text(json.dumps(card))
