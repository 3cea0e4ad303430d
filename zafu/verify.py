"""Verify: proof that a layout computes what one process computes, on the user's own recipe.

A few steps in fp32 without dropout, once by one process and once by the ranks of the layout on the
CPU; then the loss, the gradient norm, every gradient of every step and all weights at the end are
compared, in every copy, and their average over time, if there is one. SGD with momentum takes the
place of the recipe's optimizer: adaptive ones divide by numbers near 0 and make rounding large.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from zafu import artifact, loop, reading, tensors
from zafu.build import build
from zafu.errors import Damaged
from zafu.layout import Layout
from zafu.loop import Objective
from zafu.optim.sgd import SGD
from zafu.parallel.world import World
from zafu.pieces import Piece, pieces_of
from zafu.recipe import Recipe
from zafu.signature import Signature
from zafu.teaching import objective as objective_of

STEPS = 3
LIMITS = {  # relative
    "loss": 1e-6,
    "grad_norm": 5e-5,
    "gradient": 5e-5,
    "weight": 2e-6,
    "shipped": 2e-6,  # weights as an average over time would have them
}

FLOOR = 1e-3  # times a kind's largest number: what differences in smaller tensors are compared to


class Difference(NamedTuple):
    """How far a layout is from one process in one thing."""

    what: str  # a key of LIMITS
    name: str
    step: int
    rank: int
    relative: float  # largest difference over the largest number of the reference, see FLOOR

    @property
    def beyond(self) -> bool:
        """Whether it is more than rounding explains."""
        return not self.relative <= LIMITS[self.what]


class Trace(NamedTuple):
    """What some steps did, on one rank."""

    losses: list[float]
    norms: list[float]
    pieces: list[Piece]
    gradients: list[dict[str, Tensor]]  # by step, then by name: as the pieces lie
    shipped: dict[str, Tensor]  # by name, after the last step; nothing where it is the weights

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name: `gradient.STEP.NAME`; `weight.NAME`, `shipped.NAME` at the end."""
        last = {f"weight.{piece.name}": piece.own.detach() for piece in self.pieces}
        last |= {f"shipped.{name}": own for name, own in self.shipped.items()}
        for step, gradients in enumerate(self.gradients, 1):
            last |= {f"gradient.{step}.{name}": g for name, g in gradients.items()}
        return {name: tensor for name, tensor in last.items() if tensor.numel()}


def plain(recipe: Recipe) -> Recipe:
    """The recipe as it is compared: fp32 on the CPU, no dropout, SGD, some steps."""
    settings = recipe.dump()
    model = settings["model"]
    for part in (model, model.get("base", {})):  # of a compressed model: what it began as
        part |= {name: 0.0 for name in ("dropout", "drop_path") if name in part}
    settings["fit"] |= dict.fromkeys(("epochs", "samples", "tokens", "seconds"))
    settings["fit"] |= {
        "optimizer": SGD(lr=0.1, momentum=0.9).dump(),
        "schedule": {"kind": "constant"},
        "steps": STEPS,
        "precision": "fp32",
        "device": "cpu",
        "loader": {"kind": "inline"},
        "early_stopping": None,
    }
    return Recipe.parse(settings)


def traced(recipe: Recipe, data: Path, world: World) -> Trace:
    """Train some steps, keeping every gradient."""
    signature = Signature.parse(artifact.read_json(data / "signature.json"))
    task = objective_of(recipe, data, world.device)
    model, update, spread = build(recipe, signature, world, task)
    split, spec = recipe.data.open(data, "train"), recipe.fit
    read = reading.training(recipe, data / "recipe.yaml", data, device=torch.device("cpu"))
    objective = Objective(model, task, split, spec, recipe.seed, read, spread)
    progress = loop.begin(spec)
    pieces = list(spread.held.pieces) if spread.held else pieces_of(model)
    trace = Trace([], [], pieces, [], {})
    size, _ = loop.budget(split, spec)
    order = loop.Order(len(split), recipe.seed, split.portions)
    model.train()
    for step, request in enumerate(islice(loop.steps(order, 0, size, None), STEPS)):
        targets = split.count(request.ids)
        batches = (
            read.batch(part.request, torch.device("cpu")) for part in objective.parts(request)
        )
        factors = objective.factors(request, targets, progress)
        loss, _ = loop.backward(objective, batches, factors, progress, device=torch.device("cpu"))
        trace.losses.append(spread.total(loss).item() / targets)
        trace.norms.append(update.gradients(step).item())
        trace.gradients.append(
            {p.name: p.own.grad.clone() for p in pieces if p.own.grad is not None}
        )
        update.step(step, step / STEPS)
        progress.step += 1
    with update.evaluating():
        if recipe.fit.average or recipe.fit.optimizer.kind == "schedule-free":
            trace.shipped.update((p.name, p.own.detach().clone()) for p in pieces)
    return trace


