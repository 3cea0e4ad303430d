"""Soups: the mean of weights of models that have one architecture.

Wortsman et al., 2022 (arXiv:2203.05482): uniform, and greedy, which adds models in the order of
their validation metric while that does not fall. Models that were trained from different initial
weights lie in different basins, and their mean is worse than any (Neyshabur et al., 2020,
arXiv:2008.11687): a greedy soup of them is the best one alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

from zafu import tensors
from zafu.errors import Refused
from zafu.fuse.members import Member
from zafu.spec import show

State = Mapping[str, Tensor]
TRAINING = ("dropout", "drop_path", "weights")  # settings that a finished model does not need


def average(states: Sequence[State]) -> dict[str, Tensor]:
    """The mean of each tensor, summed in float64; what is not floats is the first's."""
    return {name: _mean([state[name] for state in states]) for name in states[0]}


def greedy(
    order: Sequence[int], states: Sequence[State], value: Callable[[State], float]
) -> set[int]:
    """Which states make the soup; `order` has the best first, and more of `value` is better."""
    kept = [order[0]]
    best = value(states[order[0]])
    for index in order[1:]:
        tried = value(average([states[i] for i in [*kept, index]]))
        if tried >= best:
            kept, best = [*kept, index], tried
    return set(kept)


def refuse_others(members: Sequence[Member]) -> None:
    """Raise Refused, with all names that differ, unless weights can be averaged."""
    first, faults = members[0], list[str]()
    for member in members[1:]:
        faults += [f"{member.name}: {text}" for text in _unlike(first, member)]
    if any(isinstance(part, _BatchNorm) for part in first.module.modules()):
        faults.append("batch norms: expected none, as their statistics have no mean")
    if faults:
        text = f"a soup needs one architecture, that of {first.name}; vote and stack take any:"
        raise Refused("\n".join([text, *(f"  {fault}" for fault in faults)]))


def _unlike(first: Member, member: Member) -> Iterator[str]:
    here, there = flat(first.recipe.model.dump()), flat(member.recipe.model.dump())
    if here["kind"] != there["kind"]:
        yield f"model.kind: expected {here['kind']}, found {there['kind']}"
        return
    shapes = (tensors.of_module(of.module) for of in (first, member))
    own, other = ({name: list(x.shape) for name, x in state.items()} for state in shapes)
    for key in dict.fromkeys([*here, *there]):
        if here.get(key) != there.get(key) and key.rpartition(".")[2] not in TRAINING:
            expected = f"expected {show(here.get(key))}, found {show(there.get(key))}"
            yield f"model.{key}: {expected}"
    for name in sorted(own.keys() & other.keys()):
        if own[name] != other[name]:
            yield f"{name}: expected shape {own[name]}, found {other[name]}"


def flat(data: object, path: str = "") -> dict[str, object]:
    """Plain data by dotted paths."""
    if isinstance(data, Mapping):
        items = [(str(key), value) for key, value in data.items()]
    elif isinstance(data, list):
        items = [(str(index), value) for index, value in enumerate(data)]
    else:
        return {path: data}
    found: dict[str, object] = {}
    for key, value in items:
        found |= flat(value, f"{path}.{key}" if path else key)
    return found


def _mean(same: Sequence[Tensor]) -> Tensor:
    if not same[0].is_floating_point():
        return same[0].clone()
    total = torch.zeros_like(same[0], dtype=torch.float64)
    for tensor in same:
        total += tensor
    return (total / len(same)).to(same[0].dtype)


def put(module: nn.Module, state: State, member: Member) -> nn.Module:
    """The module, in place with other weights."""
    tensors.into_module(module, state, member.run.folder)
    return module
