"""Parts: what the folds of a cross-validation say, kept one by one, and what they say together.

```
parts/REPEAT-FOLD/      published once the fold is judged, and verified before it is taken again
  ids.npy               the place of each judged sample in the pool; -1: windows of text
  answers.npy           the task's answers to them; of numbers in the units of the data
  part.json             scores, sizes and cost
```
The interval of the mean over folds is Nadeau & Bengio's (2003), as folds share training samples:
their standard deviation says nothing of how sure the mean is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zafu import statistics
from zafu.artifact import CARD, publish, read_json, verify, write_json
from zafu.data import arrays, pool
from zafu.errors import Damaged
from zafu.measure import Measurement
from zafu.recipe import Recipe
from zafu.spec import Spec
from zafu.trial import Cost, Outcome, Trial


class Part(Spec):
    """What one fold says."""

    repeat: int
    fold: int
    train: int
    """Samples that were trained on."""
    test: int
    """Samples that were judged."""
    units: int
    """Bytes of text that were judged, else as many as samples."""
    scores: dict[str, float]
    """Each metric; none where training diverged."""
    score: Measurement | None = None
    """The recipe's metric, with the interval that the judged samples leave."""
    samples: int
    updates: int
    seconds: float
    """Of training."""
    data: str
    """The prepared data."""
    labels: tuple[str, ...] = ()
    diverged: str = ""
    settings: dict[str, Any] | None = None
    """What a search inside the training part chose."""
    searched: float | None = None
    """The value by which it chose them."""
    trials: int = 0
    """Trainings of that search."""

    @property
    def name(self) -> str:
        """Its folder."""
        return f"{self.repeat}-{self.fold}"


class Kept(NamedTuple):
    """A part with its answers."""

    part: Part
    ids: np.ndarray  # (samples,) int64
    answers: np.ndarray  # (samples, k)


class OutOfFold(NamedTuple):
    """Answers to samples by models that were trained without them, in the order of the source."""

    ids: np.ndarray  # (samples,) int64: places in the pool
    answers: np.ndarray  # (samples, k) as the task judges them; of numbers in the data's units
    targets: np.ndarray  # (samples,) int64 classes, or (samples, outputs) numbers


class Result(Spec):
    """What all folds say."""

    metric: str
    higher_is_better: bool
    folds: int
    repeats: int
    score: Measurement | None
    """Mean of the metric over folds with its corrected interval; none if all diverged."""
    means: dict[str, Measurement]
    """The same of every metric."""
    pooled: dict[str, Measurement]
    """Metrics of all answers of the first repeat together: each sample once."""
    parts: tuple[Part, ...]
    confusion: tuple[tuple[int, ...], ...] = ()
    """Of the same answers; true classes are rows."""
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What to know when reading the numbers."""
    optimism: Measurement | None = None
    """Of a search inside the folds: what it said of its choice less what the outer fold says."""

    @property
    def cost(self) -> Cost:
        """What all final trainings took."""
        return sum((Cost(p.samples, p.updates, p.seconds) for p in self.parts), Cost())

    @property
    def diverged(self) -> int:
        """How many trainings came to no answer."""
        return sum(bool(part.diverged) for part in self.parts)


def judged(place: tuple[int, int], trial: Trial, outcome: Outcome) -> Kept:
    """What a training says of its fold: `place` is repeat and number."""
    recipe, data = trial.recipe, trial.data
    test = recipe.data.open(data, "test")
    answers = outcome.answers.get("test", np.zeros((0, 0)))
    ids = pool.ids(data, "test")
    ids = np.full(len(test), -1, np.int64) if ids is None else np.array(ids)
    labels = read_json(data / "signature.json").get("labels") or ()
    units = test.units(np.arange(len(test)))
    metric = recipe.task.row(recipe.metric, answers, units=units) if len(answers) else None
    part = Part(
        repeat=place[0],
        fold=place[1],
        train=len(recipe.data.open(data, "train")),
        test=len(test),
        units=units,
        score=metric.measured() if metric else None,
        scores={name: outcome.score(trial, "test", name) for name in named(recipe, answers)},
        data=data.name,
        labels=tuple(labels),
        diverged=outcome.diverged,
        **vars(outcome.cost),
    )
    if recipe.task.kind == "regression" and len(answers):
        outputs = answers.shape[1] // 2
        sides = (answers[:, :outputs], answers[:, outputs:])
        answers = np.concatenate([recipe.data.in_units(data / "transform", x) for x in sides], 1)
    return Kept(part, ids[: len(answers)], answers)


def named(recipe: Recipe, answers: np.ndarray) -> list[str]:
    """The metrics of answers, the recipe's first."""
    if not len(answers):
        return []
    return list(dict.fromkeys([recipe.metric, *recipe.task.suited(answers)]))


def keep(folder: Path, kept: Kept) -> None:
    """Publish a part below the folder of its cross-validation."""

    def write(place: Path) -> None:
        arrays.write_arrays(place, {"ids": kept.ids, "answers": kept.answers})
        write_json(place / "part.json", kept.part.dump())

    publish(folder / "parts" / kept.part.name, write, kind="part")


def there(folder: Path) -> bool:
    """Whether a folder is a cross-validation's, finished or not."""
    return (folder / "parts").is_dir() or (folder / "folds.json").is_file()