def write(trace: Trace, folder: Path, rank: int) -> None:
    """Put what a rank did into a folder, for `compared`."""
    tensors.write(folder / f"{rank}.safetensors", trace.tensors())
    boxes = {p.name: {"offset": p.offset, "shape": p.shape} for p in trace.pieces if p.own.numel()}
    facts = {"losses": trace.losses, "norms": trace.norms, "boxes": boxes}
    artifact.write_json(folder / f"{rank}.json", facts)


def compared(reference: Trace, folder: Path, layout: Layout) -> list[Difference]:
    """All differences between one process and the ranks that wrote to a folder, worst first.

    Raises Damaged if some number of the model was on no rank.
    """
    whole = reference.tensors()
    seen = {name: torch.zeros(tensor.shape, dtype=torch.bool) for name, tensor in whole.items()}
    found: list[Difference] = []
    weights = _floor(piece.own.detach() for piece in reference.pieces)
    floors: dict[str, float] = {"weight": weights, "shipped": weights}
    for step, gradients in enumerate(reference.gradients, 1):
        floors[f"gradient.{step}"] = _floor(gradients.values())
    for rank in range(layout.world):
        facts = artifact.read_json(folder / f"{rank}.json")
        found += _numbers(reference, facts, rank)
        for name, own in tensors.read(folder / f"{rank}.safetensors").items():
            what, _, rest = name.partition(".")
            step, _, parameter = rest.partition(".") if what == "gradient" else (STEPS, "", rest)
            box = facts["boxes"][parameter]
            piece = Piece(parameter, own, tuple(box["shape"]), tuple(box["offset"]), lambda: None)
            piece.of(seen[name]).fill_(True)
            expected = piece.of(whole[name])
            scale = whole[name].abs().max().clamp(min=floors[name.removesuffix(f".{parameter}")])
            worst = (own - expected).abs().max() / scale
            found.append(Difference(what, parameter, int(step), rank, worst.item()))
    if missing := [name for name, there in seen.items() if not there.all()]:
        raise Damaged(f"layout: on no rank are parts of {', '.join(missing[:8])}")
    return sorted(found, key=lambda d: d.relative / LIMITS[d.what], reverse=True)


def _floor(tensors: Iterable[Tensor]) -> float:
    """Smaller numbers than this are what is left where larger ones cancel, as in biases of keys."""
    return max((FLOOR * t.abs().max().item() for t in tensors if t.numel()), default=0) or 1e-12


def _numbers(reference: Trace, facts: dict[str, Any], rank: int) -> Iterator[Difference]:
    pairs = {
        "loss": (reference.losses, facts["losses"]),
        "grad_norm": (reference.norms, facts["norms"]),
    }
    for what, (expected, found) in pairs.items():
        for step, (a, b) in enumerate(zip(expected, found, strict=True), 1):
            yield Difference(what, what, step, rank, abs(a - b) / max(abs(a), 1e-12))


def rank_of(recipe: Recipe, data: Path, folder: Path, *, logs: Path) -> None:
    """What one rank of the layout does of a verification; `logs` get the stacks of who is lost."""
    from zafu.parallel.world import joined

    with ExitStack() as stack:
        world = stack.enter_context(joined(recipe.layout, logs=logs))
        write(traced(recipe, data, world), folder, world.rank)
