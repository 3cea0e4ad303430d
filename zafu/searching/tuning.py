"""Tuning: what is searched, how, where it is noted, and when it ends."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from zafu.errors import Fault
from zafu.extras import missing
from zafu.hypergradient.settings import faults_of
from zafu.recipe import Recipe
from zafu.search.contract import Search
from zafu.search.gradient import Gradient
from zafu.searching.confirm import Confirm
from zafu.space import Space
from zafu.spec import digest_of


class Budget(NamedTuple):
    """When a search stops asking; None: the search alone decides."""

    seconds: float | None = None  # that trials take, of all processes together, with confirming
    epochs: float | None = None  # of training, over all trials, without confirming


NO_LIMIT, USUAL = Budget(), Confirm()


@dataclass(frozen=True)
class Tuning:
    """What is searched, how, where it is noted, and who computes."""

    recipe: Recipe
    space: Space
    search: Search
    folder: Path
    runs: Path
    budget: Budget = NO_LIMIT
    confirm: Confirm | None = USUAL
    seed: int = 0
    folds: int = 0
    storage: str = ""  # URL of a database; "": a file in the folder
    engine: str = "auto"

    @cached_property
    def held(self) -> Recipe:
        """The recipe with its split held, whatever its seed becomes."""
        return self.recipe.at("data.split.seed", self.recipe.split_seed)

    @property
    def digest(self) -> str:
        """Of all that decides which trials are asked for."""
        search = self.search.dump()
        parts = [self.recipe.identity(), self.space.dump(), search, self.seed, self.folds]
        return digest_of(parts)

    @property
    def higher(self) -> bool:
        """Whether more of the metric is better."""
        return self.recipe.higher_is_better


def place(name: str, runs: Path, digest: str) -> Path:
    """The folder of a study, named by what decides its trials."""
    return runs / f"{name}-tune-{digest[:8]}"


def refused(tuning: Tuning) -> list[Fault]:
    """What would keep this search from coming to anything."""
    recipe, faults = tuning.recipe, list(tuning.search.refused(tuning.space))
    faults += missing((("sqlalchemy", "tune"), *tuning.search.needs), "search")
    if isinstance(tuning.search, Gradient):
        known = {fault.path for fault in faults}
        faults += [f for f in faults_of(recipe, tuning.space.paths) if f.path not in known]
    if recipe.fit.seconds is not None:
        expected = "a budget in samples, epochs, steps or tokens, as trials share a clock"
        faults.append(Fault("fit.seconds", expected, f"{recipe.fit.seconds:g}"))
    if recipe.layout.world > 1 and (tuning.search.goes_on or tuning.folds):
        expected = "1, as trials on several processes neither stop half way nor have folds"
        hint = "use --search random or bayes, without --folds"
        faults.append(Fault("layout", expected, f"{recipe.layout.world} processes", hint=hint))
    if not tuning.folds and recipe.data.split.validation == 0:
        hint = "set data.split.validation=0.1"
        faults.append(Fault("data.split.validation", "samples to choose by", "0", hint=hint))
    return faults
