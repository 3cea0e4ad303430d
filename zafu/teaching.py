"""Teaching: the loss of a student that learns from a teacher's answers.

Hinton et al., 2015 (arXiv:1503.02531): Kullback-Leibler divergence of softened probabilities, times
the temperature squared, so that its gradient stays as large. Of numbers, the squared distance.

On-policy (Agarwal et al., 2023, arXiv:2306.13649): a share of the windows goes on from its middle
as the student would; there it is corrected by the teacher alone. What is written follows from the
seed, the step, the sample and the weights, so however a batch is cut it is the same text.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from zafu.batch import Batch
from zafu.distil import Distil
from zafu.errors import Refused
from zafu.hashing import key, mix
from zafu.nets.attending import Attentive, Seen, apart, watched
from zafu.nets.depth import Deep
from zafu.nets.sampling import written
from zafu.recipe import Recipe
from zafu.task import Task
from zafu.teachers import teacher

if TYPE_CHECKING:
    from zafu.parallel.spread import Loss


def objective(recipe: Recipe, data: Path, device: torch.device) -> Loss:
    """What a recipe's model minimizes on its prepared data: its task's loss, with a teacher's part.

    Raises Refused where the teacher answers something else.
    """
    spec = recipe.fit.distil
    if spec is None:
        return recipe.task
    module = teacher(recipe, Path(spec.teacher), data).to(device)
    return Taught(recipe.task, spec, module, recipe.seed)


class Shown(NamedTuple):
    """What a net lets be seen of one pass."""

    logits: Tensor
    stream: Tensor | None  # behind the last block, where it is compared
    attention: Seen | None  # of the last block, where it is compared


@final
@dataclass(frozen=True)
class Taught:
    """A task whose losses are partly the distance to a teacher's answers."""

    task: Task
    spec: Distil
    teacher: nn.Module
    seed: int = 0  # of what the student writes

    @property
    def smoothing(self) -> float | None:
        """That of the task."""
        return self.task.smoothing

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The sum over all targets, a scalar that can be differentiated."""
        spec, own = self.spec, None
        if spec.own:
            batch, own = continued(net_of(model), batch, share=spec.own, seed=self.seed)
        with torch.no_grad():
            theirs = shown(self.teacher, batch.inputs, spec)
        ours = shown(model, batch.inputs, spec)
        there = _there(batch.targets)
        hard = self.task.losses(ours.logits, batch.targets)
        if self.task.kind == "regression":
            soft = (ours.logits - theirs.logits).square().mean(1)
        else:
            soft = divergence(ours.logits, theirs.logits, spec) * there
        if own is not None:
            hard = torch.where(own, soft, hard)
        total = (1 - spec.share) * hard.sum() + spec.share * soft.sum()
        return total + inner(ours, theirs, there, spec)

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Those of the task alone."""
        return self.task.losses(logits, targets)

    def answer(self, logits: Tensor, targets: Tensor) -> Tensor:
        """As the task has it."""
        return self.task.answer(logits, targets)


def shown(model: nn.Module, inputs: tuple[Tensor, ...], spec: Distil) -> Shown:
    """A model's answers, and of its inside what is asked for."""
    if not spec.looks_inside:
        return Shown(model(*inputs), None, None)
    net, streams, seen = net_of(model), list[Tensor](), list[Seen]()
    with ExitStack() as stack:
        if spec.features:
            _catch_stream(net, streams, stack)
        if spec.attention:
            if not isinstance(net, Attentive):
                raise Refused("fit.distil.attention: expected a net that shows what it looks at")
            stack.enter_context(watched(net, seen))
        logits = model(*inputs)
    return Shown(logits, streams[-1] if streams else None, seen[-1] if seen else None)


def _catch_stream(net: nn.Module, found: list[Tensor], stack: ExitStack) -> None:
    if not isinstance(net, Deep):
        raise Refused("fit.distil.features: expected nets of blocks, whose stream can be compared")

    def see(_: nn.Module, args: tuple[object, ...], output: Tensor) -> None:
        found.append(output)

    place = list(net.get_submodule(net.parts().blocks).children())[-1]
    stack.callback(place.register_forward_hook(see).remove)


