"""Units: what can be taken out of a net whole, so that its matrices become smaller.

A hidden neuron, an attention head, a channel, a dim of the residual stream: each stands in several
parameters at once, and goes from all of them or from none (Li et al., 2017, arXiv:1608.08710;
Fang et al., 2023, arXiv:2301.12900).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from zafu.nets.surgery import measure

What = Literal["hidden", "heads", "channels", "stream"]


class Slice(NamedTuple):
    """Where units stand in a parameter: unit `u` has the entries `u * each` to `(u + 1) * each`."""

    parameter: str
    dim: int
    each: int = 1


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


def entries(kept: Tensor, each: int) -> Tensor:
    """The places in a parameter of the units that are kept."""
    return (kept[:, None] * each + torch.arange(each, device=kept.device)).flatten()


def keep(root: nn.Module, units: Units, kept: Tensor) -> None:
    """Take all units out but `kept`, ascending numbers; in place, the others with their weights."""
    for parameter, dim, each in units.slices:
        owner, _, leaf = parameter.rpartition(".")
        module = root.get_submodule(owner)
        old = getattr(module, leaf)
        left = old.detach().index_select(dim, entries(kept.to(old.device), each))
        setattr(module, leaf, nn.Parameter(left.contiguous(), old.requires_grad))
        measure(module)
