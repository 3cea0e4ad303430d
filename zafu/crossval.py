"""Cross-validation: each fold is an ordinary recipe, trained without it and judged on it.

Stone, 1974; the interval is Nadeau & Bengio's (2003). As a fold is part of the data, all that is
fitted (normalization, tokenizer, features, made-up rows) is fitted inside of it. All folds have the
same split seed; the seed of weights and order goes up with the repeat. One that was killed ends as
an undisturbed one would: folds that an engine trains together are then trained together again.

```
runs/NAME-crossval-DIGEST/
  recipe.yaml environment.json status.json
  engine.json           who computes: chosen once
  parts/REPEAT-FOLD/    each fold as soon as it is judged: a killed cross-validation goes on
  folds.json            scores and cost of each fold, and what they say together
  oof.npy               the answers of all folds: repeat, fold, id, answers
  report.html
```
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zafu import artifact, engine, parts
from zafu.data import pool, splitters
from zafu.data.fold import Fold
from zafu.errors import DataError, DiskFull, Fault, Interrupted, RecipeError
from zafu.parts import Kept, OutOfFold, Part, Result
from zafu.recipe import Recipe
from zafu.report.folds_page import write as write_report
from zafu.run import Run, environment, prepared
from zafu.session import Note
from zafu.signals import Stop, stoppable
from zafu.source import parse_yaml, to_yaml
from zafu.spec import digest_of
from zafu.trial import Trial

Place = tuple[int, int]  # repeat and number of a fold
ENGINE = "engine.json"


@dataclass(frozen=True)
class Crossval:
    """What is judged by folds, and where it is kept."""

    recipe: Recipe  # where its test is a fold, all are dealt as that one is
    folder: Path
    runs: Path  # where prepared data lies
    folds: int = 5
    repeats: int = 1
    engine: str = "auto"
    inside: str = ""  # digest of what is searched inside of each fold

    @classmethod
    def named(cls, recipe: Recipe, name: str, runs: Path, *, folds: int, repeats: int) -> Crossval:
        """The cross-validation of this recipe under `runs`."""
        return cls(recipe, runs, runs, folds, repeats).called(name)

    def called(self, name: str) -> Crossval:
        """The same in a folder under `runs` that is named by what decides the answers."""
        return replace(self, folder=self.runs / f"{name}-crossval-{self.digest[:8]}")

    def on(self, engine: str) -> Crossval:
        """The same, computed by an engine."""
        return replace(self, engine=engine)

    @cached_property
    def digest(self) -> str:
        """Of all that decides the answers."""
        parts = [self.recipe.identity(), self.folds, self.repeats]
        return digest_of([*parts, self.inside] if self.inside else parts)

    @cached_property
    def recipes(self) -> dict[Place, Recipe]:
        """The recipe of each fold; raises RecipeError where the data cannot be dealt so."""
        return {
            (repeat, fold): of_fold(self.recipe, fold, self.folds, repeat=repeat)
            for repeat in range(self.repeats)
            for fold in range(self.folds)
        }


class Began(NamedTuple):
    """The folds are known; so many are judged already."""

    crossval: Crossval
    done: int


class Folded(NamedTuple):
    """A fold was judged."""

    part: Part
    done: int
    of: int


class Finished(NamedTuple):
    """All folds are judged."""

    crossval: Crossval
    result: Result
    report: Path


Event = Note | Began | Folded | Finished
Judge = Callable[[Crossval, Mapping[Place, Path], Stop], Generator[Note | Kept, None, None]]


def of_fold(recipe: Recipe, fold: int, of: int, *, repeat: int = 0) -> Recipe:
    """The recipe that trains without a fold and is judged on it; raises RecipeError."""
    recipe.refuse_elders("the folds that are held out")
    template = recipe.data.split.test
    plain = template.dump() if isinstance(template, Fold) else {}
    split = {**recipe.data.split.dump(), "seed": recipe.split_seed}
    split["test"] = {**plain, "fold": fold, "of": of, "repeat": repeat}
    seed = (recipe.seed + repeat) % 2**32
    return recipe.at("data.split", split).at("seed", seed)


def cross_validate(
    recipe: Recipe | Path | str,
    *overrides: str,
    folds: int = 5,
    repeats: int = 1,
    splitter: splitters.Splitter | None = None,
    runs: Path | str = "runs",
) -> Result:
    """Judge a recipe, or the one in a file, by folds, without a word.

    `splitter` is any object with scikit-learn's `split(X, y, groups)`: it deals all samples in the
    order of the source, and says how many folds there are. Raises what `events` raises.
    """
    name, found = "run", recipe
    if not isinstance(found, Recipe):
        name, found = Path(found).stem, Recipe.load(Path(found), overrides)
    else:
        for assignment in overrides:
            path, _, value = assignment.partition("=")
            found = found.at(path, parse_yaml(value).data)
    if splitter is not None:
        found, folds = dealt_by(splitter, found, Path(runs))
    return carried(Crossval.named(found, name, Path(runs), folds=folds, repeats=repeats))


def carried(crossval: Crossval) -> Result:
    """Carry a cross-validation to its end without a word."""
    return next(event for event in events(crossval) if isinstance(event, Finished)).result


def out_of_fold(
    recipe: Recipe,
    *,
    folds: int = 5,
    repeat: int = 0,
    runs: Path | str = "runs",
    name: str = "run",
) -> OutOfFold:
    """An answer to every sample, by a model that was trained without it.

    `repeat` draws other folds. What was computed for the same recipe and folds before is taken.
    """
    crossval = Crossval.named(recipe, name, Path(runs), folds=folds, repeats=repeat + 1)
    carried(crossval)
    return parts.joined(all_parts(crossval), recipe.task.kind, repeat)


def dealt_by(splitter: splitters.Splitter, recipe: Recipe, runs: Path) -> tuple[Recipe, int]:
    """The recipe whose folds are those of a splitter, and how many there are.

    They are written to `runs/folds/DIGEST.npy`; the name tells whether the file is the same.
    """
    data = prepared(recipe, runs)
    try:
        found = splitters.folds(splitter, pool.known(data))
    except (ValueError, TypeError) as error:
        raise DataError(f"splitter: {error}") from None
    content = splitters.written(found)
    file = (runs / "folds" / f"{splitters.digest(content)}.npy").resolve()
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.is_file():
        part = file.with_suffix(".part")
        part.write_bytes(content)
        part.replace(file)
    test = {"fold": 0, "of": len(found), "indices": str(file)}
    split = {**recipe.data.split.dump(), "stratify": False, "test": test}
    return recipe.at("data.split", split), len(found)


def refused(crossval: Crossval) -> list[Fault]:
    """What keeps a recipe from being judged by folds."""
    recipe, faults = crossval.recipe, list[Fault]()
    for name, number, least in (("folds", crossval.folds, 2), ("repeats", crossval.repeats, 1)):
        if number < least:
            faults.append(Fault(name, f"a number >= {least}", str(number)))
    if recipe.fit.seconds is not None:
        expected = "a budget in samples, epochs, steps or tokens, as all folds share a clock"
        faults.append(Fault("fit.seconds", expected, f"{recipe.fit.seconds:g}"))
    if recipe.layout.world > 1:
        expected = "one process for each fold"
        faults.append(Fault("layout", expected, f"{recipe.layout.world} processes"))
    if isinstance(recipe.data.split.validation, Fold):
        found = "a fold"
        faults.append(Fault("data.split.validation", "a share of what a fold leaves", found))
    if not faults:
        try:
            _ = crossval.recipes
        except RecipeError as error:
            faults += error.faults
    return faults


def events(crossval: Crossval, judge: Judge | None = None) -> Iterator[Event]:
    """Judge every fold, going on where it stopped; `judge` says how (default: `trained`).

    Raises RecipeError before anything is spent; DataError where samples cannot be dealt so;
    Interrupted after a signal, with all folds that are judged kept.
    """
    if faults := refused(crossval):
        raise RecipeError(faults)
    if found := finished(crossval):
        yield Note(f"{crossval.folder} is finished; the same folds are not trained again")
        yield Finished(crossval, found, crossval.folder / "report.html")
        return
    run = Run(crossval.folder, crossval.recipe)
    with ExitStack() as stack:
        stop = stack.enter_context(stoppable())
        stack.enter_context(artifact.only_writer(crossval.folder))
        begin(crossval)
        try:
            run.say("running")
            kept: dict[Place, Kept] = {}
            try:
                yield from _carried(crossval, judge or trained, kept, stop)
            except Interrupted:
                unless_stopped(crossval, stop, len(kept))
                raise
            found = parts.result(
                crossval.recipe, list(kept.values()), folds=crossval.folds, repeats=crossval.repeats
            )
            yield concluded(crossval, found, list(kept.values()))
        except BaseException as error:
            note_end(run, error)
            raise


def begin(crossval: Crossval) -> None:
    """Write down what is judged, and where."""
    folder = crossval.folder
    artifact.write_text(folder / "recipe.yaml", to_yaml(crossval.recipe.dump()))
    artifact.write_json(folder / "environment.json", environment(crossval.recipe.fit.threads))


def _carried(
    crossval: Crossval, judge: Judge, kept: dict[Place, Kept], stop: Stop
) -> Iterator[Event]:
    """Yields what happens; in place: `kept` gets the parts of all folds, in their order."""
    folders: dict[Place, Path] = {}
    for place, recipe in crossval.recipes.items():
        folders[place] = prepared(recipe, crossval.runs, stopped=lambda: stop.signal)
        if known := parts.read(crossval.folder, place, folders[place].name):
            kept[place] = known
    if len(kept) < len(folders) and engine_of(crossval) not in ("", "sequential"):
        kept.clear()  # trained together: the rounding of one depends on which others there are
    pending = {place: data for place, data in folders.items() if place not in kept}
    yield Began(crossval, len(kept))
    with closing(judge(crossval, pending, stop)) as said:
        for event in said:
            if isinstance(event, Note):
                yield event
                continue
            parts.keep(crossval.folder, event)
            kept[event.part.repeat, event.part.fold] = event
            yield Folded(event.part, len(kept), len(crossval.recipes))
            unless_stopped(crossval, stop, len(kept))
    for place in crossval.recipes:
        kept[place] = kept.pop(place)


def trained(
    crossval: Crossval, pending: Mapping[Place, Path], stop: Stop
) -> Generator[Note | Kept, None, None]:
    """Train each of these folds, whose prepared data is at hand, and judge it."""
    notes: list[str] = []
    places = list(pending)
    trials = [Trial(crossval.recipes[p], pending[p], judged=("test",)) for p in places]
    how = engine_of(crossval) or crossval.engine
    if trials and how == "auto":
        how = engine.choose(trials, notes.append)
    artifact.write_json(crossval.folder / ENGINE, how)
    found = engine.outcomes(trials, how=how, say=notes.append, stopped=lambda: stop.signal)
    for number, outcome in found:
        yield from map(Note, notes)
        notes.clear()
        yield parts.judged(places[number], trials[number], outcome)


def engine_of(crossval: Crossval) -> str:
    """Who computed these folds the last time; "" if nobody did, or another is asked for now."""
    file = crossval.folder / ENGINE
    found = str(artifact.read_json(file)) if file.is_file() else ""
    return found if crossval.engine in ("auto", found) else ""


def unless_stopped(crossval: Crossval, stop: Stop, done: int) -> None:
    """Raise Interrupted if somebody asked to stop and there is more to do."""
    if stop and done < len(crossval.recipes):
        text = f"{done} of {len(crossval.recipes)} folds are judged and kept"
        raise Interrupted(f"{stop.signal}: {text}; the same command goes on") from None


def concluded(crossval: Crossval, found: Result, kept: Sequence[Kept]) -> Finished:
    """Write down what all folds say."""
    folder = crossval.folder
    artifact.write_json(folder / "folds.json", found.dump())
    save_answers(folder / "oof.npy", kept)
    Run(folder, crossval.recipe).say("finished", seconds=found.cost.seconds)
    return Finished(crossval, found, write_report(folder))


def save_answers(file: Path, kept: Sequence[Kept]) -> None:
    """Write the answers of all folds as rows of repeat, fold, id and answers."""
    there = [one for one in kept if len(one.answers)]
    width = there[0].answers.shape[1] if there else 0
    fields = [("repeat", "<i4"), ("fold", "<i4"), ("id", "<i8"), ("answers", "<f8", (width,))]
    table = np.zeros(sum(len(one.ids) for one in there), np.dtype(fields))
    at = 0
    for one in there:
        rows = slice(at, at + len(one.ids))
        table["repeat"][rows], table["fold"][rows] = one.part.repeat, one.part.fold
        table["id"][rows], table["answers"][rows] = one.ids, one.answers
        at += len(one.ids)
    part = file.with_name(f".{file.name}.part")
    with part.open("wb") as out:
        np.save(out, table, allow_pickle=False)
    part.replace(file)


def all_parts(crossval: Crossval) -> list[Kept]:
    """The parts of a finished cross-validation."""
    found = [parts.read(crossval.folder, place) for place in crossval.recipes]
    return [kept for kept in found if kept is not None]


def finished(crossval: Crossval) -> Result | None:
    """What a finished cross-validation says, if it is whole."""
    folder = crossval.folder
    if Run(folder, crossval.recipe).status().get("state") != "finished":
        return None
    if len(all_parts(crossval)) < len(crossval.recipes) or not (folder / "folds.json").is_file():
        return None
    return Result.parse(artifact.read_json(folder / "folds.json"))


def note_end(run: Run, error: BaseException) -> None:
    """Let the status say how it ended before its end, if the disk takes that."""
    gone = isinstance(error, (GeneratorExit, Interrupted, KeyboardInterrupt))
    if isinstance(error, GeneratorExit) and run.status().get("state") == "finished":
        return
    with suppress(OSError, DiskFull):
        run.say("interrupted" if gone else "failed", message=str(error) or type(error).__name__)
