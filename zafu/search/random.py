"""Random: settings that have nothing to do with what was seen, evenly over the space.

A scrambled Sobol sequence (Sobol, 1967; Owen, 1998) by default, whose points leave no large hole;
or independent points. Bergstra & Bengio, 2012 (JMLR 13): better than a grid where only some of
the settings matter. The first n trials are the same, however many follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, final

from zafu.search.contract import BATCH, Ask, Search, Told
from zafu.search.samplers import drawn
from zafu.space import Space


@final
class Random(Search):
    """Points that fill the space evenly."""

    kind: Literal["random"] = "random"
    sequence: Literal["sobol", "independent"] = "sobol"
    """`sobol`: quasi-random points; `independent`: each drawn for itself."""

    def next(self, space: Space, told: Sequence[Told], *, higher: bool, seed: int) -> list[Ask]:
        """The next points of the sequence."""
        count = BATCH if self.trials is None else min(BATCH, self.trials - len(told))
        points = drawn(len(told), count, len(space.paths), seed=seed, sequence=self.sequence)
        return [Ask(space.at(point)) for point in points.tolist()]
