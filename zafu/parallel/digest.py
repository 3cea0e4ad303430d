"""Digest: ranks that hold the same numbers compare them, so that one flipped bit is noticed.

Processors and memories give wrong numbers now and then without a word, and a replica that has one
trains on with it (Dixit et al., 2021, arXiv:2102.11245; Llama 3, 2024, arXiv:2407.21783, section
3.3.4). Who holds what follows from the pieces that ranks have, so it is the same for replicas, for
norms under tensor parallel, and for both ends of a tied pipeline. What one rank alone holds cannot
be compared: shards without replicas have no digest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple, final

import torch
import torch.distributed as dist
from torch import Tensor

from zafu.layout import AXES
from zafu.optim.runtime.update import Update
from zafu.parallel.spread import Spread

ROW = 1024  # words that are added up before they are multiplied
WORDS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes
Key = tuple[str, tuple[int, ...], tuple[int, ...]]  # name, offset, shape of what a rank holds


class Different(NamedTuple):
    """Copies of one tensor that are not equal."""

    name: str
    ranks: list[int]  # those who are not like most; all holders, where no majority is
    others: list[int]  # the other holders


def digests(tensors: list[Tensor]) -> Tensor:
    """A 64-bit number for each tensor, `(tensors)`; one flipped bit in a tensor changes its number.

    A tensor's bytes are read as integers of 64 bits, what is left over as those of its own width.
    To flip bit b of one of them adds or subtracts 2^b, modulo 2^64, and b < 64. All that is done
    with it is to add others to it and to multiply it by one odd number, which has an inverse
    modulo 2^64; so the sum changes by 2^b times an odd number, which is never 0 modulo 2^64. The
    odd numbers differ from row to row: so several flips, or rows in another order, do not cancel
    but by a rare chance. Nothing is rounded, so equal bytes have equal digests.
    """
    parts: list[Tensor] = []
    ends: list[int] = []
    length = 0
    for tensor in tensors:
        for part in _integers(tensor):
            parts.append(part)
            length += len(part)
        ends.append(length)
    if not length:
        return torch.zeros(len(ends), dtype=torch.int64)
    where = next((p.device for p in parts if p.device.type != "cpu"), parts[0].device)
    flat = torch.cat([part.to(where) for part in parts]).to(torch.int64)
    # what a tensor's number is must not depend on the tensors before it
    starts = [0, *ends[:-1]]
    sizes = torch.tensor([end - start for start, end in zip(starts, ends, strict=True)])
    begin = torch.repeat_interleave(torch.tensor(starts), sizes).to(flat.device)
    places = torch.arange(length, device=flat.device) - begin
    sums = (flat * (2 * places + 1)).cumsum(0)
    sums = torch.cat([sums.new_zeros(1), sums])
    return (
        sums[torch.tensor(ends, device=flat.device)]
        - sums[torch.tensor(starts, device=flat.device)]
    )


def _integers(tensor: Tensor) -> Iterator[Tensor]:
    """The sums of a tensor's rows, then the numbers that fill none."""
    flat = tensor.detach().reshape(-1)
    flat = flat.view(WORDS[flat.element_size()])
    row = ROW * 8 // flat.element_size()
    whole = len(flat) // row * row
    if whole and flat.storage_offset() * flat.element_size() % 8 == 0:
        yield flat[:whole].view(torch.int64).view(-1, ROW).sum(1)
        flat = flat[whole:]
    if len(flat):
        yield flat


