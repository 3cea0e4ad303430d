"""Building: a recipe's model with fresh weights, what updates it, and on which device."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from zafu import artifact, tensors
from zafu.edits.sparse import Sparse
from zafu.errors import Damaged, Refused
from zafu.fit import Fit
from zafu.memory import keep_freed
from zafu.models.compressed import Compressed, edited
from zafu.nets.depth import Recomputing
from zafu.nets.matrices import chosen
from zafu.nets.sparse import sparse
from zafu.nets.surgery import put
from zafu.optim.contract import Optimizer
from zafu.optim.runtime.parameters import names_of, parameter_groups
from zafu.optim.runtime.update import Update
from zafu.parallel.spread import ALONE, Loss, Spread
from zafu.parallel.world import World
from zafu.recipe import Recipe
from zafu.signature import Signature

FLOAT_BITS = 32  # of a weight


def build(
    recipe: Recipe, signature: Signature, world: World | None = None, task: Loss | None = None
) -> tuple[nn.Module, Update, Spread]:
    """The recipe's model with fresh weights on its device, what updates it, and who helps.

    All weights are drawn on each rank, from the same seed, before a rank keeps its own. `task` is
    what is minimized, where that is not the recipe's own.
    """
    spec = recipe.fit
    keep_freed()
    if spec.threads:
        torch.set_num_threads(spec.threads)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = recipe.model.build(signature)
    if spec.start:
        start(model, Path(spec.start))
    elif isinstance(recipe.model, Compressed):
        text = "a finished run to begin with, as the form of a compressed model gives no weights"
        raise Refused(f"fit.start: expected {text}")
    if spec.recompute:
        if not isinstance(model, Recomputing):
            raise Refused(f"fit.recompute: {recipe.model.kind} cannot recompute its activations")
        model.recompute = True
    model.to(device_of(spec))
    groups = parameter_groups(model, spec.optimizer)  # what does not move requires no gradient
    names, spread = model, ALONE
    if world is not None and not world.alone:
        from zafu.parallel.ranks import Ranks

        with torch.device("meta"):
            names = recipe.model.build(signature)
        whole, narrow = looked_at_whole(spec.optimizer, groups), spec.precision == "fp16"
        spread = Ranks(model, world, task or recipe.task, whole, narrow=narrow)
        model = spread.model
    if spec.compile:
        spread.compile(model)
    update = Update(
        names,
        optimizer=spec.optimizer,
        schedule=spec.schedule,
        penalties=spec.penalties,
        clip=spec.clip,
        noise=spec.noise,
        average=spec.average,
        sparsity=spec.sparsity,
        seed=recipe.seed,
        held=spread.held,
    )
    return model, update, spread


def load_model(folder: Path) -> tuple[nn.Module, Recipe, Signature]:
    """The module of a finished model folder, in evaluation mode, with recipe and signature."""
    keep_freed()
    artifact.verify(folder)
    recipe = Recipe.stored(folder / "recipe.yaml")
    signature = Signature.parse(artifact.read_json(folder / "signature.json"))
    module = recipe.model.build(signature)
    tensors.into_module(module, tensors.read(folder / artifact.MODEL), folder)
    return module.eval(), recipe, signature


def stored(recipe: Recipe, module: nn.Module) -> tuple[Recipe, nn.Module]:
    """A trained model as it is written down: after `fit.sparsity` a bit a weight says which are 0.

    What it computes is the same. A matrix stays whole where that takes fewer bytes.
    """
    spec = recipe.fit.sparsity
    if spec is None:
        return recipe, module
    module, counts = deepcopy(module), dict[str, int]()
    names = names_of(module)
    for name, layer in chosen(module, spec.layers, spec.skip).items():
        made = sparse(layer)
        weight, left = module.get_parameter(f"{name}.weight"), made.values.numel()
        many = weight.numel()
        if len(names[weight]) == 1 and left + many / FLOAT_BITS < many:
            put(module, name, made)
            counts[name] = left
    edits = (Sparse(counts=counts),) if counts else ()
    return recipe.model_copy(update={"model": edited(recipe.model, edits)}), module


def start(model: nn.Module, folder: Path) -> None:
    """In place: the weights of a finished run; raises Refused where they are another model's."""
    whence = artifact.model_folder(folder)
    artifact.verify(whence)
    try:
        tensors.into_module(model, tensors.read(whence / artifact.MODEL), whence)
    except Damaged as error:
        raise Refused(f"fit.start: {error}") from None


def looked_at_whole(optimizer: Optimizer, groups: list[dict[str, Any]]) -> set[str]:
    """The parameters that an optimizer can't move in parts."""
    return {
        name
        for group in groups
        for name, _ in group["params"]
        if optimizer.looks_at_whole(hidden=name in group["hidden"])
    }


def device_of(spec: Fit) -> torch.device:
    """The device that a recipe asks for; raises Refused if it is not there."""
    if spec.device == "cuda" and not torch.cuda.is_available():
        raise Refused("fit.device: expected a CUDA device, found none; use fit.device=cpu")
    found = "cuda" if spec.device != "cpu" and torch.cuda.is_available() else "cpu"
    return torch.device(found)
