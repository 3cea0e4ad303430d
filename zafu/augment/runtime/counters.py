"""Which counters belong to which step: the draws of a stage come from two calls on one array.

A step's draws depend on the sample's key and on the step's place in the chain. Row 0 says whether
the step falls on a sample, so that a changed probability leaves the other draws as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from zafu.augment.runtime.step import Draw, Step
from zafu.hashing import mix

_GAMMA = np.uint64(0x9E3779B97F4A7C15)  # SplitMix64's step from one state to the next


@dataclass(frozen=True)
class Counters:
    """The counters of some steps, one after the other."""

    salts: np.ndarray  # (steps, 1) uint64
    repeats: np.ndarray  # (steps,) int64: the rows of each step
    offsets: np.ndarray  # (rows, 1) uint64: apart within a step
    starts: tuple[int, ...]  # the first row of each step
    probabilities: tuple[float, ...]

    @classmethod
    def of(cls, placed: Sequence[tuple[int, Step]], probabilities: Mapping[int, float]) -> Counters:
        """The counters of steps, each with its place in the chain."""
        rows = [(index, j) for index, step in placed for j in range(step.draws + 1)]
        indices = np.array([[index] for index, _ in placed], np.uint64)
        offsets = np.array([[j] for _, j in rows], np.uint64)
        starts = [row for row, (_, j) in enumerate(rows) if j == 0]
        return cls(
            salts=mix(indices + np.uint64(1)),
            repeats=np.array([step.draws + 1 for _, step in placed]),
            offsets=offsets * _GAMMA,
            starts=tuple(starts),
            probabilities=tuple(probabilities[index] for index, _ in placed),
        )

    def draws(self, keys: np.ndarray, steps: Sequence[Step]) -> list[Draw]:
        """What chance gives to each step, for samples with these keys `(batch,)`."""
        states = mix(keys ^ self.salts)  # (steps, batch)
        random = (mix(states.repeat(self.repeats, 0) + self.offsets) >> np.uint64(11)) * 2.0**-53
        uniform = torch.from_numpy(random).unbind()
        both_ways = torch.from_numpy(random * 2 - 1).unbind()
        found: list[Draw] = []
        places = zip(steps, ~states, self.starts, self.probabilities, strict=True)
        for step, own, start, probability in places:
            on = None if probability == 1 else uniform[start] < probability
            mine = slice(start + 1, start + 1 + step.draws)
            found.append(Draw(own, uniform[mine], both_ways[mine], on, step.magnitudes))
        return found
