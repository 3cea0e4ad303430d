"""The state of torch optimizers by the names of parameters, not by their numbers."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from zafu.errors import Damaged
from zafu.optim.contract import Optimizer

_SCALARS = ("step", "mu_product", "weight_sum")  # kept on the CPU, unless one kernel does it all
Optimizers = Sequence[torch.optim.Optimizer]


def tensors(optimizers: Optimizers) -> dict[str, Tensor]:
    """Each tensor of state as `optimizer.<index>.<its name>.<parameter's name>`."""
    return {
        f"optimizer.{index}.{key}.{name}": value
        for index, group in _groups(optimizers)
        for name, parameter in _named(group)
        for key, value in optimizers[index].state.get(parameter, {}).items()
    }


def unmoved(optimizers: Optimizers) -> list[str]:
    """Names of the parameters that have no state, since none is needed or no gradient ever came."""
    return [
        name
        for index, group in _groups(optimizers)
        for name, parameter in _named(group)
        if not optimizers[index].state.get(parameter)
    ]


def expected(
    optimizers: Optimizers, spec: Optimizer, *, unmoved: Sequence[str]
) -> dict[str, tuple[int, ...]]:
    """The shapes that `tensors` gives when all parameters but these have a state."""
    without = set(unmoved)
    return {
        f"optimizer.{index}.{key}.{name}": shape
        for index, group in _groups(optimizers)
        for name, parameter in _named(group)
        if name not in without
        for key, shape in _shapes(spec, group, name, parameter).items()
    }


def compare(shapes: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Tensor]) -> None:
    """Raise Damaged, with all names, unless these tensors have just these names and shapes."""
    faults = [f"{name}: missing" for name in shapes if name not in tensors]
    faults += [f"{name}: unexpected" for name in tensors if name not in shapes]
    faults += [
        f"{name}: expected shape {shape}, found {tuple(tensors[name].shape)}"
        for name, shape in shapes.items()
        if name in tensors and tuple(tensors[name].shape) != shape
    ]
    if faults:
        raise Damaged("state of the update:\n" + "\n".join(f"  {fault}" for fault in faults))


def load(optimizers: Optimizers, spec: Optimizer, *, tensors: Mapping[str, Tensor]) -> None:
    """In place: copy tensors, which `compare` found to fit, into the optimizers."""
    for index, group in _groups(optimizers):
        for name, parameter in _named(group):
            here = parameter.device
            aside = here if group.get("fused") else torch.device("cpu")
            prefix = f"optimizer.{index}"
            found = {
                key: tensors[f"{prefix}.{key}.{name}"].to(
                    aside if key in _SCALARS else here, copy=True
                )
                for key in _shapes(spec, group, name, parameter)
                if f"{prefix}.{key}.{name}" in tensors
            }
            optimizers[index].state.pop(parameter, None)
            if found:
                optimizers[index].state[parameter] = found


def _groups(optimizers: Optimizers) -> Iterator[tuple[int, dict[str, Any]]]:
    for index, optimizer in enumerate(optimizers):
        for group in optimizer.param_groups:
            yield index, group


def _named(group: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """The parameters of which something is here: others are never moved, and have no state."""
    named = zip(group["param_names"], group["params"], strict=True)
    yield from ((name, parameter) for name, parameter in named if parameter.numel())


def _shapes(
    spec: Optimizer, group: dict[str, Any], name: str, parameter: Tensor
) -> dict[str, tuple[int, ...]]:
    return spec.state_shapes(tuple(parameter.shape), hidden=name in group["hidden"])
