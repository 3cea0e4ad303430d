"""Saving: what is written while training goes on.

A save has two parts. A copy of all tensors is taken between two steps; then a thread writes the
copy, digests it, puts it on the disk and gives it its name (as CheckFreq does: Mohan et al., 2021,
FAST '21). Training stands still for the copy alone. One save is under way at a time, and it is
over, for better or worse, before a process leaves its training. A copy that does not fit into
memory is not taken: training waits for the disk instead. So it does for a small state, where what
takes time is the disk's answer and not the bytes: a killed run then loses no step more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

from zafu.boxes import Box
from zafu.launch_on_ray import BESIDE
from zafu.layout import Layout
from zafu.parallel.world import World

MEMORY, GROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
SMALL = 4_000_000  # bytes of a state for which training waits: some hundredths of a second
SHARE = 0.5  # of the free memory that copies may take: the next step needs some as well


@dataclass
class Save:
    """A save that is under way."""

    step: int
    seconds: float  # for which training stood still, so far
    waited: float  # of these: for the save before
    behind: Future[float]  # the seconds that writing takes


class Saving:
    """One process's saves: memory for copies, kept for the next one, and what is under way."""

    def __init__(self, world: World | None = None) -> None:
        """`world` is this place in its layout again, for the thread to speak with."""
        self.world = world or World(Layout())
        self.under_way: Save | None = None
        self._copies: list[Tensor] = []

    @property
    def written(self) -> bool:
        """Whether what is under way has come to its end, good or bad."""
        return self.under_way is None or self.under_way.behind.done()

    def fits(self, boxes: Sequence[Box]) -> bool:
        """Whether there is memory for a copy of these."""
        if len(self._copies) == len(boxes):
            return True
        needed = sum(_kept(box.tensor) for box in boxes)
        told = (os.environ.get(name) for name in (BESIDE, "LOCAL_WORLD_SIZE"))
        here = int(next(filter(None, told), self.world.layout.world))
        free = free_memory()
        return free is None or needed * here <= free * SHARE

    @torch.no_grad()
    def copied(self, boxes: Sequence[Box]) -> list[Box]:
        """The same boxes with tensors of their own, in main memory, whatever becomes of the first.

        They are good until this is called again.
        """
        old, self._copies = self._copies, []
        for number, (_, live, *_) in enumerate(boxes):
            kept = old[number] if number < len(old) else None
            if kept is None or (kept.shape, kept.dtype) != (live.shape, live.dtype):
                kept = torch.empty(live.shape, dtype=live.dtype, pin_memory=live.is_cuda)
            self._copies.append(kept)
        for near in (True, False):  # one call each: there may be thousands
            pairs = [(c, b.tensor) for c, b in zip(self._copies, boxes, strict=True)]
            pairs = [(c, live) for c, live in pairs if (live.device.type == "cpu") == near]
            if pairs:
                targets, sources = (list(side) for side in zip(*pairs, strict=True))
                torch._foreach_copy_(targets, sources, non_blocking=not near)  # pyright: ignore[reportPrivateImportUsage]
                if not near:
                    torch.cuda.synchronize()
        return [b._replace(tensor=c) for b, c in zip(boxes, self._copies, strict=True)]

    def begin(self, step: int, write: Callable[[], None], *, stood: float, waited: float) -> Save:
        """Let a thread write; `stood` is for how many seconds training stood still for it."""
        if self.under_way:
            raise ValueError(f"expected no save under way, found that of {self.under_way.step}")

        def work() -> float:
            begun = perf_counter()
            write()
            return perf_counter() - begun

        one = ThreadPoolExecutor(1, "save")  # a process that ends waits for it
        self.under_way = Save(step, stood, waited, one.submit(work))
        one.shutdown(wait=False)
        return self.under_way

    def end(self) -> BaseException | None:
        """Wait for what is under way; what it has raised. Nothing is under way afterwards."""
        save, self.under_way = self.under_way, None
        return save.behind.exception() if save else None


def _kept(tensor: Tensor) -> int:
    """Bytes of a copy: what a GPU copies to is rounded up to a power of two."""
    return 1 << (tensor.nbytes - 1).bit_length() if tensor.is_cuda else tensor.nbytes


def free_memory() -> int | None:
    """Bytes that this process can still take, by its machine and its groups; None: not known."""
    try:
        lines = MEMORY.read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if "MemAvailable" in line)
    except (OSError, StopIteration):
        return None
    limits = (_left(group) for group in _groups())
    return min([free, *(left for left in limits if left is not None)])


def _groups() -> list[Path]:
    """The folders of this process's control group (v2) and of those that it lies in."""
    try:
        lines = OWN.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    parts = [part for part in own.split("/") if part]
    return [GROUP.joinpath(*parts[:count]) for count in range(len(parts) + 1)]


def _left(group: Path) -> int | None:
    """Bytes that a group can still take; None: it has no limit, or there is none of this name."""
    try:
        most, used = ((group / f"memory.{name}").read_text() for name in ("max", "current"))
        rows = (group / "memory.stat").read_text().splitlines()
        files = next(int(row.split()[1]) for row in rows if row.startswith("inactive_file "))
        return int(most) - int(used) + files
    except (OSError, StopIteration, ValueError):  # "max": no limit
        return None
