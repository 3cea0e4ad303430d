"""Bayes: settings that a model of the trials so far takes to be promising.

`tpe`: densities of good and of other settings (Bergstra et al., 2011), a few milliseconds a trial.
`gp`: a Gaussian process, some tenths of a second a trial; for trainings that take much longer.
Settings are asked for in batches, so that trials can be computed together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, final

from pydantic import Field

from zafu.search.contract import Ask, Search, Told
from zafu.search.samplers import points, suggested
from zafu.space import Space


@final
class Bayes(Search):
    """Evenly spread settings first, then what a model suggests."""

    kind: Literal["bayes"] = "bayes"
    sampler: Literal["tpe", "gp"] = "tpe"
    """The model: `tpe` or `gp`."""
    startup: int = Field(default=10, ge=2)
    """Settings of a Sobol sequence that come first, s >= 2."""
    batch: int = Field(default=10, ge=1)
    """Settings that are asked for together, b >= 1; with fewer, each knows more trials."""
    needs: ClassVar[tuple[tuple[str, str], ...]] = (("optuna", "tune"),)

    def next(self, space: Space, told: Sequence[Told], *, higher: bool, seed: int) -> list[Ask]:
        """The next batch."""
        count = self.startup if len(told) < self.startup else self.batch
        if self.trials is not None:
            count = min(count, self.trials - len(told))
        if count <= 0:
            return []
        if len(told) < self.startup:
            found = points(space, len(told), min(count, self.startup - len(told)), seed=seed)
        else:
            found = suggested(space, told, count, model=self.sampler, higher=higher, seed=seed)
        return [Ask(settings) for settings in found]
