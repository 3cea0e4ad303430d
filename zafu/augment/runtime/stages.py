"""A chain in stages: neighbouring geometric steps are one map, neighbouring color steps one matrix.

The mean luma about which contrast turns is taken before the geometric steps of the same stage, so
that filled corners do not darken it; of bytes it is exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from zafu.augment.contract import Fill
from zafu.augment.runtime import opencv
from zafu.augment.runtime.affine import Affine, Size, in_cache, move, warp
from zafu.augment.runtime.counters import Counters
from zafu.augment.runtime.step import Coloring, Draw, Geometric, Scene, Step, Whole
from zafu.augment.runtime.tint import Tint, colored, luma_of_sums, mean_luma
from zafu.batch import Batch

Backend = Literal["torch", "opencv"]


@dataclass(frozen=True)
class Changes:
    """A whole-batch step."""

    step: Whole
    counters: Counters

    def __call__(self, batch: Batch, keys: np.ndarray, scene: Scene) -> Batch:
        """The batch changed."""
        (draw,) = self.counters.draws(keys, (self.step,))
        return self.step.apply(batch, draw, scene)


@dataclass(frozen=True)
class Views:
    """Pictures seen through one map (or none), then under one tint (or none)."""

    moves: tuple[Geometric, ...]
    colors: tuple[Coloring, ...]
    counters: Counters
    backend: Backend

    @property
    def fill(self) -> Fill:
        """What stands where there were no pixels."""
        fills: list[Fill] = [step.fill for step in self.moves if step.fill]
        return fills[0] if fills else "zeros"

    def __call__(self, batch: Batch, keys: np.ndarray, scene: Scene) -> Batch:
        """The batch with new pictures."""
        (pictures,) = batch.inputs
        draws = self.counters.draws(keys, (*self.moves, *self.colors))
        maps = self._maps(pictures, draws) if self.moves else None
        tints = self._tints(pictures, draws[len(self.moves) :]) if self.colors else None
        whole = all(step.whole_pixels for step in self.moves)
        if maps is not None and whole:
            pictures = move(pictures, maps, self.fill)
            maps = None
        if maps is not None or tints is not None:
            pictures = self._seen(pictures, maps, tints, scene.white)
        return batch._replace(inputs=(pictures,))

    def _maps(self, pictures: Tensor, draws: Sequence[Draw]) -> Tensor:
        """The steps' maps as one, `(6, batch)`."""
        size = Size(*pictures.shape[1:])
        total = Affine()
        for step, draw in zip(self.moves, draws, strict=False):
            inverse = step.inverse(draw, size)
            if draw.on is not None:
                pairs = zip(inverse, Affine(), strict=True)
                inverse = Affine(*(draw.where_on(entry, other) for entry, other in pairs))
            total = total.after(inverse)
        return total.rows(len(pictures))

    def _tints(self, pictures: Tensor, draws: Sequence[Draw]) -> Tensor:
        """The steps' tints as one, `(4, batch)`."""
        uses_mean = any(step.uses_mean for step in self.colors)
        mean = self._mean(pictures) if uses_mean else torch.zeros((), dtype=torch.float64)
        total = Tint()
        for step, draw in zip(self.colors, draws, strict=True):
            after = step.tint(draw, total, mean)
            total = after if draw.on is None else Tint(torch.where(draw.on, after.rows, total.rows))
        return total.rows.expand(4, len(pictures))

    def _mean(self, pictures: Tensor) -> Tensor:
        """The mean luma of each picture, by whichever sum is faster: both are exact."""
        if self.backend == "opencv" and pictures.dtype == torch.uint8:
            return luma_of_sums(opencv.channel_sums(pictures), pictures)
        return mean_luma(pictures)

    def _seen(
        self, pictures: Tensor, maps: Tensor | None, tints: Tensor | None, white: float
    ) -> Tensor:
        fill = self.fill
        if self.backend == "opencv":
            return opencv.seen(pictures, maps, tints, fill=fill, white=white)
        turns = any(step.turns for step in self.colors)

        def seen(some: slice) -> Tensor:
            found = pictures[some]
            found = found if found.is_floating_point() else found.float()
            if maps is not None:
                found = warp(found, maps[:, some], fill)
            return found if tints is None else colored(found, tints[:, some], turns=turns)

        if torch.is_grad_enabled():
            return seen(slice(None)).clamp(0, white)
        pieces = in_cache(pictures)
        if len(pieces) == 1:
            return seen(pieces[0]).clamp_(0, white)
        dtype = pictures.dtype if pictures.is_floating_point() else torch.float32
        found = torch.empty(pictures.shape, dtype=dtype, device=pictures.device)
        for some in pieces:
            torch.clamp(seen(some), 0, white, out=found[some])
        return found


Stage = Changes | Views


def staged(
    steps: Sequence[Step], probabilities: Mapping[int, float], backend: Backend
) -> list[Stage]:
    """The steps in as few stages as give what they give one by one."""
    stages: list[Stage] = []
    moves: list[tuple[int, Geometric]] = []
    colors: list[tuple[int, Coloring]] = []

    def close() -> None:
        if moves or colors:
            counters = Counters.of([*moves, *colors], probabilities)
            stages.append(
                Views(
                    moves=tuple(step for _, step in moves),
                    colors=tuple(step for _, step in colors),
                    counters=counters,
                    backend=backend,
                )
            )
        moves.clear()
        colors.clear()

    for index, step in enumerate(steps):
        if isinstance(step, Coloring):
            colors.append((index, step))
        elif isinstance(step, Geometric):
            fills = {move.fill for _, move in moves} | {step.fill}
            if colors or len(fills - {None}) > 1:
                close()
            moves.append((index, step))
        else:
            close()
            stages.append(Changes(step, Counters.of([(index, step)], probabilities)))
    close()
    return stages
