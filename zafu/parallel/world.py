"""World: the processes of a layout, this one's place among them, and how they speak.

Every group is made by every process in the same order, as torch wants it. What is said between
processes is numbers and JSON, never a pickle.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from zafu.errors import Interrupted, Refused
from zafu.layout import AXES, Layout
from zafu.parallel.watch import Watch, watching

PATIENCE = timedelta(minutes=10)  # for one collective operation
MEETING = timedelta(hours=1)  # for the others to come: the first verifies the data before it does


class World:
    """This process's place in a layout. Alone, every operation is the identity."""

    def __init__(self, layout: Layout, rank: int = 0, device: torch.device | None = None) -> None:
        self.layout, self.rank = layout, rank
        self.device = device or torch.device("cpu")
        self.place = layout.place(rank)
        self.watch: Watch | None = None  # where others may be lost
        self._groups: dict[tuple[str, ...], dist.ProcessGroup] = {}

    @cached_property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.layout.world == 1

    def degree(self, *axes: str) -> int:
        """How many processes differ on these axes alone."""
        return math.prod(getattr(self.layout, axis) for axis in axes)

    def index(self, *axes: str) -> int:
        """This process's number among them, from 0; the last axis in `AXES` runs fastest."""
        number = 0
        for axis in (a for a in AXES if a in axes):
            number = number * getattr(self.layout, axis) + self.place[axis]
        return number

    def group(self, *axes: str) -> dist.ProcessGroup | None:
        """Those processes, in the order of their numbers; None where this one is alone in it."""
        return self._groups.get(self._key(axes))

    def names(self) -> dict[str, tuple[str, ...]]:
        """Along which axes each of the groups lies, by torch's name of it."""
        return {group.group_name: axes for axes, group in self._groups.items()}

    def add(self, values: Tensor, *axes: str) -> Tensor:
        """In place: the sum of a tensor over the processes of some axes, the same bits on each."""
        if group := self.group(*axes):
            dist.all_reduce(values, group=group)
        return values

    def all_of(self, text: Any) -> list[Any]:
        """What each process said, by rank, as plain data."""
        if self.alone:
            return [text]
        said = torch.frombuffer(bytearray(json.dumps(text).encode()), dtype=torch.uint8)
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.layout.world)]
        dist.all_gather(sizes, torch.tensor([len(said)]), group=self.group(*AXES))
        most = max(int(size) for size in sizes)
        padded = torch.zeros(most, dtype=torch.uint8)
        padded[: len(said)] = said
        found = [torch.zeros(most, dtype=torch.uint8) for _ in sizes]
        dist.all_gather(found, padded, group=self.group(*AXES))
        return [
            json.loads(bytes(heard[: int(size)].tolist()))
            for heard, size in zip(found, sizes, strict=True)
        ]

    def wait(self) -> None:
        """Return when every process has come here."""
        self.add(torch.zeros(1), *AXES)

    def beside(self, patience: timedelta) -> World:
        """This place again, with which a thread can speak while others compute; on the CPU.

        It has one group, of all, where an operation may take as long as `patience`. Every process
        must call this at the same point.
        """
        other = World(self.layout, self.rank)
        if not self.alone:
            ranks = [*range(self.layout.world)]
            made = dist.new_group(ranks, timeout=patience, backend="gloo")
            if isinstance(made, dist.ProcessGroup):
                other._groups[other._key(AXES)] = made
        return other

    def connect(self) -> None:
        """Make the groups; torch's default group has the processes of the layout already."""
        axes = [axis for axis in AXES if getattr(self.layout, axis) > 1]
        for count in range(1, len(axes) + 1):
            for chosen in combinations(axes, count):
                seen: set[int] = set()
                for rank in range(self.layout.world):
                    if rank in seen:
                        continue
                    peers = self.layout.peers(rank, *chosen)
                    seen.update(peers)
                    made = dist.new_group(peers, timeout=PATIENCE)
                    if self.rank in peers and isinstance(made, dist.ProcessGroup):
                        self._groups[chosen] = made

    def leave(self) -> None:
        """Let go of the groups: each has threads and connections of its own."""
        while self._groups:
            _, group = self._groups.popitem()
            dist.destroy_process_group(group)

    def _key(self, axes: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(a for a in AXES if a in axes and getattr(self.layout, a) > 1)


@contextmanager
def connected(layout: Layout, rank: int, device: torch.device | None = None) -> Generator[World]:
    """A place in a layout with its groups; torch's default group has all processes already."""
    world = World(layout, rank, device)
    world.connect()
    try:
        yield world
    finally:
        world.leave()


@contextmanager
def joined(
    layout: Layout, device: torch.device | None = None, *, logs: Path | None = None
) -> Generator[World]:
    """The world that the launcher's environment describes; alone where the layout is of one.

    RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT are those of torch's elastic launcher, LOCAL_RANK
    is the number of this process's GPU. With a folder of `logs` ranks watch each other, and
    LostRank is raised where one is gone. Raises Refused where processes are more than GPUs.
    """
    if layout.world == 1:
        yield World(layout)
        return
    backend = "gloo"
    if device is not None and device.type == "cuda":
        take_gpu()
        backend = "cpu:gloo,cuda:nccl"  # votes and what is said as text stay in main memory
    store, rank, size = next(iter(rendezvous("env://", timeout=MEETING)))
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    try:
        with ExitStack() as stack:
            world = stack.enter_context(connected(layout, rank, device))
            if logs is not None:
                log = logs / f"{rank}.stacks"
                world.watch = stack.enter_context(watching(store, rank, size, log))
            try:
                yield world
            except Interrupted:  # which all raise after the same step
                part(world)
                raise
            part(world)
    finally:
        dist.destroy_process_group()


def part(world: World) -> None:
    """Leave together, however long some of the others take until they come here."""
    world.wait()  # who has come here watches nobody any more
    if world.watch:
        world.watch.leave("")
    world.wait()  # the store lives as long as somebody speaks to it


def take_gpu() -> None:
    """Let `cuda` mean the GPU of this process's own; raises Refused if there are too few."""
    here, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if here > gpus:
        raise Refused(
            f"layout: expected a GPU for each of the {here} processes here, found {gpus}; "
            "start fewer, or set fit.device=cpu"
        )
    torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    torch.backends.cudnn.deterministic = True  # what several ranks compute must have the same bits
