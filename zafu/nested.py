"""Nested cross-validation: a search inside each fold, judged on samples that no choice has seen.

Varma & Simon, 2006 (BMC Bioinformatics 7:91): the best value of a search is no estimate of what was
chosen. Here each fold searches on inner folds of its training samples, trains the winner on all of
these, and is judged on the fold: what is judged is the recipe together with its search.

```
runs/NAME-crossval-DIGEST/searches/REPEAT-FOLD/     the study of each fold
```
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from zafu import engine, parts, tune
from zafu.crossval import Crossval, Event, Place, events, refused
from zafu.errors import Fault, RecipeError
from zafu.parts import Kept
from zafu.recipe import Recipe
from zafu.run import prepared
from zafu.search.contract import Search
from zafu.searching.found import Result
from zafu.searching.tuning import Tuning
from zafu.session import Note
from zafu.signals import Stop
from zafu.space import Space, applied
from zafu.spec import digest_of
from zafu.trial import Trial


@dataclass(frozen=True)
class Inner:
    """What is searched inside of each fold, and how."""

    space: Space
    search: Search
    folds: int = 4  # of the training samples of an outer fold, 2 or more
    seed: int = 0

    @property
    def digest(self) -> str:
        """Of all that decides what is chosen."""
        return digest_of([self.space.dump(), self.search.dump(), self.folds, self.seed])


def of(crossval: Crossval, inner: Inner) -> Crossval:
    """The cross-validation with this search inside; it is to be called by a name afterwards."""
    return replace(crossval, inside=inner.digest)


def nested(crossval: Crossval, inner: Inner) -> Iterator[Event]:
    """Search in every fold and judge what was chosen; raises what `crossval.events` raises."""
    if crossval.inside != inner.digest:
        raise ValueError("expected the cross-validation of this search, as nested.of makes it")
    if faults := [*refused(crossval), *_faults(crossval, inner)]:
        raise RecipeError(list(dict.fromkeys(faults)))

    def judge(
        whole: Crossval, pending: Mapping[Place, Path], stop: Stop
    ) -> Generator[Note | Kept, None, None]:
        for place, data in pending.items():
            tuning = tuning_of(whole, inner, place)
            yield Note(f"repeat {place[0]} fold {place[1]}: searches inside")
            found = _searched(tuning)
            yield _winner(whole, place, found, data=data, stop=stop)

    yield from events(crossval, judge)


def tuning_of(crossval: Crossval, inner: Inner, place: Place) -> Tuning:
    """The search inside of a fold: its test split is never looked at."""
    return Tuning(
        crossval.recipes[place],
        inner.space,
        inner.search,
        folder=crossval.folder / "searches" / f"{place[0]}-{place[1]}",
        runs=crossval.runs,
        confirm=None,
        seed=inner.seed,
        folds=inner.folds,
        engine=crossval.engine,
    )


def _searched(tuning: Tuning) -> Result:
    return next(event for event in tune.events(tuning) if isinstance(event, tune.Finished)).result


def _winner(crossval: Crossval, place: Place, found: Result, *, data: Path, stop: Stop) -> Kept:
    """Train with the settings that were chosen on all training samples, and judge the fold."""
    settings = found.winner.schedule[-1][1]
    recipe = whole(applied(crossval.recipes[place], settings))
    folder = prepared(recipe, crossval.runs, stopped=lambda: stop.signal)
    trial = Trial(recipe, folder, judged=("test",))
    trials = engine.outcomes([trial], how=crossval.engine, stopped=lambda: stop.signal)
    kept = parts.judged(place, trial, next(iter(trials))[1])
    said = {
        "settings": settings,
        "searched": found.winner.searched,
        "trials": len(found.trials),
        "data": data.name,  # by which it is known again
    }
    return kept._replace(part=kept.part.model_copy(update=said))


def whole(recipe: Recipe) -> Recipe:
    """The recipe that trains on its validation samples too, where nothing needs them."""
    if recipe.fit.early_stopping or recipe.fit.evaluate_every:
        return recipe
    return recipe.at("data.split.validation", 0.0)


def _faults(crossval: Crossval, inner: Inner) -> list[Fault]:
    """Why there can be no such search inside."""
    faults: list[Fault] = []
    if inner.folds < 2:
        faults.append(Fault("inner", "a number >= 2", str(inner.folds), "--inner"))
    if inner.search.schedules:
        expected = "a search that chooses settings, not a schedule"
        faults.append(Fault("search", expected, inner.search.kind, "--search"))
    if not faults:
        first = tuning_of(crossval, inner, (0, 0))
        faults += tune.refused(first)
        try:
            first.recipe.at("data.split.validation", {"fold": 0, "of": inner.folds})
        except RecipeError as error:
            faults += error.faults
    return faults
