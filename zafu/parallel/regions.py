"""Regions: how a stream enters and leaves what several processes compute together.

Each function is a collective operation whose backward pass is another one: the transposed map of
all processes' tensors (Shoeybi et al., 2019, arXiv:1909.08053; Korthikanti et al., 2022,
arXiv:2205.05198). Sums are made in float32 or wider, and rounded once, if what comes is narrower.
`dim` is cut into equal parts; process r of the group has part r.
"""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast, final

import torch
import torch.distributed as dist
from torch import Tensor

from zafu.errors import Refused

Function = TypeVar("Function", bound=Callable[..., Any])


def uncompiled(function: Function) -> Function:
    """The function, outside of the graphs of `torch.compile`."""
    return cast("Function", torch.compiler.disable(function))


@uncompiled
def copied(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """What all processes have alike; its gradient is the sum of theirs."""
    return _Copied.apply(x, group)


@uncompiled
def summed(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """The sum of what the processes have; its gradient is that of each term."""
    return _Summed.apply(x, group)


@uncompiled
def gathered(x: Tensor, group: dist.ProcessGroup, dim: int) -> Tensor:
    """The whole of what is cut; of its gradients, which are summed, each process keeps its part."""
    return _Gathered.apply(x, group, dim)


@uncompiled
def scattered(x: Tensor, group: dist.ProcessGroup, dim: int) -> Tensor:
    """This process's part of the sum; its gradient is the whole of all parts'.

    Raises Refused if the dim does not divide.
    """
    if x.shape[dim] % group.size():
        raise Refused(
            f"layout.tensor: expected windows of a multiple of {group.size()} tokens, found "
            f"{x.shape[dim]}"
        )
    return _Scattered.apply(x, group, dim)


@uncompiled
def joined(x: Tensor, group: dist.ProcessGroup, size: int) -> Tensor:
    """The whole `(..., size)` of what is cut in its last dim, which all then use alike.

    Parts are as `torch.chunk` cuts: the last one may be shorter.
    """
    return _Joined.apply(x, group, size)


@final
class _Copied(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return _sum(gradients[0], ctx.group), None


@final
class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        return _sum(x, group)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0], None


@final
class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup, dim: int) -> Tensor:
        ctx.group, ctx.dim = group, dim
        return _gather(x, group, dim)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return _scatter(gradients[0], ctx.group, ctx.dim), None, None


@final
class _Scattered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup, dim: int) -> Tensor:
        ctx.group, ctx.dim = group, dim
        return _scatter(x, group, dim)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return _gather(gradients[0], ctx.group, ctx.dim), None, None


@final
class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup, size: int) -> Tensor:
        most = -(-size // group.size())
        ctx.start, ctx.size = group.rank() * most, x.shape[-1]
        padded = torch.nn.functional.pad(x, (0, most - x.shape[-1]))
        return _gather(padded, group, -1)[..., :size]

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0].narrow(-1, ctx.start, ctx.size), None, None


def _sum(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    total = x.to(_wide(x), memory_format=torch.contiguous_format, copy=True)
    dist.all_reduce(total, group=group)
    return total.to(x.dtype)


def _gather(x: Tensor, group: dist.ProcessGroup, dim: int) -> Tensor:
    own = x.movedim(dim, 0).contiguous()
    whole = own.new_empty((group.size() * len(own), *own.shape[1:]))
    dist.all_gather_single(whole, own, group=group)
    return whole.movedim(0, dim)


def _scatter(x: Tensor, group: dist.ProcessGroup, dim: int) -> Tensor:
    given = x.movedim(dim, 0).to(_wide(x), memory_format=torch.contiguous_format)
    own = given.new_empty((len(given) // group.size(), *given.shape[1:]))
    dist.reduce_scatter_single(own, given, group=group)
    return own.movedim(0, dim).to(x.dtype)


def _wide(x: Tensor) -> torch.dtype:
    """The type in which numbers of this one are added up."""
    return torch.promote_types(x.dtype, torch.float32)
