"""Checkpoints: all that a run needs to go on, whole or not at all.

Two safetensors files and one JSON file, published as an artifact. Every byte is checked against
its digest before it is used; a damaged checkpoint is set aside and the one before it is taken.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Container
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from torch import nn

from zafu import tensors
from zafu.artifact import publish, read_json, room, verify, write_json
from zafu.errors import Damaged
from zafu.loop import Progress
from zafu.optim.runtime.update import Update

MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
_NAME = re.compile(r"step-\d{9}")


@dataclass
class State:
    """What is neither weight nor optimizer: how far, and how well so far."""

    progress: Progress
    data: str = ""  # digest of the prepared data
    pending: bool = False  # whether an evaluation of this step was due and is not done
    best_step: int | None = None
    best_value: float | None = None
    stale: int = 0  # evaluations since the best
    stopped: bool = False  # whether early stopping has ended the run


_STATE = TypeAdapter(State)


def save(folder: Path, model: nn.Module, update: Update, state: State, **facts: Any) -> Path:
    """Publish a checkpoint of this moment under `folder`; returns its path."""

    def write(part: Path) -> None:
        own, others = tensors.of_module(model), update.tensors()
        tensors.write(part / MODEL, own, bytes_beside=tensors.size(others))
        tensors.write(part / OPTIMIZER, others)
        write_json(part / STATE, {"state": asdict(state), "update": update.plain()})

    step = state.progress.step
    return publish(folder / name_of(step), write, kind="checkpoint", step=step, **facts)


def load(checkpoint: Path, model: nn.Module, update: Update) -> State:
    """Put a whole checkpoint into model and update, in place; raises Damaged if it is of others."""
    weights = tensors.read(checkpoint / MODEL)
    others = tensors.read(checkpoint / OPTIMIZER)
    data = read_json(checkpoint / STATE)
    try:
        state = _state(data["state"], checkpoint.name)
        tensors.into_module(model, weights, checkpoint / MODEL)
        update.load(others, data["update"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Damaged(f"{checkpoint / STATE}: not a state of this version: {error}") from None
    return state


def resume(
    folder: Path,
    model: nn.Module,
    update: Update,
    *,
    needs_best: bool,
    note: Callable[[str], None],
) -> tuple[State, Path] | None:
    """Load the newest whole checkpoint; None if there is none. Damaged ones are set aside.

    With `needs_best` the checkpoint with the best weights so far must be whole as well; otherwise
    an older one is taken, from which those weights will be found again.
    """
    for checkpoint in reversed(complete(folder)):
        try:
            verify(checkpoint)
            if needs_best:
                _verify_best(checkpoint)
        except Damaged as error:
            aside = checkpoint.with_name(checkpoint.name + ".damaged")
            shutil.rmtree(aside, ignore_errors=True)
            checkpoint.rename(aside)
            note(f"{checkpoint.name} cannot be used and is set aside: {error}")
        else:
            return load(checkpoint, model, update), checkpoint
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
        with room(doomed):
            checkpoint.rename(doomed)
            shutil.rmtree(doomed)
    return removed


def sweep(folder: Path) -> None:
    """Remove what an ended process left unfinished; only for the run's one writer.

    A checkpoint that was about to be replaced by another of its step gets its name back.
    """
    for old in folder.glob("*.old.part") if folder.is_dir() else ():
        if not (name := old.with_name(old.name.removesuffix(".old.part"))).exists():
            old.rename(name)
    for part in folder.glob("*.part") if folder.is_dir() else ():
        shutil.rmtree(part, ignore_errors=True)


def name_of(step: int | None) -> str:
    """The folder name of the checkpoint taken after so many steps."""
    return f"step-{step or 0:09d}"


def _verify_best(checkpoint: Path) -> None:
    data = read_json(checkpoint / STATE)
    best = data["state"].get("best_step")
    if best is not None and name_of(best) != checkpoint.name:
        verify(checkpoint.with_name(name_of(best)))


def _state(data: Any, name: str) -> State:
    """The state that plain data describes, all of it; raises ValueError if it is none."""
    state = _STATE.validate_python(data)
    if asdict(state) != data or name_of(state.progress.step) != name or state.progress.samples < 0:
        raise ValueError(f"{data!r:.200} is not the state of {name}")
    return state