@final
class Replicas:
    """What of a model and its update other ranks hold as well, and whether it is still the same.

    Every rank must ask at the same points.
    """

    def __init__(self, spread: Spread, update: Update) -> None:
        self._spread, self._update = spread, update
        self._names: list[str] | None = None  # of the update's tensors, when keys were told
        self._shared: list[int] = []  # which of what is here others have as well
        self._most = 0  # the longest such list of any rank
        self._entries: list[tuple[Key, int]] = []  # what is held, and by which rank
        self._places = self._firsts = torch.zeros(0, dtype=torch.int64)  # of entries in the table

    @property
    def any(self) -> bool:
        """Whether there was anything to compare so far."""
        return bool(self._entries)

    def different(self) -> list[Different]:
        """The tensors of which copies differ, the same list on every rank; in order of names."""
        world = self._spread.world
        if world.alone:
            return []
        state = self._update.tensors()
        if self._spread.any(list(state) != self._names):
            self._tell(state)
        if not self._entries:
            return []
        here = [tensor for _, tensor in self._held(state)]
        mine = torch.zeros(self._most, dtype=torch.int64, device=world.device)
        found = digests([here[index] for index in self._shared])
        mine[: len(found)] = found
        table = [torch.empty_like(mine) for _ in range(world.layout.world)]
        dist.all_gather(table, mine, group=world.group(*AXES))
        flat = torch.cat(table).cpu()
        if torch.equal(flat[self._places], flat[self._firsts]):
            return []
        return self._named(flat)

    def _tell(self, state: dict[str, Tensor]) -> None:
        """Learn what every rank holds."""
        world = self._spread.world
        self._names = list(state)
        keys = [key for key, _ in self._held(state)]
        heard: list[list[Key]] = [
            [(name, tuple(offset), tuple(shape)) for name, offset, shape in said]
            for said in world.all_of(keys)
        ]
        holders: dict[Key, list[int]] = defaultdict(list)
        for rank, said in enumerate(heard):
            for key in said:
                holders[key].append(rank)
        lists = [[key for key in said if len(holders[key]) > 1] for said in heard]
        self._shared = [index for index, key in enumerate(keys) if len(holders[key]) > 1]
        self._most = max(map(len, lists))
        self._entries, places, firsts = [], list[int](), list[int]()
        where: dict[Key, int] = {}
        for rank, said in enumerate(lists):
            for index, key in enumerate(said):
                place = rank * self._most + index
                self._entries.append((key, rank))
                places.append(place)
                firsts.append(where.setdefault(key, place))
        self._places, self._firsts = torch.tensor(places), torch.tensor(firsts)

    def _held(self, state: dict[str, Tensor]) -> Iterator[tuple[Key, Tensor]]:
        """What is here: weights as the model computes with them, those that are updated, state."""
        held = self._spread.held
        pieces = [*self._spread.parts, *(held.pieces if held else ())]
        found: dict[int, tuple[Key, Tensor]] = {}
        for piece in pieces:
            if piece.own.numel():
                found[id(piece.own)] = (
                    (piece.name, piece.offset, tuple(piece.own.shape)),
                    piece.own,
                )
        yield from found.values()
        for name, buffer in held.buffers.items() if held else ():
            yield (name, (), tuple(buffer.shape)), buffer
        here = {piece.name: piece for piece in held.pieces} if held else {}
        for name, tensor in state.items():
            own = name.split(".", 3)[3] if name.startswith("optimizer.") else name.partition(".")[2]
            piece = here.get(own)
            offset = piece.offset if piece and tensor.shape == piece.own.shape else ()
            yield (name, offset, tuple(tensor.shape)), tensor

    def _named(self, flat: Tensor) -> list[Different]:
        copies: dict[Key, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for (key, rank), number in zip(self._entries, flat[self._places].tolist(), strict=True):
            copies[key][number].append(rank)
        found: list[Different] = []
        for (name, _, _), alike in sorted(copies.items()):
            if len(alike) == 1:
                continue
            every = sorted(rank for ranks in alike.values() for rank in ranks)
            most = max(alike.values(), key=len)
            others = most if 2 * len(most) > len(every) else []
            found.append(Different(name, [r for r in every if r not in others], others))
        return found


def told(found: list[Different]) -> str:
    """A sentence about tensors of which copies differ."""
    first = next((d for d in found if d.others), found[0])  # one that names a culprit, if any does
    more = f" (and of {len(found) - 1} more tensors)" if len(found) > 1 else ""
    ranks = ", ".join(map(str, first.ranks))
    if first.others:
        others = ", ".join(map(str, first.others))
        has = "has" if len(first.ranks) == 1 else "have"
        return f"rank {ranks} {has} other bits of {first.name}{more} than rank {others}"
    return f"ranks {ranks} have different bits of {first.name}{more}; one of them is wrong"
