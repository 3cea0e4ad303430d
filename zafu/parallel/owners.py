"""Owners: an optimizer that looks at whole tensors has each of them whole on one rank.

Muon needs all of a matrix, Adafactor means over its rows and columns. So one of the ranks that have
parts of it gathers its gradient, moves the whole, and deals the parts out again; the tensors go
round among the ranks, and with them the optimizer's state.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from zafu.parallel.world import World
from zafu.pieces import Piece

SHARING = ("shard", "tensor")


@dataclass
class Owned:
    """A tensor that one rank moves for all; here is one rank's end of it."""

    part: Piece  # what the model computes with
    parts: list[tuple[tuple[int, ...], tuple[int, ...]]]  # offset and shape, by rank of the group
    owner: int  # in the group
    own: nn.Parameter  # the whole on its owner, nothing elsewhere
    group: dist.ProcessGroup
    here: int  # this rank in the group

    def gathered(self) -> Tensor | None:
        """The whole gradient on the owner; every rank of the group has to ask for it."""
        gradient = self.part.gradient()
        self.part.own.grad = None  # nobody else drops it: the update knows the whole alone
        given = torch.zeros_like(self.part.own) if gradient is None else gradient
        found = [given.new_empty(self._most) for _ in self.parts] if self._mine else None
        dist.gather(self._padded(given), found, group=self.group, group_dst=self.owner)
        if found is None:
            return None
        whole = torch.empty_like(self.own)
        for box, numbers in zip(self._boxes(whole), found, strict=True):
            box.copy_(numbers[: box.numel()].view(box.shape))
        return whole

    @torch.no_grad()
    def deal(self) -> None:
        """Let every rank of the group have its part of the whole as it is now."""
        given = [self._padded(box) for box in self._boxes(self.own)] if self._mine else None
        found = self.part.own.new_empty(self._most)
        dist.scatter(found, given, group=self.group, group_src=self.owner)
        self.part.own.copy_(found[: self.part.own.numel()].view(self.part.own.shape))

    def piece(self) -> Piece:
        """What the optimizer is given in place of the part."""
        first = self._mine and self.part.first
        offset = (0,) * len(self.part.shape)
        share = 1.0 if self._mine and self.part.share else 0.0  # a tied copy counts elsewhere
        return Piece(self.part.name, self.own, self.part.shape, offset, self.gathered, share, first)

    @property
    def _mine(self) -> bool:
        return self.here == self.owner

    @property
    def _most(self) -> int:
        return max(torch.Size(shape).numel() for _, shape in self.parts)

    def _padded(self, tensor: Tensor) -> Tensor:
        padded = tensor.new_zeros(self._most)
        padded[: tensor.numel()] = tensor.detach().reshape(-1)
        return padded

    def _boxes(self, whole: Tensor) -> list[Tensor]:
        boxes: list[Tensor] = []
        for offset, shape in self.parts:
            box = whole.detach()
            for dim, (start, size) in enumerate(zip(offset, shape, strict=True)):
                box = box.narrow(dim, start, size)
            boxes.append(box)
        return boxes


def owned(
    pieces: list[Piece], world: World, wanted: Container[str], whole: Callable[[str], Tensor]
) -> list[Owned]:
    """Those of the wanted tensors that are cut; `whole` gives each as it is at the start."""
    group = world.group(*SHARING)
    if group is None:
        return []
    here = {p.name: [p.offset, list(p.own.shape), p.whole] for p in pieces if p.name in wanted}
    peers = world.layout.peers(world.rank, *SHARING)
    said = world.all_of(here)
    beside = [said[rank] for rank in peers]
    found: list[Owned] = []
    for part in pieces:
        if part.name not in wanted or all(there[part.name][2] for there in beside):
            continue
        owner, place = len(found) % len(peers), world.index(*SHARING)
        begun = whole(part.name).detach().to(part.own.device)
        own = nn.Parameter(begun.clone() if owner == place else begun[:0].clone())
        own.requires_grad_(part.own.requires_grad)
        parts = [(tuple(there[part.name][0]), tuple(there[part.name][1])) for there in beside]
        found.append(Owned(part, parts, owner, own, group, place))
    return found
