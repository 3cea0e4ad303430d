"""Pieces: the part of each of a model's tensors that one process holds.

What is updated, averaged and saved are pieces; alone, a process holds each tensor whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass
class Piece:
    """A box out of a named tensor: here it lies in `own`, in the whole it begins at `offset`.

    `own` shares its memory with what the model computes with, so that changing it in place changes
    the model. A process that has nothing of a tensor has a piece without elements.
    """

    name: str
    own: Tensor  # plain, on the model's device
    shape: tuple[int, ...]  # of the whole tensor
    offset: tuple[int, ...]
    gradient: Callable[[], Tensor | None]  # of `own`, plain, as the last backward pass left it
    copies: int = 1  # processes of one replica that hold this very piece
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
