"""Reverse mode through the last steps of a training: the slope of its validation loss by settings.

Maclaurin, Duvenaud & Adams, 2015 (arXiv:1502.03492); truncated: Shaban et al., 2019
(arXiv:1810.10667). The training is done as ever up to its last K steps; those are done again as
functions of the settings, in the same order, with the same chance and the same augmentation, and
the validation loss is carried back through them. Time: about what K steps cost, twice to four
times; memory: K steps' activations and states. What earlier steps owe to a setting is left out:
with K less than all steps the slope is that of the last K alone, which favours small learning rates
(Wu et al., 2018, arXiv:1803.02021).

Settings: the optimizer's `lr` and `weight_decay`, its groups' `lr_scale` and `weight_decay`, the
`strength` of penalties, label smoothing, and magnitudes of augmentation that have gradients.
Dropout is none of them: a mask is a step function of its share, so that the path through the mask
has no slope, and what is left, the factor 1 / (1 - p), does not tell what more dropout would do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from zafu import loop, reading, tensors
from zafu.artifact import read_json
from zafu.batch import Batch
from zafu.build import build
from zafu.errors import Fault, RecipeError
from zafu.hypergradient.rules import State, moved
from zafu.hypergradient.settings import Settings, faults_of
from zafu.loading.order import Order
from zafu.loading.requests import pieces
from zafu.loading.requests import steps as requests_of
from zafu.loop import Objective
from zafu.recipe import Recipe
from zafu.signature import Signature
from zafu.trial import Cost, Trial, outcome

Weights = dict[str, Tensor]


class Slope(NamedTuple):
    """What a hypergradient says."""

    loss: float  # mean over the targets of the validation split, without smoothing
    gradient: dict[str, float]  # of the loss, by path
    cost: Cost  # a step of the last ones counts three times: once forward, about twice back


class Begun(NamedTuple):
    """A training before its last steps."""

    recipe: Recipe
    data: Path
    objective: Objective
    names: dict[str, tuple[str, ...]]  # all names of each parameter, by its first
    weights: Weights
    states: dict[str, State]
    progress: loop.Progress
    steps: int  # left


def hypergradient(
    trial: Trial, paths: Sequence[str], *, steps: int, dtype: torch.dtype = torch.float32
) -> Slope:
    """The validation loss at the end of a trial and its slopes through the last `steps` of it.

    Raises RecipeError for a path or a recipe that has no slope.
    """
    if faults := faults_of(trial.recipe, paths):
        raise RecipeError(faults)
    start = perf_counter()
    before = begun(trial, steps, dtype)
    settings = Settings.of(trial.recipe, paths, dtype)
    with torch.enable_grad():
        loss = validation_loss(before, carried(before, settings), trial)
        values = list(settings.values.values())
        slopes = torch.autograd.grad(loss, values, allow_unused=True, materialize_grads=True)
    found = [slope.item() for slope in slopes]
    objective, progress = before.objective, before.progress
    left = (loop.budget(objective.split, objective.spec)[1] or 0) - progress.samples
    cost = Cost(
        progress.samples + 3 * left, progress.step + 3 * before.steps, perf_counter() - start
    )
    return Slope(loss.item(), dict(zip(paths, found, strict=True)), cost)


def begun(trial: Trial, steps: int, dtype: torch.dtype = torch.float32) -> Begun:
    """The trial as it stands before its last steps; all of it, where it has no more."""
    recipe = trial.recipe
    signature = Signature.parse(read_json(trial.data / "signature.json"))
    model, _, _ = build(recipe, signature)
    split = recipe.data.open(trial.data, "train")
    size, total = loop.budget(split, recipe.fit)
    every = -(-(total or 0) // size)
    first = max(0, every - steps)
    progress, states = loop.begin(recipe.fit), dict[str, State]()
    if first:
        # half a step less, since what is compared are numbers of samples
        until = (first - 0.5) * size / (total or 1)
        before = outcome(trial._replace(until=until, judged=(), points=0)).state
        if before is None:
            raise RecipeError([Fault("fit", "a training that does not diverge", "one that does")])
        tensors.into_module(model, before.model, trial.data)
        progress, states = before.progress, _states(before.update, dtype)
    read = reading.training(recipe, trial.data / "recipe.yaml", trial.data, device=_device(model))
    objective = Objective(model.to(dtype), recipe.task, split, recipe.fit, recipe.seed, read)
    aliases = _aliases(model)
    weights = {n: p.detach().clone() for n, p in model.named_parameters()}
    return Begun(recipe, trial.data, objective, aliases, weights, states, progress, every - first)


def carried(before: Begun, settings: Settings) -> Weights:
    """The weights after the last steps, as a function of the settings."""
    recipe, objective = before.recipe, before.objective
    split, fit = objective.split, recipe.fit
    weights, states = dict(before.weights), dict(before.states)
    size, total = loop.budget(split, fit)
    order = Order(len(split), recipe.seed, split.portions)
    batches = settings.batches(objective, before.data)
    samples, step = before.progress.samples, before.progress.step
    objective.model.train()
    for request in requests_of(order, samples, size, total):
        targets = split.count(request.ids)
        for weight in weights.values():
            weight.requires_grad_()
        losses: list[Tensor] = []
        for index, piece in enumerate(pieces(request, fit.micro_batch)):
            loop.seed_dropout(loop.key(recipe.seed, step, index), _device(objective.model))
            batch = _cast(batches(piece), next(iter(weights.values())).dtype)
            said = _said(objective.model, weights, batch)
            losses.append(settings.loss(said, batch.targets) / targets)
        gradients = _gradients(torch.stack(losses).sum(), weights)
        gradients = settings.penalized(before.names, weights, gradients)
        gradients = _clipped(fit.clip, gradients)
        factor = fit.schedule.factor(samples / (total or 1))
        for name, g in gradients.items():
            rates = settings.rates(before.names[name], weights[name], factor)
            new, states[name] = moved(fit.optimizer, weights[name], g, states.get(name, {}), rates)
            weights[name] = settings.shrunk(before.names[name], new, rates.lr)
        samples, step = samples + len(request.ids), step + 1
    return weights


def validation_loss(before: Begun, weights: Weights, trial: Trial) -> Tensor:
    """The mean loss over the validation split's targets, without label smoothing or dropout."""
    recipe, model = before.recipe, before.objective.model.eval()
    split = recipe.data.open(trial.data, "validation")
    task = Settings.plain(recipe.task)
    rows = np.arange(len(split))
    losses: list[Tensor] = []
    for some in np.array_split(rows, max(1, -(-len(rows) // recipe.evaluate.batch))):
        batch = _cast(split.batch(some).to(_device(model)), next(iter(weights.values())).dtype)
        losses.append(task.losses(_said(model, weights, batch), batch.targets).sum())
    return torch.stack(losses).sum() / split.count(rows)


def _said(model: nn.Module, weights: Weights, batch: Batch) -> Any:
    with sdpa_kernel(SDPBackend.MATH):  # the only attention that can be differentiated twice
        return functional_call(model, weights, batch.inputs, tie_weights=True)


def _gradients(loss: Tensor, weights: Weights) -> Weights:
    found = torch.autograd.grad(loss, list(weights.values()), create_graph=True, allow_unused=True)
    named: list[tuple[str, Tensor | None]] = list(zip(weights, found, strict=True))
    return {name: g for name, g in named if g is not None}


def _clipped(clip: Any, gradients: Weights) -> Weights:
    if clip is None:
        return gradients
    if clip.value is not None:
        gradients = {n: g.clamp(-clip.value, clip.value) for n, g in gradients.items()}
    if clip.norm is None:
        return gradients
    total = torch.stack([g.square().sum() for g in gradients.values()]).sum().sqrt()
    factor = (clip.norm / (total + 1e-6)).clamp(max=1.0)
    return {name: g * factor for name, g in gradients.items()}


def _states(update: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, State]:
    """The state of the one optimizer by the names of weights."""
    found: dict[str, State] = {}
    for name, tensor in update.items():
        _, _, key, weight = name.split(".", 3)
        found.setdefault(weight, {})[key] = tensor if key == "step" else tensor.to(dtype)
    return found


def _cast(batch: Batch, dtype: torch.dtype) -> Batch:
    def cast(tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    return batch._replace(inputs=tuple(map(cast, batch.inputs)), targets=cast(batch.targets))


def _aliases(model: nn.Module) -> dict[str, tuple[str, ...]]:
    from zafu.optim.runtime.parameters import names_of

    return {aliases[0]: aliases for aliases in names_of(model).values()}


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def finite_differences(trial: Trial, before: Begun, path: str, *, width: float) -> float:
    """The slope by doing the last steps again with a setting moved both ways: O(width^4) off."""
    losses: list[float] = []
    dtype = next(iter(before.weights.values())).dtype
    for times in (-2, -1, 1, 2):
        settings = Settings.of(trial.recipe, [path], dtype)
        settings.values[path] = settings.values[path].detach() + times * width
        weights = {n: w.detach() for n, w in carried(before, settings).items()}
        losses.append(validation_loss(before, weights, trial).item())
    return (losses[0] - 8 * losses[1] + 8 * losses[2] - losses[3]) / (12 * width)