def read(folder: Path, place: tuple[int, int], data: str | None = None) -> Kept | None:
    """A part that was kept; None if it is not there, not whole, or of other prepared data."""
    where = folder / "parts" / f"{place[0]}-{place[1]}"
    if not (where / CARD).is_file():
        return None
    try:
        verify(where)
        part = Part.parse(read_json(where / "part.json"))
        found = Kept(part, *(arrays.read_array(where / f"{x}.npy") for x in ("ids", "answers")))
    except Damaged:
        return None
    return found if data in (None, part.data) else None


def joined(parts: Sequence[Kept], task: str, repeat: int = 0) -> OutOfFold:
    """The answers of all folds of a repeat; of a sample in several folds those of the first.

    Windows of text stay in the order of their folds, numbered from 0.
    """
    own = [kept for kept in parts if kept.part.repeat == repeat and not kept.part.diverged]
    if not own:
        return OutOfFold(np.arange(0), np.zeros((0, 0)), np.arange(0))
    ids = np.concatenate([kept.ids for kept in own])
    answers = np.concatenate([kept.answers for kept in own])
    if (ids < 0).any():
        ids = np.arange(len(ids))
    ids, first = np.unique(ids, return_index=True)
    answers = answers[first]
    if task == "classification":
        return OutOfFold(ids, answers, answers[:, 2].astype(np.int64))
    return OutOfFold(ids, answers, answers[:, answers.shape[1] // 2 :])


def result(recipe: Recipe, parts: Sequence[Kept], *, folds: int, repeats: int) -> Result:
    """What the parts say together."""
    said = [kept.part for kept in parts]
    done = [part for part in said if not part.diverged]
    names = list(done[0].scores) if done else []
    means = {name: over([part.scores[name] for part in done], done) for name in names}
    out = joined(parts, recipe.task.kind)
    pooled, confusion = _pooled(recipe, out, [kept.part for kept in parts])
    labels = done[0].labels if done and confusion is not None else ()
    return Result(
        metric=recipe.metric,
        higher_is_better=recipe.task.higher_is_better(recipe.metric),
        folds=folds,
        repeats=repeats,
        score=means.get(recipe.metric),
        means=means,
        pooled=pooled,
        parts=tuple(said),
        confusion=() if confusion is None else tuple(map(tuple, confusion.tolist())),
        labels=labels,
        notes=tuple(_notes(recipe, said, done)),
        optimism=_optimism(recipe, done),
    )


def over(values: Sequence[float], parts: Sequence[Part]) -> Measurement:
    """The mean of a value of each part, with its corrected interval."""
    n_test, n_train = sizes(parts)
    return statistics.corrected(values, n_test=n_test, n_train=n_train).size


class Sizes(NamedTuple):
    """Of the parts of a fold."""

    n_test: int
    n_train: int


def sizes(parts: Sequence[Part]) -> Sizes:
    """The mean sizes of what was judged and trained on."""
    many = len(parts)
    test, train = sum(p.test for p in parts) / many, sum(p.train for p in parts) / many
    return Sizes(max(1, round(test)), max(1, round(train)))


def _pooled(
    recipe: Recipe, out: OutOfFold, parts: Sequence[Part]
) -> tuple[dict[str, Measurement], np.ndarray | None]:
    """Metrics of all answers together, and how often each class was called each class."""
    task, answers = recipe.task, out.answers
    if not len(answers):
        return {}, None
    units = len(answers)
    if task.kind == "language-modeling":
        units = sum(part.units for part in parts if part.repeat == 0 and not part.diverged)
    if task.kind == "regression":  # units of the data become standard deviations of these targets
        spread, middle = out.targets.std(0), out.targets.mean(0)
        scale = np.tile(np.where(spread > 0, spread, 1.0), 2)
        answers = (answers - np.tile(middle, 2)) / scale
    labels = next((part.labels for part in parts if part.labels), ())
    found = task.judge(answers, units=units, also=[recipe.metric])
    return found, task.confusion(answers, len(labels))


def _optimism(recipe: Recipe, parts: Sequence[Part]) -> Measurement | None:
    """What searches said of their choices less what the outer folds say."""
    pairs = [(p.searched, p.scores[recipe.metric]) for p in parts if p.searched is not None]
    if not pairs:
        return None
    sign = 1 if recipe.task.higher_is_better(recipe.metric) else -1
    return over([sign * (inner - outer) for inner, outer in pairs], parts)


def _notes(recipe: Recipe, parts: Sequence[Part], done: Sequence[Part]) -> list[str]:
    """What to know when reading the numbers."""
    said: list[str] = []
    if len(done) < len(parts):
        many = len(parts) - len(done)
        said.append(f"{many} of {len(parts)} trainings diverged; the mean is of the others")
    if recipe.data.split.by == "time":
        text = "folds by time train on more and more samples: the interval is an approximation"
        said.append(text)
    split, fit = recipe.data.split, recipe.fit
    unused = not (fit.early_stopping or any(p.settings is not None for p in parts))
    if isinstance(split.validation, float) and split.validation and unused:
        share = f"{split.validation:.0%} of what each fold leaves"
        text = "and not used, as nothing stops early: data.split.validation=0 trains on it too"
        said.append(f"{share} was held for validation {text}")
    if len(done) == 1:
        said.append("one fold alone has no interval")
    return said
