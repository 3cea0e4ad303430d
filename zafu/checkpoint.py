"""Checkpoints: all that a run needs to go on, whole or not at all.

Two safetensors files and one JSON file, published as an artifact. Every byte is checked against
its digest before it is used; a damaged checkpoint is set aside and the one before it is taken.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Container, Iterable, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from zafu import artifact, tensors
from zafu.artifact import MODEL, read_json, room, verify, write_json
from zafu.boxes import Box, Boxes, joined
from zafu.boxes import write as write_boxes
from zafu.errors import Damaged, Refused
from zafu.loop import Progress
from zafu.optim.runtime.update import Update
from zafu.parallel import together
from zafu.parallel.spread import ALONE, Spread
from zafu.parallel.world import World
from zafu.pieces import Held

KINDS = ("model", "optimizer")
OPTIMIZER, STATE = "optimizer.safetensors", "state.json"
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


class Moment(NamedTuple):
    """All that a checkpoint will hold, of one process; tensors are the live ones until copied."""

    weights: list[Box]
    others: list[Box]  # of the update's state
    state: State
    update: dict[str, Any]  # the rest of its state, as plain data


def moment(model: nn.Module, update: Update, state: State, spread: Spread = ALONE) -> Moment:
    """What a checkpoint of now holds: of several ranks, what this one is the first to hold."""
    weights, others = _boxes(model, update, spread)
    return Moment(weights, others, deepcopy(state), update.plain())


def save(  # as many parameters as a checkpoint has parts
    folder: Path,
    model: nn.Module,
    update: Update,
    state: State,
    spread: Spread = ALONE,
    **facts: Any,
) -> Path:
    """Publish a checkpoint of this moment under `folder`; returns its path.

    Every rank of a layout calls this.
    """
    return publish(folder, moment(model, update, state, spread), spread.world, **facts)


def publish(folder: Path, moment: Moment, world: World, **facts: Any) -> Path:
    """Publish a moment as a checkpoint under `folder`, with all processes of a world."""
    weights, others, state, update = moment
    step = state.progress.step
    path, facts = folder / name_of(step), {"kind": "checkpoint", "step": step, **facts}
    if world.alone:
        return artifact.publish(path, lambda part: _write(part, moment), **facts)
    rank, size = world.rank, world.layout.world

    def write(part: Path) -> tuple[list[Path], Any]:
        files = {kind: f"{kind}-{rank + 1:05}-of-{size:05}.safetensors" for kind in KINDS}
        told: dict[str, Any] = {"update": update}
        for kind, boxes in zip(KINDS, (weights, others), strict=True):
            told[kind] = write_boxes(part, files[kind], boxes)
        return [part / file for file in files.values() if (part / file).exists()], told

    def finish(part: Path, heard: list[Any]) -> list[Path]:
        for kind in KINDS:
            write_json(part / f"{kind}.json", joined(told[kind] for told in heard))
        plain = dict(heard[0]["update"])
        unmoved = (name for told in heard for name in told["update"]["unmoved"])
        plain["unmoved"] = list(dict.fromkeys(unmoved))
        write_json(part / STATE, {"state": asdict(state), "update": plain})
        return [part / name for name in (*(f"{kind}.json" for kind in KINDS), STATE)]

    needed = sum(box.tensor.nbytes for box in (*weights, *others))
    return together.publish(path, world, write, finish, needed=needed, facts=facts)


def _write(part: Path, moment: Moment) -> None:
    own, others = _named(moment.weights), _named(moment.others)
    tensors.write(part / MODEL, own, bytes_beside=tensors.size(others))
    tensors.write(part / OPTIMIZER, others)
    write_json(part / STATE, {"state": asdict(moment.state), "update": moment.update})


def _named(boxes: Iterable[Box]) -> dict[str, Tensor]:
    return {box.name: box.tensor for box in boxes}


def _boxes(model: nn.Module, update: Update, spread: Spread) -> tuple[list[Box], list[Box]]:
    """What this rank writes of the weights, and of the update's state."""
    held = spread.held
    if held is None:
        own, state = tensors.of_module(model), update.tensors()
        return [_whole(*item) for item in own.items()], [_whole(*item) for item in state.items()]
    weights = [Box(p.name, p.own, p.shape, p.offset) for p in spread.parts if p.first]
    weights += [_whole(name, buffer) for name, buffer in held.buffers.items() if held.lead]
    others: list[Box] = []
    for name, tensor in update.tensors().items():
        piece = update.piece(name)
        if piece is None:  # of a buffer, which all have alike
            others += [_whole(name, tensor)] if held.lead else []
        elif piece.first and piece.shape and tensor.shape == piece.own.shape:
            others.append(Box(name, tensor, piece.shape, piece.offset))
        elif piece.first and not any(piece.offset):  # such as a count of steps
            others.append(_whole(name, tensor))
    return weights, others


