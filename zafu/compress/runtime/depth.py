"""Which blocks a model can do without, by the loss on a few samples."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from zafu.compress.contract import Work
from zafu.edits.contract import Edit
from zafu.edits.drop import Drop
from zafu.errors import Refused
from zafu.nets.depth import Deep
from zafu.nets.surgery import drop as take_out


def drop(work: Work, count: int) -> Iterable[Edit]:
    """Take `count` blocks out, each the one whose loss is missed least after those before it."""
    if not count:
        return ()
    root = work.model
    place = root.parts().blocks if isinstance(root, Deep) else _longest(root)
    blocks = dict(root.get_submodule(place).named_children())
    able = _able(work, blocks)
    if count > len(able):
        found = f"{len(able)} of {len(blocks)} in {place}"
        raise Refused(f"layers: expected {count} blocks that keep their stream's size, {found}")
    gone = list[str]()
    for _ in range(count):
        losses = {name: _without(work, blocks, [*gone, name]) for name in able if name not in gone}
        least = min(losses, key=losses.__getitem__)
        work.note(f"layers: without {place}.{least} the loss is {losses[least]:.4g}")
        gone.append(least)
    names = tuple(f"{place}.{name}" for name in gone)
    take_out(root, names)
    try:
        with torch.no_grad():
            root(*work.batches[0].inputs)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise Refused(f"layers: without {', '.join(names)} it does not run: {error}") from None
    return (Drop(blocks=names),)


def _longest(root: nn.Module) -> str:
    """The list or sequence with the most blocks of one kind; raises Refused where there is none."""
    sizes = dict[str, int]()
    for name, module in root.named_modules():
        kinds = {type(child) for child in module.children()}
        listed = isinstance(module, (nn.ModuleList, nn.Sequential)) and len(kinds) == 1
        if listed and next(module.parameters(), None) is not None:
            sizes[name] = len(list(module.children()))
    if not (place := max(sizes, key=sizes.__getitem__, default="")):
        found = type(root).__name__
        raise Refused(f"layers: expected a net with a list of blocks of one kind, found {found}")
    return place


def _without(work: Work, blocks: dict[str, nn.Module], gone: list[str]) -> float:
    """The mean loss of the samples where these blocks pass on what they are given."""
    with _passing(blocks[name] for name in gone), torch.no_grad():
        total = sum(float(work.loss(work.model, batch)) for batch in work.batches)
    return total / sum(batch.targets.numel() for batch in work.batches)


@contextmanager
def _passing(blocks: Iterable[nn.Module]) -> Generator[None]:
    def same(_: nn.Module, args: tuple[Any, ...], __: Any) -> Any:
        return args[0]

    handles = [block.register_forward_hook(same) for block in blocks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _able(work: Work, blocks: dict[str, nn.Module]) -> list[str]:
    """The blocks whose stream is as large behind them as before."""
    found = list[str]()

    def see(name: str) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if args and isinstance(output, Tensor) and args[0].shape == output.shape:
                found.append(name)

        return hook

    handles = [block.register_forward_hook(see(name)) for name, block in blocks.items()]
    with torch.no_grad():
        work.model(*(x[:1] for x in work.batches[0].inputs))
    for handle in handles:
        handle.remove()
    return found
