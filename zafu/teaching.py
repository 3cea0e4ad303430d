"""Teaching: the loss of a student that learns from a teacher's answers.

Hinton et al., 2015 (arXiv:1503.02531): Kullback-Leibler divergence of softened probabilities, times
the temperature squared, so that its gradient stays as large. Of numbers, the squared distance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from zafu import artifact
from zafu.batch import Batch
from zafu.build import load_model
from zafu.distil import Distil
from zafu.errors import Refused
from zafu.nets.depth import Deep
from zafu.recipe import Recipe
from zafu.signature import Signature
from zafu.task import Task

if TYPE_CHECKING:
    from zafu.parallel.spread import Loss


def objective(recipe: Recipe, signature: Signature, device: torch.device) -> Loss:
    """What a recipe's model minimizes: its task's loss, with a teacher's part where there is one.

    Raises Refused where the teacher answers something else.
    """
    spec = recipe.fit.distil
    if spec is None:
        return recipe.task
    module, other, theirs = load_model(artifact.model_folder(Path(spec.teacher)))
    if (theirs.inputs, theirs.outputs) != (signature.inputs, signature.outputs):
        text = "expected a teacher of the same inputs and outputs"
        raise Refused(f"fit.distil.teacher: {text}, found {theirs.dump()}")
    if other.task.kind != recipe.task.kind:
        text = f"expected a teacher of {recipe.task.kind}, found {other.task.kind}"
        raise Refused(f"fit.distil.teacher: {text}")
    return Taught(recipe.task, spec, module.to(device).requires_grad_(False))


@final
@dataclass(frozen=True)
class Taught:
    """A task whose losses are partly the distance to a teacher's answers."""

    task: Task
    spec: Distil
    teacher: nn.Module

    @property
    def smoothing(self) -> float | None:
        """That of the task."""
        return self.task.smoothing

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The sum over all targets, a scalar that can be differentiated."""
        spec, alike = self.spec, None
        with torch.no_grad():
            wanted, theirs = answered(self.teacher, batch.inputs, stream=spec.features > 0)
        logits, own = answered(model, batch.inputs, stream=spec.features > 0)
        if own is not None and theirs is not None:
            alike = likeness(own, theirs)
        hard = self.task.losses(logits, batch.targets).sum()
        if self.task.kind == "regression":
            soft = (logits - wanted).square().mean(1).sum()
        else:
            there = _there(batch.targets, logits)
            soft = divergence(logits, wanted, spec).mul(there).sum()
        total = (1 - spec.share) * hard + spec.share * soft
        return total if alike is None else total + spec.features * alike * len(batch.targets)

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Those of the task alone."""
        return self.task.losses(logits, targets)

    def answer(self, logits: Tensor, targets: Tensor) -> Tensor:
        """As the task has it."""
        return self.task.answer(logits, targets)


def answered(
    model: nn.Module, inputs: tuple[Tensor, ...], *, stream: bool
) -> tuple[Tensor, Tensor | None]:
    """A model's logits, and where asked its stream behind the last block."""
    if not stream:
        return model(*inputs), None
    if not isinstance(model, Deep):
        raise Refused("fit.distil.features: expected nets of blocks, whose stream can be compared")
    found = list[Tensor]()
    place = list(model.get_submodule(model.parts().blocks).children())[-1]

    def see(_: nn.Module, args: tuple[object, ...], output: Tensor) -> None:
        found.append(output)

    handle = place.register_forward_hook(see)
    try:
        return model(*inputs), found[-1] if found else None
    finally:
        handle.remove()


def divergence(logits: Tensor, wanted: Tensor, spec: Distil) -> Tensor:
    """How far softened answers are from what is wanted, in nats times T^2: `(batch, ...)`."""
    scale = spec.temperature
    own = (logits.float() / scale).log_softmax(-1)
    other = (wanted.float() / scale).log_softmax(-1)
    if spec.divergence == "forward":
        found = _kl(other, own)
    elif spec.divergence == "reverse":
        found = _kl(own, other)
    else:
        middle = torch.logaddexp(own, other) - math.log(2)
        found = (_kl(own, middle) + _kl(other, middle)) / 2
    return found * scale**2


def likeness(own: Tensor, theirs: Tensor) -> Tensor:
    """The mean squared distance of two streams' cosines between tokens, or between samples."""
    return functional.mse_loss(_cosines(own), _cosines(theirs))


def _cosines(stream: Tensor) -> Tensor:
    if stream.dim() == 4:  # (batch, channels, height, width)
        stream = stream.flatten(2).transpose(1, 2)
    rows = functional.normalize(stream.float(), dim=-1)
    return rows @ rows.transpose(-1, -2)


def _kl(left: Tensor, right: Tensor) -> Tensor:
    return (left.exp() * (left - right)).sum(-1)


def _there(targets: Tensor, logits: Tensor) -> Tensor:
    """1 for each answer that has a target, else 0."""
    if targets.is_floating_point():  # probabilities of classes
        return logits.new_ones(logits.shape[:-1])
    return (targets >= 0).to(logits.dtype)