def _whole(name: str, tensor: Tensor) -> Box:
    return Box(name, tensor, tuple(tensor.shape), (0,) * tensor.ndim)


def load(checkpoint: Path, model: nn.Module, update: Update, spread: Spread = ALONE) -> State:
    """Put a whole checkpoint into model and update, in place, whatever layout wrote it.

    Raises Damaged if its tensors are those of others, Refused if its state is.
    """
    if spread.held is None and (checkpoint / MODEL).is_file():
        weights, others = (tensors.read(checkpoint / name) for name in (MODEL, OPTIMIZER))
    else:
        weights, others = Boxes(checkpoint, "model"), Boxes(checkpoint, "optimizer")
    state, plain = _read(checkpoint)
    if isinstance(others, Boxes):
        others = _state_of(others, update, spread)
    _refuse_types(others, checkpoint)
    if isinstance(weights, Boxes) and spread.held is not None:
        _into_parts(weights, spread, checkpoint)
    else:
        whole = _wholes(weights) if isinstance(weights, Boxes) else weights
        tensors.into_module(model, whole, checkpoint / MODEL)
    update.load(others, plain)
    return state


def load_shown(checkpoint: Path, model: nn.Module, update: Update) -> State:
    """Put into a whole model what is judged and shipped of a checkpoint, whatever layout wrote it.

    The optimizer stays without a state, which is most of the bytes: this cannot go on. Raises as
    `load`.
    """
    weights, others = Boxes(checkpoint, "model"), Boxes(checkpoint, "optimizer")
    state, plain = _read(checkpoint)
    shown = {name: others.whole(name) for name in others.index if update.shows(name)}
    _refuse_types(shown, checkpoint)
    tensors.into_module(model, _wholes(weights), checkpoint / MODEL)
    update.load_shown(shown, plain)
    return state


def _wholes(boxes: Boxes) -> dict[str, Tensor]:
    return {name: boxes.whole(name) for name in boxes.index}


def _refuse_types(others: Mapping[str, Tensor], checkpoint: Path) -> None:
    for name, tensor in others.items():
        if tensor.dtype not in (torch.float32, torch.float64):
            expected = f"expected floats, found {tensor.dtype}"
            raise Damaged(f"{checkpoint / OPTIMIZER}: {name}: {expected}")


def _into_parts(weights: Boxes, spread: Spread, source: Path) -> None:
    """In place: let this rank have its parts of the weights."""
    held = spread.held or Held((), {})
    pieces = [p for p in (*spread.parts, *held.pieces) if p.own.numel()]
    wanted = {p.name: p.shape for p in pieces} | {
        n: tuple(b.shape) for n, b in held.buffers.items()
    }
    wrong = [
        f"{name}: expected shape {shape}, found {weights.index[name].shape}"
        if name in weights.index
        else f"{name} is missing"
        for name, shape in wanted.items()
        if name not in weights.index or weights.index[name].shape != shape
    ]
    if wrong:
        raise Damaged(f"{source}: does not hold this model: " + "; ".join(sorted(wrong)[:10]))
    with torch.no_grad():
        for piece in pieces:
            own = tuple(piece.own.shape)
            piece.own.copy_(weights.read(piece.name, piece.offset, own))
        for name, buffer in held.buffers.items():
            buffer.copy_(weights.whole(name))
    held.changed()


def _state_of(others: Boxes, update: Update, spread: Spread) -> dict[str, Tensor]:
    """What this rank's update needs of a state."""
    found: dict[str, Tensor] = {}
    for name, entry in others.index.items():
        piece = update.piece(name)
        if piece is None:
            if spread.held is None or name.removeprefix("average.") in spread.held.buffers:
                found[name] = others.whole(name)
        elif piece.own.numel():
            cut = piece.shape and entry.shape == piece.shape
            own = tuple(piece.own.shape)
            found[name] = others.read(name, piece.offset, own) if cut else others.whole(name)
    return found


def resume(
    folder: Path,
    model: nn.Module,
    update: Update,
    spread: Spread = ALONE,
    *,
    needs_best: bool,
    note: Callable[[str], None],
) -> tuple[State, Path] | None:
    """Load the newest whole checkpoint; None if there is none. Damaged ones are set aside.

    With `needs_best` the checkpoint with the best weights so far must be whole as well; otherwise
    an older one is taken, from which those weights will be found again. The first rank looks.
    """

    def look() -> str:
        return newest(folder, needs_best=needs_best, note=note) if spread.world.rank == 0 else ""

    name = together.agreed(spread.world, look)[0]
    return (load(folder / name, model, update, spread), folder / name) if name else None


def newest(folder: Path, *, needs_best: bool, note: Callable[[str], None]) -> str:
    """The name of the newest whole checkpoint, "" if there is none; others are set aside."""
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
            return checkpoint.name
    return ""


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


def step_of(checkpoint: Path) -> int:
    """After how many steps a checkpoint was taken, by its folder's name."""
    return int(checkpoint.name.removeprefix("step-"))


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
