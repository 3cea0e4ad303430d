"""Late features of a net that reads pictures, as grids: `(1, channels, height, width)`."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import NamedTuple

from torch import Tensor, nn

from zafu.errors import Refused
from zafu.explain.runtime.hub import adapted, states_of
from zafu.explain.runtime.subject import Subject
from zafu.nets.depth import Deep
from zafu.nets.ensemble import Ensemble
from zafu.nets.mlp import MLP

EXTRA = 6  # one more than the tokens of a class and the like, which come first, can be
LEAST = 4  # cells along the shorter side of a grid that says where something is


class Grids(NamedTuple):
    """What nets made of a sample, with the graph that leads from there to the answer."""

    streams: list[Tensor]  # one for each member of an ensemble
    said: Tensor  # (1, outputs)


def no_grid(module: nn.Module) -> str:
    """Why a net has no grid of features; "" where it has one."""
    members = list(module.members) if isinstance(module, Ensemble) else [module]
    for net in members:
        if isinstance(net, MLP) or not (isinstance(net, Deep) or adapted(net)):
            return f"expected a net with blocks that keep a grid, found {type(net).__name__}"
    return ""


def grids(subject: Subject) -> Grids:
    """The features of the blocks that were chosen, and the answer by them."""
    module = subject.network
    if adapted(module):
        found = states_of(module, subject.inputs)
        return Grids([_deepest(found.streams)], found.said.float())
    members = list(module.members) if isinstance(module, Ensemble) else [module]
    seen: list[list[Tensor]] = [[] for _ in members]
    with ExitStack() as stack:
        for net, own in zip(members, seen, strict=True):
            for block in _blocks(net):

                def keep(_: nn.Module, __: object, x: Tensor, own: list[Tensor] = own) -> None:
                    own.append(x)

                stack.callback(block.register_forward_hook(keep).remove)
        said = subject.said(*(x.detach() for x in subject.inputs))
    return Grids([_deepest(own) for own in seen], said)


def gridded(stream: Tensor, picture: tuple[int, ...]) -> Tensor:
    """A stream as a grid: tokens that stand for patches of a picture lie as these do."""
    if stream.dim() == 4:
        return stream
    extra, *sides = laid_out(stream.shape[1], picture)
    return stream[:, extra:].transpose(1, 2).unflatten(2, sides)


def laid_out(tokens: int, picture: tuple[int, ...]) -> tuple[int, int, int]:
    """How many tokens stand for no patch, and the patches down and across, which are squares.

    Raises Refused where no such patches come to this number.
    """
    height, width = picture
    for extra in range(EXTRA):
        down = round(math.sqrt((tokens - extra) * height / width))
        across = (tokens - extra) // max(down, 1)
        if down * across == tokens - extra and down * width == across * height:
            return extra, down, across
    raise Refused(f"expected a token for each square patch of {height} x {width}, found {tokens}")


def _deepest(streams: list[Tensor]) -> Tensor:
    """The last of them whose grid is fine enough, else the finest."""
    fine = [x for x in streams if x.dim() == 3 or min(x.shape[2:]) >= LEAST]
    return fine[-1] if fine else streams[0]


def _blocks(net: nn.Module) -> list[nn.Module]:
    return list(net.get_submodule(net.parts().blocks).children()) if isinstance(net, Deep) else []
