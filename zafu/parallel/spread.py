"""Spread: what a training does together with the other ranks of its layout; alone, nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from zafu.batch import Batch
from zafu.layout import AXES, Layout
from zafu.parallel.world import World
from zafu.pieces import Held, Piece

if TYPE_CHECKING:
    from zafu.parallel.counting import Counting

Arithmetic = Callable[[], AbstractContextManager[object]]  # around a forward pass, such as autocast


class Loss(Protocol):
    """What is minimized and how answers are judged, as `Task`."""

    @property
    def smoothing(self) -> float | None:
        """Of labels, where losses are cross-entropies of logits; None for other losses."""
        ...

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The sum of the losses of a batch, a scalar that can be differentiated."""
        ...

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of each target."""
        ...

    def answer(self, logits: Tensor, targets: Tensor) -> Tensor:
        """What judging needs of each sample, `(batch, k)`."""
        ...


class Spread:
    """One process that is alone in its layout; `Ranks` has others beside it."""

    held: Held | None = None  # what is updated here; None: all of the model
    counting: Counting | None = None  # while a step's messages are counted
    parts: Sequence[Piece] = ()  # what the model computes with here, where that is not all of it

    def __init__(self, world: World) -> None:
        self.world = world

    @property
    def dealt(self) -> tuple[int, int]:
        """Which part of a batch is this rank's: its number, and of how many."""
        return self.world.index("data", "shard"), self.world.degree("data", "shard")

    @property
    def drawn(self) -> tuple[int, int]:
        """Which random numbers are this rank's: its number, and of how many."""
        axes = ("data", "context", "shard")
        return self.world.index(*axes), self.world.degree(*axes)

    def compile(self, model: nn.Module) -> None:
        """In place: let torch.compile make fused code of what is called of the model here."""
        model.compile()

    def backward(
        self, task: Loss, model: nn.Module, batch: Batch, factor: float, arithmetic: Arithmetic
    ) -> Tensor:
        """Add the gradients of `factor` times the loss of a batch; the loss, which is a sum."""
        with arithmetic():
            loss = task.loss(model, batch)
        loss.backward(loss.new_full((), factor))
        return loss.detach()

    def answer(self, task: Loss, model: nn.Module, batch: Batch) -> Tensor:
        """What judging needs of each sample, `(batch, k)`."""
        return task.answer(model(*batch.inputs), batch.targets)

    def passing(self, *, last: bool) -> AbstractContextManager[object]:
        """Around the forward and backward pass of one micro-batch; `last` says: of the step's last.

        Gradients are then summed over all ranks; before, only where memory asks for it.
        """
        return nullcontext()

    def finish(self) -> None:
        """After the last backward pass of a step: add to the gradients what others have of them."""

    def settle(self) -> None:
        """After an evaluation: forget what was gathered for it."""

    def heard(self, rows: Tensor, sizes: list[int]) -> list[Tensor]:
        """The rows `(size, k)` of as many ranks as there are sizes, on each of them.

        A rank beyond them has rows as well, which nobody hears.
        """
        group = self.world.group("data", "shard")
        if group is None:
            return [rows]
        padded = rows.new_zeros(max(sizes), rows.shape[1])
        padded[: min(len(rows), len(padded))] = rows[: len(padded)]
        found = [torch.empty_like(padded) for _ in range(self.dealt[1])]
        dist.all_gather(found, padded, group=group)
        return [there[:size] for there, size in zip(found, sizes, strict=False)]

    def total(self, loss: Tensor) -> Tensor:
        """The sum of a loss over all ranks that have a part of it."""
        return self.world.add(loss, "data", "context", "shard")

    def firsts(self, value: float) -> float:
        """What the first rank says, so that all decide alike."""
        mine = value if self.world.rank == 0 else 0.0
        return self.world.add(torch.tensor([mine], dtype=torch.float64), *AXES).item()

    def any(self, wanted: bool) -> bool:
        """Whether any rank wants it, so that all decide alike."""
        votes = torch.tensor([float(wanted)])
        return bool(self.world.add(votes, *AXES))


ALONE = Spread(World(Layout()))
