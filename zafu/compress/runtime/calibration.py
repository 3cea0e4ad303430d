"""Calibration: what the layers of a model read when it answers samples.

The Gram matrix of a layer's inputs, X^T X, is all that reconstruction, error compensation and
whitening need; it is gathered sample by sample, so that no activation is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zafu.batch import Batch
from zafu.nets.depth import Deep
from zafu.nets.matrices import Matrix

Hook = Callable[[nn.Module, Tensor], None]


class Gram:
    """The sum of x^T x over all rows that a layer has read, `(inputs, inputs)` in float64."""

    def __init__(self) -> None:
        self.total: Tensor | None = None
        self.rows = 0

    def add(self, rows: Tensor) -> None:
        """Of more rows, `(rows, inputs)`."""
        own = (rows.T @ rows).double()
        self.total = own if self.total is None else self.total.add_(own)
        self.rows += len(rows)

    @property
    def mean(self) -> Tensor:
        """The mean over rows; raises ValueError for a layer that was not reached."""
        if self.total is None:
            raise ValueError("the layer has read nothing")
        return self.total / self.rows


def matrix(layer: Matrix) -> Tensor:
    """The weights as `(outputs, inputs)`, where a convolution reads patches; not a copy."""
    return layer.weight.detach().flatten(1)


def rows(layer: nn.Module, x: Tensor) -> Tensor:
    """What a layer reads as `(rows, inputs)`; of a convolution, patches of one group of channels.

    Its groups are stacked, so that one Gram matrix serves them all.
    """
    if isinstance(layer, nn.Conv2d):
        sizes: Any = (layer.kernel_size, layer.dilation, 0, layer.stride)
        x = functional.pad(x, layer._reversed_padding_repeated_twice)  # `same` as numbers, too
        parts = x.chunk(layer.groups, 1)
        patches = [functional.unfold(part, *sizes).transpose(1, 2).flatten(0, 1) for part in parts]
        return torch.cat(patches)
    return x.reshape(-1, x.shape[-1])


@contextmanager
def reading(layers: Iterable[nn.Module], hook: Hook) -> Generator[None]:
    """Let a function see what each of these layers reads, while this is open."""
    with ExitStack() as stack:
        for layer in layers:
            handle = layer.register_forward_pre_hook(lambda m, args: hook(m, args[0].detach()))
            stack.callback(handle.remove)
        yield


def grams(
    root: nn.Module, batches: Sequence[Batch], layers: Mapping[str, Matrix]
) -> dict[str, Gram]:
    """The Gram matrices of these layers, all of the model as it is."""
    return _of_calls(root, [batch.inputs for batch in batches], layers)


def in_turn(
    root: nn.Module, batches: Sequence[Batch], layers: Mapping[str, Matrix]
) -> Iterator[dict[str, Gram]]:
    """Gram matrices of some layers at a time, from the first to the last that samples reach.

    Whoever iterates may change these layers before the next are asked for: those then read what
    the changed model says. A net of blocks is walked once; of another all layers come together.
    """
    if not isinstance(root, Deep):
        yield grams(root, batches, layers)
        return
    place = root.parts().blocks
    blocks = list(root.get_submodule(place).children())
    inside = [_below(layers, f"{place}.{index}.") for index in range(len(blocks))]
    first = {name: layer for name, layer in layers.items() if not name.startswith(f"{place}.")}
    last = {name: first.pop(name) for name in list(first) if _leaves(root, name)}
    if first:
        yield grams(root, batches, first)
    calls = _entries(root, batches, blocks[0]) if blocks else []
    for block, own in zip(blocks, inside, strict=True):
        if own:
            yield _of_calls(block, calls, own)
        with torch.no_grad():
            calls = [(block(*call), *call[1:]) for call in calls]
    if last:
        yield grams(root, batches, last)


def _below(layers: Mapping[str, Matrix], prefix: str) -> dict[str, Matrix]:
    return {name: layer for name, layer in layers.items() if name.startswith(prefix)}


def _leaves(root: Deep, name: str) -> bool:
    return any(name == at or name.startswith(f"{at}.") for at in root.parts().last)


def _of_calls(
    module: nn.Module, calls: Sequence[tuple[Any, ...]], layers: Mapping[str, Matrix]
) -> dict[str, Gram]:
    """What these layers inside of a module read while it is called so."""
    found = {name: Gram() for name in layers}
    names = {id(layer): name for name, layer in layers.items()}

    def see(layer: nn.Module, x: Tensor) -> None:
        found[names[id(layer)]].add(rows(layer, x))

    with torch.no_grad(), reading(layers.values(), see):
        for call in calls:
            module(*call)
    return found


class _Seen(Exception):
    pass


def _entries(root: nn.Module, batches: Sequence[Batch], block: nn.Module) -> list[tuple[Any, ...]]:
    """What the first block is called with for each batch."""
    found: list[tuple[Any, ...]] = []

    def catch(_: nn.Module, args: tuple[Any, ...]) -> None:
        found.append(args)
        raise _Seen

    handle = block.register_forward_pre_hook(catch)
    try:
        with torch.no_grad():
            for batch in batches:
                try:
                    root(*batch.inputs)
                except _Seen:
                    continue
    finally:
        handle.remove()
    return found
