"""Units: what can be taken out of a net whole, so that its matrices become smaller.

A hidden neuron, an attention head, a channel, a dim of the residual stream: each stands in several
parameters at once, and goes from all of them or from none (Li et al., 2017, arXiv:1608.08710;
Fang et al., 2023, arXiv:2301.12900).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from zafu.nets.surgery import replace, tensor_of
from zafu.nets.unit_kinds import What


class Slice(NamedTuple):
    """Where units stand in a parameter: unit `u` has the entries `u * each` to `(u + 1) * each`.

    Where they stand otherwise, or beside others, `at` says it: `(units, each)`.
    """

    parameter: str  # or a stored buffer
    dim: int
    each: int = 1
    at: Tensor | None = None

    def places(self, many: int) -> Tensor:
        """The entries of each of so many units, `(units, each)`."""
        return torch.arange(many * self.each).view(many, -1) if self.at is None else self.at


class Units(NamedTuple):
    """Units of one kind at one place, any of which can go."""

    name: str  # of the place, such as a block's MLP
    what: What
    many: int
    slices: tuple[Slice, ...]
    readers: tuple[Slice, ...]  # those of the slices by which later layers read the units
    groups: int = 1  # as many must go from each: neighbours that are normalized together


@runtime_checkable
class Prunable(Protocol):
    """A net that knows its units; others are refused."""

    def units(self) -> list[Units]:
        """All units that can go, in the order of the forward pass."""
        ...


def units(
    name: str,
    what: What,
    writers: Sequence[Slice],
    readers: Sequence[Slice],
    root: nn.Module,
    *,
    groups: int = 1,
) -> Units:
    """Units that some layers write and others read; they are counted in the first parameter."""
    first = writers[0]
    count = root.get_parameter(first.parameter).shape[first.dim] // first.each
    return Units(name, what, count, (*writers, *readers), tuple(readers), groups)


def keep(root: nn.Module, units: Units, kept: Tensor) -> None:
    """Take all units out but `kept`, by number; in place, the others with their weights."""
    cut(root, [(units, kept)])


def cut(root: nn.Module, places: Iterable[tuple[Units, Tensor]]) -> None:
    """Take all units out but those kept at each place; in place, all at once."""
    stays = dict[tuple[str, int], Tensor]()
    for units, kept in places:
        for of in units.slices:
            at = of.parameter, of.dim
            size = tensor_of(root, of.parameter).shape[of.dim]
            stays.setdefault(at, torch.ones(size, dtype=torch.bool))[gone(of, units, kept)] = False
    for (name, dim), mask in stays.items():
        old = tensor_of(root, name)
        left = mask.nonzero().flatten().to(old.device)
        replace(root, name, old.detach().index_select(dim, left).contiguous())


def gone(of: Slice, units: Units, kept: Tensor) -> Tensor:
    """The entries of the units that are not kept."""
    out = torch.ones(units.many, dtype=torch.bool)
    out[kept.cpu()] = False
    return of.places(units.many)[out].flatten()
