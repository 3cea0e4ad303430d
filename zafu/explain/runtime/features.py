"""What samples consist of: patches of pictures, columns of rows, tokens of texts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor
from torch.nn import functional

from zafu.explain.runtime.subject import Inputs

PATCHES = 14  # along the longer side of a picture, at most
_COLUMN = re.compile(r"(?:^|\.)embeddings\.(\d+)$")


@final
@dataclass(frozen=True)
class Pixels:
    """A picture `(n, channels, height, width)`; square patches of it can be taken away."""

    height: int
    width: int

    @property
    def side(self) -> int:
        """Pixels along a patch."""
        return -(-max(self.shape) // PATCHES)

    @property
    def grid(self) -> tuple[int, int]:
        """Patches down and across."""
        return -(-self.height // self.side), -(-self.width // self.side)

    @property
    def many(self) -> int:
        """Patches."""
        return self.grid[0] * self.grid[1]

    @property
    def shape(self) -> tuple[int, ...]:
        """Height and width."""
        return self.height, self.width

    def mixed(
        self, inputs: Inputs, others: Inputs, kept: Tensor
    ) -> Iterator[tuple[Tensor, Inputs]]:
        """Pictures with patches of the others."""
        at = torch.arange(len(kept))
        yield at, (torch.where(self.spread(kept)[:, None], inputs[0], others[0]),)

    def spread(self, values: Tensor) -> Tensor:
        """What each pixel has of its patch, `(n, height, width)` from `(n, many)`."""
        grid = values.view(-1, *self.grid)
        wide = grid.repeat_interleave(self.side, 1).repeat_interleave(self.side, 2)
        return wide[:, : self.height, : self.width]

    def folded(self, floats: Tensor, vectors: dict[str, Tensor]) -> Tensor:
        """Sums over channels."""
        return floats.sum(1)

    def parts(self, values: Tensor) -> Tensor:
        """Means over patches."""
        grid = functional.avg_pool2d(values[None, None].float(), self.side, ceil_mode=True)
        return grid.flatten()


class Column(NamedTuple):
    """A column of a table, and where an encoded row has it."""

    name: str
    numbers: tuple[int, ...] = ()  # places: the number, and what says whether it is missing
    category: int | None = None


@final
@dataclass(frozen=True)
class Columns:
    """A row: numbers `(n, numbers)` and categories `(n, categories)`."""

    columns: Sequence[Column]

    @property
    def many(self) -> int:
        """Columns."""
        return len(self.columns)

    @property
    def shape(self) -> tuple[int, ...]:
        """Columns."""
        return (len(self.columns),)

    def mixed(
        self, inputs: Inputs, others: Inputs, kept: Tensor
    ) -> Iterator[tuple[Tensor, Inputs]]:
        """Rows with columns of the others."""
        numbers = inputs[0].expand(len(kept), -1).clone()
        categories = inputs[1].expand(len(kept), -1).clone()
        for at, column in enumerate(self.columns):
            gone = ~kept[:, at : at + 1]
            for slot in column.numbers:
                other = others[0][:, slot : slot + 1]
                numbers[:, slot : slot + 1] = torch.where(gone, other, numbers[:, slot : slot + 1])
            if (slot := column.category) is not None:
                other = others[1][:, slot : slot + 1]
                own = categories[:, slot : slot + 1]
                categories[:, slot : slot + 1] = torch.where(gone, other, own)
        yield torch.arange(len(kept)), (numbers, categories)

    def folded(self, floats: Tensor, vectors: dict[str, Tensor]) -> Tensor:
        """Sums over what belongs to a column; a category's are those of its embedding."""
        found = floats.new_zeros(len(floats), self.many)
        of_category = {c.category: at for at, c in enumerate(self.columns)}
        for at, column in enumerate(self.columns):
            for slot in column.numbers:
                found[:, at] += floats[:, slot]
        for name, vector in vectors.items():
            found[:, of_category[place_of(name)]] += vector.flatten(1).sum(1)
        return found

    def parts(self, values: Tensor) -> Tensor:
        """The values."""
        return values


@final
@dataclass(frozen=True)
class Tokens:
    """A text after the token that begins a document, `(1, 1 + tokens)`.

    A token that is taken away is gone, and those behind it move up: another in its place would
    say something too.
    """

    count: int

    @property
    def many(self) -> int:
        """Tokens."""
        return self.count

    @property
    def shape(self) -> tuple[int, ...]:
        """Tokens."""
        return (self.count,)

    def mixed(
        self, inputs: Inputs, others: Inputs, kept: Tensor
    ) -> Iterator[tuple[Tensor, Inputs]]:
        """Texts of the tokens that are kept, those of equal length together."""
        text, start = inputs[0][0, 1:], inputs[0][:, :1]
        lengths = kept.sum(1)
        for length in lengths.unique().tolist():
            at = (lengths == length).nonzero()[:, 0]
            rows = text.expand(len(at), -1)[kept[at].to(text.device)].view(len(at), length)
            yield at, (torch.cat([start.expand(len(at), 1), rows], 1),)

    def folded(self, floats: Tensor, vectors: dict[str, Tensor]) -> Tensor:
        """Sums over the dims of embeddings; that of the first token is left out."""
        return torch.stack([v.sum(-1)[:, 1:] for v in vectors.values()]).sum(0)

    def parts(self, values: Tensor) -> Tensor:
        """The values."""
        return values


def place_of(name: str) -> int | None:
    """Which categorical column an embedding of this name reads; None if its name does not say."""
    found = _COLUMN.search(name)
    return int(found[1]) if found else None
