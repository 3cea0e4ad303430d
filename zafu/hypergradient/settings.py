"""The settings of a recipe that have a slope, as tensors in the places where a step reads them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zafu.batch import Batch
from zafu.errors import Fault
from zafu.hypergradient.rules import Rates
from zafu.loading.contract import Request
from zafu.loop import Objective, read_by
from zafu.optim.adam import Adam
from zafu.optim.adamw import AdamW
from zafu.optim.penalties import L1, L2, ElasticNet, Penalty
from zafu.optim.rate import LearningRate
from zafu.optim.sgd import SGD
from zafu.reading import chain_of
from zafu.recipe import Recipe
from zafu.task import Task

_SMOOTHING = "task.label_smoothing"
_LR, _DECAY = "fit.optimizer.lr", "fit.optimizer.weight_decay"
_GROUP = re.compile(r"fit\.optimizer\.groups\.(\d+)\.(lr_scale|weight_decay)")
_PENALTY = re.compile(r"fit\.penalties\.(\d+)\.strength")
_AUGMENT = re.compile(r"fit\.augment\.(\d+\.\w+)")
_ABSENT = -100  # the target of what is not to be predicted


def known(recipe: Recipe) -> list[str]:
    """The paths of a recipe that have a slope."""
    fit = recipe.fit
    paths = [_LR, _DECAY] if isinstance(fit.optimizer, (SGD, Adam, AdamW)) else []
    for index, group in enumerate(fit.optimizer.groups):
        paths.append(f"fit.optimizer.groups.{index}.lr_scale")
        if group.weight_decay is not None:
            paths.append(f"fit.optimizer.groups.{index}.weight_decay")
    paths += [f"fit.penalties.{index}.strength" for index in range(len(fit.penalties))]
    paths += [_SMOOTHING] if recipe.task.smoothing is not None else []
    paths += [f"fit.augment.{i}.{n}" for i, s in enumerate(fit.augment) for n in s.differentiable]
    return paths


def faults_of(recipe: Recipe, paths: Sequence[str]) -> list[Fault]:
    """Why a training cannot be differentiated by these paths, if it cannot."""
    fit, able = recipe.fit, known(recipe)
    faults = [
        Fault(path, f"a setting that has a slope ({', '.join(able)})", path)
        for path in paths
        if path not in able
    ]
    if not isinstance(fit.optimizer, (SGD, Adam, AdamW)):
        faults.append(Fault("fit.optimizer.kind", "sgd, adam or adamw", fit.optimizer.kind))
    if isinstance(fit.optimizer.lr, LearningRate):
        faults.append(Fault(_LR, "a number, as its slope is wanted", fit.optimizer.lr.kind))
    if fit.seconds is not None:
        faults.append(Fault("fit.seconds", "a budget in steps, epochs, samples or tokens", "it"))
    if fit.precision != "fp32":
        faults.append(Fault("fit.precision", "fp32", fit.precision))
    if fit.average is not None:
        faults.append(Fault("fit.average", "none", fit.average.kind))
    if fit.sparsity is not None:
        faults.append(Fault("fit.sparsity", "none", "one"))
    if fit.distil is not None:
        faults.append(Fault("fit.distil", "none", "a teacher"))
    if fit.noise is not None:
        faults.append(Fault("fit.noise", "none", "noise"))
    if fit.early_stopping is not None:
        faults.append(Fault("fit.early_stopping", "none, as the last step counts", "one"))
    if recipe.model.transfers():
        faults.append(Fault("model.transfer", "none, as width changes rates", "one"))
    if recipe.layout.world > 1:
        faults.append(Fault("layout", "one process", f"{recipe.layout.world}"))
    return faults


@dataclass
class Settings:
    """A recipe in which some settings are tensors without dims."""

    recipe: Recipe
    values: dict[str, Tensor] = field(default_factory=dict[str, Tensor])

    @classmethod
    def of(cls, recipe: Recipe, paths: Sequence[str], dtype: torch.dtype) -> Settings:
        """The recipe's own values, with gradients."""
        plain, found = recipe.dump(), dict[str, Tensor]()
        for path in paths:
            value: Any = plain
            for key in path.split("."):
                value = value[int(key)] if isinstance(value, (list, tuple)) else value[key]
            found[path] = torch.tensor(float(value), dtype=dtype, requires_grad=True)
        return cls(recipe, found)

    @staticmethod
    def plain(task: Task) -> Task:
        """The task without label smoothing."""
        return task.at("label_smoothing", 0.0) if task.smoothing else task

    def value(self, path: str, own: float) -> Tensor | float:
        """The tensor at a path, or the recipe's own number."""
        return self.values.get(path, own)

    def rates(self, names: tuple[str, ...], weight: Tensor, factor: float) -> Rates:
        """What the step of a weight takes: the settings of the last group that it matches."""
        spec = self.recipe.fit.optimizer
        lr = self.value(_LR, spec.start) * torch.tensor(factor, dtype=weight.dtype)
        decay = self.value(_DECAY, spec.weight_decay) if weight.ndim >= 2 else 0.0
        matching = [i for i, group in enumerate(spec.groups) if _matches(names, group.match)]
        if matching:
            at, group = f"fit.optimizer.groups.{matching[-1]}", spec.groups[matching[-1]]
            lr = lr * self.value(f"{at}.lr_scale", group.lr_scale)
            if group.weight_decay is not None:
                decay = self.value(f"{at}.weight_decay", group.weight_decay)
        return Rates(lr, torch.as_tensor(decay, dtype=weight.dtype))

    def penalized(
        self,
        names: dict[str, tuple[str, ...]],
        weights: dict[str, Tensor],
        gradients: dict[str, Tensor],
    ) -> dict[str, Tensor]:
        """The gradients with what penalties add to them."""
        found = dict(gradients)
        for strength, penalty in self._penalties():
            for name, w in weights.items():
                if name in found and _covers(penalty, names[name], w):
                    found[name] = found[name] + strength * _slope(penalty, w)
        return found

    def shrunk(self, names: tuple[str, ...], weight: Tensor, lr: Tensor) -> Tensor:
        """A weight after the proximal steps that follow the optimizer's."""
        for strength, penalty in self._penalties():
            if not isinstance(penalty, (L1, ElasticNet)) or penalty.method != "proximal":
                continue
            if _covers(penalty, names, weight):
                ratio = penalty.l1_ratio if isinstance(penalty, ElasticNet) else 1.0
                most = lr * strength * ratio
                weight = weight - torch.minimum(torch.maximum(weight, -most), most)
                weight = weight / (1 + lr * strength * (1 - ratio))
        return weight

    def loss(self, said: Tensor, targets: Tensor) -> Tensor:
        """The summed loss of a batch, as the task has it."""
        task = self.recipe.task
        if _SMOOTHING not in self.values:
            return task.losses(said, targets).sum()
        share = self.values[_SMOOTHING]
        even = -said.log_softmax(-1).mean(-1)
        if not targets.is_floating_point():
            even = even * (targets != _ABSENT)
        return ((1 - share) * self.plain(task).losses(said, targets) + share * even).sum()

    def batches(self, objective: Objective, data: Path) -> Callable[[Request], Batch]:
        """How the samples of a request are read, with magnitudes that are tensors."""
        device = next(objective.model.parameters()).device
        read = read_by(objective)
        found = {path: _AUGMENT.fullmatch(path) for path in self.values}
        magnitudes = {m[1]: self.values[path] for path, m in found.items() if m}
        if not magnitudes:
            return lambda request: read.batch(request, device)
        from zafu.augment.runtime.differentiable import differentiable

        split = objective.split
        augment = differentiable(chain_of(self.recipe, data, split, device), magnitudes)
        exact = next(iter(magnitudes.values())).dtype

        def read_in_full(request: Request) -> Batch:
            raw = split.raw(request.ids).to(device)
            if exact == torch.float64:  # bytes would become float32
                raw = raw._replace(inputs=tuple(x.to(exact) for x in raw.inputs))
            return split.finish(augment(raw, request.epochs))

        return read_in_full

    def _penalties(self) -> list[tuple[Tensor | float, Penalty]]:
        return [
            (self.value(f"fit.penalties.{index}.strength", penalty.strength), penalty)
            for index, penalty in enumerate(self.recipe.fit.penalties)
        ]


def _slope(penalty: Penalty, weight: Tensor) -> Tensor:
    """What a penalty of strength 1 adds to a gradient."""
    if isinstance(penalty, L2):
        return weight
    if isinstance(penalty, (L1, ElasticNet)) and penalty.method == "subgradient":
        if isinstance(penalty, L1):
            return weight.sign()
        return penalty.l1_ratio * weight.sign() + (1 - penalty.l1_ratio) * weight
    return torch.zeros_like(weight)


def _covers(penalty: Penalty, names: tuple[str, ...], weight: Tensor) -> bool:
    return weight.ndim >= 2 and _matches(names, penalty.match)


def _matches(names: tuple[str, ...], pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)