def net_of(model: nn.Module) -> nn.Module:
    """The net itself, out of what calls it for several ranks."""
    if isinstance(model, DistributedDataParallel):
        return model.get_submodule("module.model")
    return model


def inner(ours: Shown, theirs: Shown, there: Tensor, spec: Distil) -> Tensor:
    """The weighted distances of what both nets let be seen, a sum over targets."""
    total = there.new_zeros(())
    if ours.stream is not None and theirs.stream is not None:
        _same_places("features", ours.stream, theirs.stream)
        alike = likeness(ours.stream, theirs.stream)  # (batch,)
        total = total + spec.features * (alike * there.reshape(len(there), -1).sum(1)).sum()
    if ours.attention and theirs.attention:
        _same_places("attention", ours.attention.queries[:, 0], theirs.attention.queries[:, 0])
        far = apart(ours.attention, theirs.attention)  # (batch, tokens)
        of_targets = far * there if there.shape == far.shape else far.mean(1)
        total = total + spec.attention * of_targets.sum()
    return total


def _same_places(name: str, own: Tensor, theirs: Tensor) -> None:
    """Raise Refused unless two streams have as many tokens."""
    ours, others = (x.shape[2:] if x.dim() == 4 else x.shape[1:-1] for x in (own, theirs))
    if ours != others:
        text = f"expected a teacher that cuts a sample into {list(ours)} parts as the student does"
        raise Refused(f"fit.distil.{name}: {text}, found {list(others)}")


def continued(
    net: nn.Module, batch: Batch, *, share: float, seed: int
) -> tuple[Batch, Tensor | None]:
    """The batch with the second half of some windows as the net goes on from the first.

    And where what it has written is read, `(batch, time)`; None: nowhere.
    """
    tokens, time = batch.inputs[0], batch.inputs[0].shape[1]
    cut = (time + 1) // 2
    numbers = uniform(seed, batch.step, batch.ids, time - cut + 1)
    chosen = torch.from_numpy(numbers[:, 0] < share).to(tokens.device)
    if cut == time or not chosen.any():
        return batch, None
    drawn = torch.from_numpy(numbers[:, 1:]).to(tokens.device)
    training = net.training
    text = written(net.eval(), tokens[chosen, :cut], drawn[chosen])  # pyright: ignore
    net.train(training)
    torch.clear_autocast_cache()  # weights that were narrowed without gradients
    inputs = tokens.clone()
    inputs[chosen, cut:] = text.to(tokens.dtype)
    own = torch.zeros_like(tokens, dtype=torch.bool)
    own[chosen, cut:] = True
    return batch._replace(inputs=(inputs,)), own


def uniform(seed: int, step: int, ids: np.ndarray, count: int) -> np.ndarray:
    """Numbers from 0 to 1 for each sample of a step, `(batch, count)`, as on any machine."""
    rows = mix(ids.astype(np.uint64) ^ key(seed, step))[:, None]
    bits = mix(rows ^ mix(np.arange(count, dtype=np.uint64))[None])
    return (bits >> np.uint64(11)) * 2.0**-53


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
    """The mean squared distance of two streams' cosines between tokens, or samples: `(batch,)`."""
    distance = functional.mse_loss(_cosines(own), _cosines(theirs), reduction="none")
    return distance.flatten(1).mean(1)


def _cosines(stream: Tensor) -> Tensor:
    if stream.dim() == 4:  # (batch, channels, height, width)
        stream = stream.flatten(2).transpose(1, 2)
    rows = functional.normalize(stream.float(), dim=-1)
    return rows @ rows.transpose(-1, -2)


def _kl(left: Tensor, right: Tensor) -> Tensor:
    return (left.exp() * (left - right)).sum(-1)


def _there(targets: Tensor) -> Tensor:
    """1 for each answer that has a target, else 0."""
    if targets.is_floating_point():  # probabilities of classes, or numbers
        return targets.new_ones(targets.shape[:-1], dtype=torch.float32)
    return (targets >= 0).float()
