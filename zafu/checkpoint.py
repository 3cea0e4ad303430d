"""Checkpoints: all that a run needs to go on, whole or not at all.

Two safetensors files and one JSON file, published as an artifact. Every byte is checked against
its digest before it is used; a damaged checkpoint is set aside and the one before it is taken.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Container
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from zafu import tensors
from zafu.artifact import publish, read_json, verify, write_json
from zafu.errors import Damaged
from zafu.loop import Progress
from zafu.optim.update import Update

MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
_NAME = re.compile(r"step-(\d{9})")


@dataclass
class State:
    """What is neither weight nor optimizer: how far, and how well so far."""

    progress: Progress
    evaluated: int = 0  # the last step that was evaluated
    best_step: int | None = None
    best_value: float | None = None
    stale: int = 0  # evaluations since the best
    stopped: bool = False  # whether early stopping has ended the run
    extra: dict[str, float] = field(default_factory=dict[str, float])  # seconds spent otherwise


def save(folder: Path, model: nn.Module, update: Update, state: State, **facts: Any) -> Path:
    """Publish a checkpoint of this moment under `folder`; returns its path."""

    def write(part: Path) -> None:
        own, others = tensors.of_module(model), update.tensors()
        tensors.write(part / MODEL, own, bytes_beside=tensors.size(others))
        tensors.write(part / OPTIMIZER, others)
        write_json(part / STATE, {"state": asdict(state), "update": update.plain()})

    step = state.progress.step
    return publish(folder / f"step-{step:09d}", write, kind="checkpoint", step=step, **facts)


def load(checkpoint: Path, model: nn.Module, update: Update) -> State:
    """Put a checkpoint into model and update, in place; raises Damaged before touching either."""
    verify(checkpoint)
    weights = tensors.read(checkpoint / MODEL)
    others = tensors.read(checkpoint / OPTIMIZER)
    data = read_json(checkpoint / STATE)
    try:
        progress = Progress(**data["state"].pop("progress"))
        state = State(progress=progress, **data["state"])
    except (KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"{checkpoint / STATE}: not a state of this version: {error}") from None
    tensors.into_module(model, weights, checkpoint / MODEL)
    update.load(others, data["update"])
    return state


def resume(
    folder: Path, model: nn.Module, update: Update, note: Callable[[str], None]
) -> tuple[State, Path] | None:
    """Load the newest whole checkpoint; None if there is none. Damaged ones are set aside."""
    for checkpoint in reversed(complete(folder)):
        try:
            return load(checkpoint, model, update), checkpoint
        except Damaged as error:
            aside = checkpoint.with_name(checkpoint.name + ".damaged")
            shutil.rmtree(aside, ignore_errors=True)
            checkpoint.rename(aside)
            note(f"{checkpoint.name} is damaged and set aside: {error}")
    return None


def complete(folder: Path) -> list[Path]:
    """The checkpoints that carry a final name, oldest first."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(p for p in found if _NAME.fullmatch(p.name) and p.is_dir())


def prune(folder: Path, *, keep: int, pinned: Container[Path] = ()) -> list[Path]:
    """Remove all but the newest `keep` and the pinned checkpoints; returns what was removed."""
    removed = [p for p in complete(folder)[:-keep] if p not in pinned]
    for checkpoint in removed:
        doomed = checkpoint.with_name(checkpoint.name + ".part")  # never half a checkpoint
        checkpoint.rename(doomed)
        shutil.rmtree(doomed)
    return removed


def sweep(folder: Path) -> None:
    """Remove what an ended process left unfinished; only for the run's one writer."""
    for part in folder.glob("*.part") if folder.is_dir() else ():
        shutil.rmtree(part, ignore_errors=True)


def step_of(checkpoint: Path) -> int:
    """The step at which a checkpoint was taken."""
    match = _NAME.fullmatch(checkpoint.name)
    assert match
    return int(match[1])
