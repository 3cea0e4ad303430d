"""The parameters of a module by name: which are changed together, and by which settings."""

import math
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from zafu.errors import Fault, RecipeError, Refused
from zafu.nets.transfer import Widened, Wider
from zafu.optim.contract import Group, Optimizer
from zafu.spec import did_you_mean, show


def parameter_groups(module: nn.Module, optimizer: Optimizer) -> list[dict[str, Any]]:
    """Every trainable parameter once, in groups as `Optimizer.build` wants them.

    What has fewer than two dims, norms and biases, has no weight decay unless a pattern says so.
    A tied parameter goes by its first name, and a pattern may use any of its names. Where a net
    says how it follows its width, so do learning rates; decay is divided by the same factor, so
    that weights lose the same share of themselves in a step. In place: a
    parameter whose `lr_scale` is 0 no longer requires a gradient, and is left out.
    Raises RecipeError for a pattern that matches nothing, Refused if nothing is left to train or
    the optimizer has no rule for width.
    """
    names = names_of(module)
    for index, group in enumerate(optimizer.groups):
        matching(names, group.match, path=f"fit.optimizer.groups.{index}.match")
    hidden = hidden_matrices(module)
    wider = module.wider() if isinstance(module, Widened) else {}
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for parameter, aliases in names.items():
        scale, decay = _settings(parameter, aliases, optimizer)
        if scale == 0:
            parameter.requires_grad_(False)
        if not parameter.requires_grad:
            continue
        step = _by_width(optimizer, wider.get(aliases[0]), hidden=aliases[0] in hidden)
        scale, decay = scale * step, decay / step
        group = groups.setdefault((scale, decay), _empty(optimizer.start, scale, decay))
        group["params"].append((aliases[0], parameter))
        group["hidden"].update({aliases[0]} & hidden)
    if not groups:
        raise Refused("optimizer: expected a parameter to train, found all of them frozen")
    return list(groups.values())


def names_of(module: nn.Module) -> dict[nn.Parameter, tuple[str, ...]]:
    """Each parameter with all of its names; more than one if it is tied."""
    names: dict[nn.Parameter, tuple[str, ...]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names[parameter] = (*names.get(parameter, ()), name)
    return names


def matching(
    names: dict[nn.Parameter, tuple[str, ...]], pattern: str, *, path: str
) -> list[nn.Parameter]:
    """The parameters of which a name matches a shell pattern; RecipeError if there are none."""
    found = [p for p, aliases in names.items() if _matches(aliases, pattern)]
    if not found:
        known = [alias for aliases in names.values() for alias in aliases]
        more = ", ..." if len(known) > 12 else ""
        hint = did_you_mean(pattern, known) or f"parameters: {', '.join(known[:12])}{more}"
        raise RecipeError([Fault(path, "a pattern of parameter names", show(pattern), hint=hint)])
    return found


def hidden_matrices(module: nn.Module) -> frozenset[str]:
    """Names of 2-dimensional weights that belong neither to an embedding nor to the last layer.

    The last layer is the one registered last outside of any `nn.ModuleList`, since lists hold
    blocks that repeat; in a decoder whose head is tied this is its embedding.
    """
    weights = {
        p: name
        for name, p in module.named_parameters()
        if p.ndim == 2 and "weight" in name.rpartition(".")[2]
    }
    embedded = {
        p
        for owner in module.modules()
        if isinstance(owner, (nn.Embedding, nn.EmbeddingBag))
        for p in owner.parameters(recurse=False)
    }
    repeated = {
        p
        for owner in module.modules()
        if isinstance(owner, nn.ModuleList)
        for p in owner.parameters()
    }
    outside = [p for p in weights if p not in repeated] or list(weights)
    head = outside[-1] if outside else None
    return frozenset(n for p, n in weights.items() if p not in embedded and p is not head)


def state_bytes(module: nn.Module, optimizer: Optimizer) -> int:
    """Bytes of the optimizer's tensors once each parameter has moved; a meta module will do."""
    total = 0
    for group in parameter_groups(module, optimizer):
        for name, parameter in group["params"]:
            shapes = optimizer.state_shapes(tuple(parameter.shape), hidden=name in group["hidden"])
            total += sum(math.prod(s) for s in shapes.values() if s) * parameter.element_size()
    return total


def _empty(lr: float, scale: float, decay: float) -> dict[str, Any]:
    return {
        "params": [],
        "lr": lr * scale,
        "weight_decay": decay,
        "lr_scale": scale,
        "hidden": set[str](),
    }


def _settings(
    parameter: nn.Parameter, aliases: tuple[str, ...], optimizer: Optimizer
) -> tuple[float, float]:
    default = optimizer.weight_decay if parameter.ndim >= 2 else 0.0
    chosen = Group(match="*", lr_scale=1.0, weight_decay=None)
    for group in optimizer.groups:
        if _matches(aliases, group.match):
            chosen = group
    decay = default if chosen.weight_decay is None else chosen.weight_decay
    return chosen.lr_scale, decay


def _by_width(optimizer: Optimizer, wider: Wider | None, *, hidden: bool) -> float:
    """The factor on a parameter's learning rate that its net's width asks for."""
    if wider is None or (wider.ratio == 1 and wider.factor == 1):
        return 1.0
    rule = optimizer.width_rule(hidden=hidden)
    if rule is None:
        raise Refused(f"model.transfer: {optimizer.kind} as it is set has no rule for width")
    return wider.lr(rule)


def _matches(aliases: tuple[str, ...], pattern: str) -> bool:
    return any(fnmatchcase(alias, pattern) for alias in aliases)
