"""Trials of a study: from a row of the ledger to what came of it.

A row is one training, or one for each fold, whose value is their mean. Whoever computes them does
not matter: an engine in this process, Ray, or, where the recipe's layout has several processes, a
run of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from zafu import engine
from zafu.errors import NonFinite, RecipeError
from zafu.recipe import Recipe
from zafu.run import prepared
from zafu.searching import kept, trials_on_ray
from zafu.searching.sharded_trials import ran
from zafu.space import applied
from zafu.spec import digest_of
from zafu.study import Done, Row
from zafu.trial import Cost, Outcome, Trial

UNROLLED = 200  # steps at the end of a training through which a gradient is carried back
Compute = Callable[[Sequence[Trial]], Iterator[tuple[int, Outcome]]]


class Over(NamedTuple):
    """A trial that is over, and the weights that were judged: a fold each."""

    row: Row
    done: Done
    outcomes: tuple[Outcome, ...] = ()


@dataclass
class Bench:
    """What the trials of a study are made from."""

    recipe: Recipe
    runs: Path
    states: Path  # folder of states that trials go on from
    keeps: bool = False  # whether a trial that ends early leaves its state
    folds: int = 0  # parts of the samples, each judged by a training on the others; 0: as dealt
    stopped: Callable[[], str] = lambda: ""
    say: Callable[[str], None] = lambda _: None
    run: Callable[[Recipe, Path, tuple[str, ...], Callable[[], str]], Done] = ran  # if sharded
    prepared: dict[str, Path] = field(default_factory=dict[str, Path])

    def data(self, recipe: Recipe) -> Path:
        """The prepared data of a recipe; verified once in a process."""
        key = digest_of([recipe.data.dump(), recipe.task.kind, recipe.split_seed])
        if key not in self.prepared:
            self.prepared[key] = prepared(recipe, self.runs, say=self.say, stopped=self.stopped)
        return self.prepared[key]

    def recipes(self, row: Row) -> list[Recipe]:
        """The recipes of a row, one a fold; raises RecipeError where settings do not combine."""
        settings, seed = row.wanted.settings, row.wanted.seed
        recipe = applied(self.recipe, settings if seed is None else {**settings, "seed": seed})
        if not self.folds:
            return [recipe]
        path = "data.split.validation"
        return [recipe.at(path, {"fold": n, "of": self.folds}) for n in range(self.folds)]

    def trials(self, row: Row, judged: tuple[str, ...]) -> list[Trial]:
        """The trainings of a row; raises RecipeError where its settings do not go together."""
        wanted, found = row.wanted, list[Trial]()
        for fold, recipe in enumerate(self.recipes(row)):
            begin = None
            if wanted.of is not None:
                begin = kept.read(self.states, named(row.stage, wanted.of, fold))
            found.append(Trial(recipe, self.data(recipe), judged, wanted.until, begin))
        return found

    def over(
        self, rows: Sequence[Row], compute: Compute, judged: tuple[str, ...] = ("validation",)
    ) -> Iterator[Over]:
        """Yields each row as soon as all of its trainings are over."""
        every: list[tuple[Row, int, Trial]] = []
        for row in rows:
            try:
                recipe = self.recipes(row)[0]
                if recipe.layout.world > 1:
                    folder = self.states.with_name("trials") / named(row.stage, row.number)
                    yield Over(row, self.run(recipe, folder, judged, self.stopped))
                    continue
                trials = self.trials(row, judged)
            except RecipeError as error:
                yield Over(row, Done("failed", reason=str(error)))
                continue
            every += [(row, fold, trial) for fold, trial in enumerate(trials)]
        found: dict[int, dict[int, Outcome]] = {}
        walls: dict[int, float] = {}
        last = perf_counter()
        for index, outcome in compute([trial for *_, trial in every]) if every else ():
            row, fold, _ = every[index]
            found.setdefault(row.number, {})[fold] = outcome
            now = perf_counter()
            walls[row.number] = walls.get(row.number, 0.0) + now - last
            last = now
            if len(found[row.number]) == max(self.folds, 1):
                trials = [trial for other, _, trial in every if other is row]
                yield self._told(row, trials, found.pop(row.number), walls[row.number])

    def _told(
        self, row: Row, trials: Sequence[Trial], found: Mapping[int, Outcome], wall: float
    ) -> Over:
        outcomes = tuple(found[fold] for fold in range(len(found)))
        cost = sum((outcome.cost for outcome in outcomes), Cost())
        spent = Done("diverged", samples=cost.samples, updates=cost.updates)
        spent = spent._replace(seconds=cost.seconds, wall=wall)
        if reasons := [outcome.diverged for outcome in outcomes if outcome.diverged]:
            return Over(row, spent._replace(reason=reasons[0]))
        if self.keeps and row.wanted.until < 1:
            try:
                for fold, outcome in enumerate(outcomes):
                    if outcome.state:
                        kept.write(self.states, named(row.stage, row.number, fold), outcome.state)
            except NonFinite as error:
                return Over(row, spent._replace(reason=str(error)))
        pairs = list(zip(trials, outcomes, strict=True))
        scores = {
            split: sum(outcome.score(trial, split) for trial, outcome in pairs) / len(pairs)
            for split in trials[0].judged
        }
        curve = [(point.samples, point.value) for point in outcomes[0].curve]
        done = spent._replace(state="done", value=scores["validation"], scores=scores, curve=curve)
        if row.wanted.wants == "gradient":
            done = _with_gradient(done, list(row.wanted.settings), trials)
        return Over(row, done, outcomes)


def _with_gradient(done: Done, paths: list[str], trials: Sequence[Trial]) -> Done:
    """The slopes of the validation loss, the mean over folds, and what they cost beside."""
    from zafu.hypergradient.unrolled import hypergradient

    began = perf_counter()
    slopes = [hypergradient(trial, paths, steps=UNROLLED) for trial in trials]
    means = {path: sum(s.gradient[path] for s in slopes) / len(slopes) for path in paths}
    cost = sum((slope.cost for slope in slopes), Cost())
    done = done._replace(
        samples=done.samples + cost.samples,
        updates=done.updates + cost.updates,
        seconds=done.seconds + cost.seconds,
        wall=done.wall + perf_counter() - began,
    )
    finite = all(map(math.isfinite, means.values()))
    return done._replace(gradient=means) if finite else done


def by_engine(how: str, say: Callable[[str], None], stopped: Callable[[], str]) -> Compute:
    """Trainings by an engine of this machine, or as tasks of Ray."""
    if how == "ray":
        return lambda trials: trials_on_ray.outcomes(trials, stopped)
    return lambda trials: engine.outcomes(trials, how=how, say=say, stopped=stopped)


def named(stage: str, number: int, fold: int = 0) -> str:
    """The name of a state."""
    return f"{stage}-{number}-{fold}"
