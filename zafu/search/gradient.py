"""Gradient: settings that follow the slope of the validation loss through the end of a training.

Each trial gives, beside its value, the gradient of its validation loss by every setting (reverse
mode through its last steps: `zafu/hypergradient/unrolled.py`), and the next settings lie along it.
A step is Adam's (Kingma & Ba, 2014) in the unit coordinates of the space, so that learning rates
move by ratios where they are searched by ratios, and its size is a share of the range that falls
from `pace` to a tenth of it. Where a trial diverged or is not finite, its chain goes back half way
towards the trial before, with half the pace. Several chains begin at different places.

For settings that have a slope: numbers, not choices or whole numbers. With a handful of settings
it does not beat random search (measured: docs/techniques/hypergradients.md); it is for many.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal, NamedTuple, final

from pydantic import Field

from zafu.errors import Fault
from zafu.search.contract import Ask, Search, Told
from zafu.search.samplers import drawn
from zafu.space import Range, Space

_USUAL = 30  # trials where none are named: there is no end by itself


@final
class Gradient(Search):
    """Steps along the gradient of the validation loss."""

    kind: Literal["gradient"] = "gradient"
    ends: ClassVar[bool] = True
    chains: int = Field(default=2, ge=1)
    """Places from which it begins, >= 1: the middle of the space, then a Sobol sequence's."""
    pace: float = Field(default=0.1, gt=0, le=1)
    """Length of a step at first, as a share of each range, 0 < p <= 1."""

    def next(self, space: Space, told: Sequence[Told], *, higher: bool, seed: int) -> list[Ask]:
        """One trial of each chain, all with gradients."""
        total = self.trials or _USUAL
        count = min(self.chains, total - len(told))
        if not told:
            first = [
                [0.5] * len(space.paths),
                *drawn(0, self.chains - 1, len(space.paths), seed=seed),
            ]
            return [Ask(space.at(list(point)), gradient=True) for point in first[:count]]
        rounds = math.ceil(total / self.chains)
        return [
            Ask(space.at(_next(self, space, told[chain :: self.chains], rounds)), gradient=True)
            for chain in range(max(count, 0))
        ]

    def refused(self, space: Space) -> Iterable[Fault]:
        """What of the space has no slope."""
        for one in space.dimensions:
            if not isinstance(one, Range) or one.step is not None or one.whole:
                hint = "use --search random or bayes"
                yield Fault(
                    one.path, "numbers from a range, which have a slope", "others", hint=hint
                )


class _Chain(NamedTuple):
    """Where a chain stands after some of its trials."""

    point: list[float]
    before: list[float]  # that of the last trial which went well
    mean: list[float]
    square: list[float]
    trials: int = 0
    share: float = 1.0  # of the pace


def _next(search: Gradient, space: Space, told: Sequence[Told], rounds: int) -> list[float]:
    """The next point of a chain: a function of its trials."""
    zeros = [0.0] * len(space.paths)
    start = space.point(told[0].ask.settings)
    chain = _Chain(start, start, zeros, zeros)
    for done, one in enumerate(told):
        slope = _slope(space, one)
        if slope is None:
            half = [(a + b) / 2 for a, b in zip(chain.point, chain.before, strict=True)]
            if half == chain.point:  # the first of all: towards the low end of everything
                half = [u / 2 for u in half]
            chain = chain._replace(point=half, share=chain.share / 2)
            continue
        pace = search.pace * chain.share * (1 - 0.9 * done / max(rounds - 1, 1))
        chain = _stepped(chain, slope, pace)
    return chain.point


def _stepped(chain: _Chain, slope: list[float], pace: float) -> _Chain:
    """One step of Adam, with faster means, as there are few of them; inside the unit cube."""
    count = chain.trials + 1
    mean = [0.7 * m + 0.3 * g for m, g in zip(chain.mean, slope, strict=True)]
    square = [0.9 * v + 0.1 * g * g for v, g in zip(chain.square, slope, strict=True)]
    sizes = [math.sqrt(v / (1 - 0.9**count)) for v in square]
    moves = [m / (1 - 0.7**count) / s if s else 0.0 for m, s in zip(mean, sizes, strict=True)]
    point = [
        min(max(u - pace * move, 0.0), 1.0) for u, move in zip(chain.point, moves, strict=True)
    ]
    return _Chain(point, chain.point, mean, square, count, chain.share)


def _slope(space: Space, told: Told) -> list[float] | None:
    """The gradient in unit coordinates; None where the trial has none that is finite."""
    if told.value is None or told.gradient is None:
        return None
    found: list[float] = []
    for one in space.dimensions:
        assert isinstance(one, Range)  # noqa: S101  (`refused` saw to it)
        value = float(told.ask.settings[one.path])
        scale = value * math.log(one.high / one.low) if one.log else one.high - one.low
        found.append(told.gradient[one.path] * scale)
    return found if all(map(math.isfinite, found)) else None
