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

import torch
from pydantic import TypeAdapter
from torch import nn

from zafu import tensors
from zafu.artifact import publish, read_json, room, verify, write_json
from zafu.errors import Damaged, Refused
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
    """Put a whole checkpoint into model and update, in place.

    Raises Damaged if its tensors are those of others, Refused if its state is.
    """
    weights = tensors.read(checkpoint / MODEL)
    others = tensors.read(checkpoint / OPTIMIZER)
    state, plain = _read(checkpoint)
    for name, tensor in others.items():
        if tensor.dtype not in (torch.float32, torch.float64):
            raise Damaged(
                f"{checkpoint / OPTIMIZER}: {name}: expected floats, found {tensor.dtype}"
            )
    tensors.into_module(model, weights, checkpoint / MODEL)
    update.load(others, plain)
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
    best = _read(checkpoint)[0].best_step
    if best is not None and name_of(best) != checkpoint.name:
        verify(checkpoint.with_name(name_of(best)))


def _read(checkpoint: Path) -> tuple[State, Any]:
    """State, and the update's plain data, of a checkpoint; raises Refused if it holds none."""
    file = checkpoint / STATE
    try:
        data = read_json(file)
        state = _STATE.validate_python(data["state"])
        step, samples = state.progress.step, state.progress.samples
        if asdict(state) == data["state"] and name_of(step) == checkpoint.name and samples >= 0:
            return state, data["update"]
        found = f"{data['state']!r:.200}"
    except (Damaged, KeyError, TypeError, ValueError) as error:
        found = str(error)
    raise Refused(f"{file}: not the state of this step in this version of zafu: {found}")
