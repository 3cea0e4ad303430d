"""Grid: all combinations of a few values of each setting, in an order that a seed decides.

Because of the order a grid that is cut short has still seen all parts of the space. For four
well-known settings or fewer; beyond, random search finds more (Bergstra & Bengio, 2012).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import ClassVar, Literal, final

import numpy as np
from pydantic import Field

from zafu.errors import Fault
from zafu.hashing import key, mix
from zafu.search.contract import BATCH, Ask, Search, Told
from zafu.space import Space

MOST = 10_000


@final
class Grid(Search):
    """All combinations of `points` values of each range and all values of each choice."""

    kind: Literal["grid"] = "grid"
    points: int = Field(default=4, ge=2)
    """Values of each range, both ends among them; a stepped range may have fewer, p >= 2."""
    ends: ClassVar[bool] = True

    def next(self, space: Space, told: Sequence[Told], *, higher: bool, seed: int) -> list[Ask]:
        """The next combinations in the seed's order."""
        settings = list(space.grid(self.points))
        order = np.argsort(mix(key(seed) ^ np.arange(len(settings), dtype=np.uint64)))
        wanted = order[: self.trials][len(told) : len(told) + BATCH]
        return [Ask(settings[index]) for index in wanted.tolist()]

    def refused(self, space: Space) -> Iterable[Fault]:
        """More combinations than anybody would try."""
        if len(list(islice(space.grid(self.points), MOST + 1))) > MOST:
            hint = "fewer points, fewer paths, or --search random"
            yield Fault("search.points", f"at most {MOST:,} combinations", "more", hint=hint)
