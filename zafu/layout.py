"""Layout: over how many processes a training is spread, and along which axes.

Axes from the slowest to the fastest, which is how ranks are numbered: pipeline, data, context,
shard, tensor. A layout never changes what is computed, so it is no part of a run's identity.
Sources: data parallel with sums of gradients (Li et al., 2020, arXiv:2006.15704); ZeRO levels
(Rajbhandari et al., 2020, arXiv:1910.02054); tensor and sequence parallel (Shoeybi et al., 2019,
arXiv:1909.08053; Korthikanti et al., 2022, arXiv:2205.05198); pipelines (Huang et al., 2019,
arXiv:1811.06965; Narayanan et al., 2021, arXiv:2104.04473; Qi et al., 2024, arXiv:2401.10241;
DeepSeek-AI, 2024, arXiv:2412.19437); ring attention (Liu et al., 2023, arXiv:2310.01889).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Literal

from pydantic import Field

from zafu.errors import Fault
from zafu.spec import Spec

AXES = ("pipeline", "data", "context", "shard", "tensor")  # rank 1 differs from 0 in the last > 1
Schedule = Literal["gpipe", "1f1b", "interleaved", "zero-bubble", "dualpipe-v"]
Level = Literal["optimizer", "gradients", "parameters"]
LOOPED = ("interleaved",)  # two stages a process, round the pipeline twice
FOLDED = ("zero-bubble", "dualpipe-v")  # the same, down one arm of a V and up the other
TWO_CHUNKS = (*LOOPED, *FOLDED)


class Layout(Spec):
    """Degrees of parallelism; their product is the number of processes."""

    data: int = Field(default=1, ge=1)
    """Replicas of the model, each on its share of a batch, >= 1."""
    shard: int = Field(default=1, ge=1)
    """Processes that share the state of one replica, each on its share of a batch, >= 1."""
    level: Level = "parameters"
    """What `shard` cuts: the optimizer's state (ZeRO 1), gradients too (2), parameters too (3)."""
    tensor: int = Field(default=1, ge=1)
    """Processes that share each layer's matrices, >= 1; activations between them are cut in time
    where the model's plan says so (sequence parallel)."""
    pipeline: int = Field(default=1, ge=1)
    """Processes that hold consecutive blocks, >= 1."""
    schedule: Schedule = "1f1b"
    """In which order pipeline stages work on micro-batches."""
    microbatches: int | None = Field(default=None, ge=1)
    """Micro-batches of a pipelined step; None: twice the stages."""
    context: int = Field(default=1, ge=1)
    """Processes that share each window of tokens, >= 1."""

    def check(self) -> Iterable[Fault]:
        """Enough micro-batches to fill the pipeline, and as many as the schedule can order."""
        wanted = self.microbatches
        if wanted is None or self.pipeline == 1:
            return
        if wanted < self.stages:
            expected = f"at least {self.stages}, the stages of {self.schedule}"
            yield Fault("microbatches", expected, str(wanted))
        elif not self._ordered(wanted):
            fewer = next(n for n in range(wanted - 1, 0, -1) if self._ordered(n))
            more = next(n for n in count(wanted + 1) if self._ordered(n))
            found = f"{wanted} with {self.schedule} over {self.pipeline} processes"
            near = f"{fewer} and {more}" if fewer >= self.stages else str(more)
            yield Fault("microbatches", "a number of equal rounds", found, hint=f"nearest: {near}")

    def _ordered(self, microbatches: int) -> bool:
        """Whether micro-batches fill whole rounds, which interleaving alone goes by.

        Narayanan et al., 2021, section 2.2; with torch a round is of `pipeline` or a few more.
        """
        rounds = max(1, microbatches // self.pipeline)
        return self.schedule != "interleaved" or microbatches % rounds == 0

    @property
    def world(self) -> int:
        """Number of processes."""
        return math.prod(getattr(self, axis) for axis in AXES)

    @property
    def batch_ranks(self) -> int:
        """Among how many processes the samples of a batch are dealt."""
        return self.data * self.shard

    @property
    def stages(self) -> int:
        """Parts into which the model is cut by depth."""
        chunks = 2 if self.pipeline > 1 and self.schedule in TWO_CHUNKS else 1
        return self.pipeline * chunks

    @property
    def pieces(self) -> int:
        """Micro-batches of a pipelined step."""
        return self.microbatches or 2 * self.stages

    def place(self, rank: int) -> dict[str, int]:
        """The coordinate of a rank on each axis."""
        found: dict[str, int] = {}
        for axis in reversed(AXES):
            rank, found[axis] = divmod(rank, getattr(self, axis))
        return found

    def peers(self, rank: int, *axes: str) -> list[int]:
        """The ranks that differ from this one on these axes alone, in order, itself included."""
        here = self.place(rank)
        return [
            other
            for other in range(self.world)
            if all(here[a] == value for a, value in self.place(other).items() if a not in axes)
        ]

    def refused(
        self, *, sizes: Mapping[str, int] | None, blocks: int, batch: int | None
    ) -> Iterable[Fault]:
        """Faults of these degrees with a model and a batch; paths are relative to the layout.

        `sizes` are those that `tensor` must divide, {} if the model has no tensor plan, None if
        that is not known yet; `blocks` is the model's depth, 0 if it cannot be cut; `batch` None
        is the whole training split.
        """
        if self.tensor > 1 and sizes is not None:
            if not sizes:
                yield Fault("tensor", "1, as this model has no plan for it", str(self.tensor))
            shared = math.gcd(*sizes.values()) if sizes else 0
            if shared % self.tensor:
                known = ", ".join(str(n) for n in range(1, shared + 1) if shared % n == 0)
                named = ", ".join(f"{name} {size}" for name, size in sizes.items())
                yield Fault("tensor", f"a divisor of {named} ({known})", str(self.tensor))
        if self.pipeline > 1 and self.stages > blocks:
            path, most = "pipeline", max(1, blocks // (self.stages // self.pipeline))
            expected = f"at most {most}, as the model has {blocks} blocks for {self.stages} stages"
            if not blocks:
                expected = "1, as this model cannot be cut by depth"
            yield Fault(path, expected, str(self.pipeline))
        if batch is not None:
            wanted = self.batch_ranks * (self.pieces if self.pipeline > 1 else 1)
            if batch < wanted or (self.pipeline > 1 and batch % wanted):
                near = max(batch // wanted, 1) * wanted
                what = "a multiple" if self.pipeline > 1 else "a batch"
                expected = f"{what} of at least {wanted} samples (fit.batch={near})"
                yield Fault("", expected, f"fit.batch={batch}")


def held(schedule: Schedule, process: int, processes: int) -> tuple[int, ...]:
    """The numbers of the stages that a process of a pipeline holds, ascending."""
    if schedule in FOLDED:
        return process, 2 * processes - 1 - process
    if schedule in LOOPED:
        return process, process + processes
    return (process,)


def share(index: int, stages: int, blocks: int) -> range:
    """The numbers of a stage's blocks; where they do not divide, earlier stages have one more."""
    return range(-(-index * blocks // stages), -(-(index + 1) * blocks // stages))
