"""Pieces: the part of each of a model's tensors that one process holds.

What is updated, averaged and saved are pieces; alone, a process holds each tensor whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn


@dataclass
class Piece:
    """A box out of a named tensor: here it lies in `own`, in the whole it begins at `offset`.

    `own` shares its memory with what the model computes with, so that changing it in place changes
    the model. A process that has nothing of a tensor has a piece without elements.
    """

    name: str  # of a tied tensor the first of its names
    own: Tensor  # plain, on the model's device
    shape: tuple[int, ...]  # of the whole tensor
    offset: tuple[int, ...]
    gradient: Callable[[], Tensor | None]  # of `own`, plain, as the last backward pass left it
    share: float = 1.0  # what it counts in a sum over one replica: 1 / processes that hold it
    first: bool = True  # whether this process is the first of all that hold it: it writes it

    @property
    def whole(self) -> bool:
        """Whether this is all of the tensor."""
        return tuple(self.own.shape) == self.shape

    def of(self, whole: Tensor) -> Tensor:
        """The same box of another tensor of the whole shape: a view."""
        for dim, (start, size) in enumerate(zip(self.offset, self.own.shape, strict=True)):
            whole = whole.narrow(dim, start, size)
        return whole


class Held(NamedTuple):
    """What this process holds of a model, and how it speaks of it with those that hold the rest."""

    pieces: Sequence[Piece]
    buffers: Mapping[str, Tensor]  # whole; those that are saved with the model
    add: Callable[[Tensor], Tensor] | None = None  # a sum over one replica; None: all is here
    lead: bool = True  # whether this process writes what all have alike
    changed: Callable[[], None] = lambda: None  # to be called when pieces were changed in place


def held_by(module: nn.Module) -> Held:
    """All of a module, held by this process alone."""
    saved = module.state_dict(keep_vars=True)
    return Held(pieces_of(module), {n: b for n, b in module.named_buffers() if n in saved})


def pieces_of(module: nn.Module) -> list[Piece]:
    """Each parameter of a module as the one piece that there is of it."""
    return [
        Piece(name, parameter, tuple(parameter.shape), (0,) * parameter.ndim, _gradient(parameter))
        for name, parameter in module.named_parameters()
    ]


def _gradient(parameter: nn.Parameter) -> Callable[[], Tensor | None]:
    return lambda: parameter.grad
