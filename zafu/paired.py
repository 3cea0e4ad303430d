"""Paired: two recipes on the same folds, with the same seeds, and whether one was shown better.

The test is Nadeau & Bengio's (2003) of the differences, fold by fold: a plain t test of folds calls
a difference where there is none far more often than it says (45 % instead of 5 % at 5 x 5 folds).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zafu import artifact, statistics
from zafu.crossval import Crossval, Event, all_parts, engine_of, events, refused
from zafu.errors import Fault, RecipeError, Refused
from zafu.parts import Kept, sizes
from zafu.recipe import Recipe
from zafu.report.paired_page import write as write_report
from zafu.spec import Spec, show
from zafu.statistics import Effect, Verdict


class Difference(Spec):
    """What the folds say of two recipes."""

    first: str
    second: str
    changed: dict[str, tuple[str, str]]
    """Settings in which the recipes differ, of both."""
    metric: str
    higher_is_better: bool
    effect: Effect
    """Mean of second less first over folds, its corrected interval and p."""
    verdict: Verdict
    """What was shown of the second."""
    means: tuple[float, float]
    pairs: tuple[tuple[int, int, float, float], ...]
    """Repeat, fold, and the metric of both."""
    seconds: tuple[float, float] | None
    """Of all trainings of each; null where they were computed in different ways."""


class Compared(NamedTuple):
    """Both are judged."""

    difference: Difference
    report: Path


def paired(first: Crossval, second: Crossval) -> Iterator[Event | Compared]:
    """Judge both by the same folds; raises RecipeError if these cannot be the same."""
    faults = [*refused(first), *refused(second), *_faults(first, second)]
    if faults:
        raise RecipeError(list(dict.fromkeys(faults)))
    yield from events(first)
    alike = engine_of(second) or engine_of(first)  # so that their costs can be compared
    yield from events(second.on(alike) if second.engine == "auto" and alike else second)
    found = difference(first, second)
    name = f"against-{second.digest[:8]}"
    artifact.write_json(first.folder / f"{name}.json", found.dump())
    yield Compared(found, write_report(first.folder, name))


def difference(first: Crossval, second: Crossval) -> Difference:
    """What two finished cross-validations say of each other."""
    both = [all_parts(crossval) for crossval in (first, second)]
    pairs = [_same(a, b) for a, b in zip(*both, strict=True)]
    metric = first.recipe.metric
    higher = first.recipe.task.higher_is_better(metric)
    done = [(a, b) for a, b in pairs if not (a.part.diverged or b.part.diverged)]
    if not done:
        raise Refused(f"{second.folder}: expected folds in which both came to an answer")
    rows = [(a.part.scores[metric], b.part.scores[metric]) for a, b in done]
    n_test, n_train = sizes([a.part for a, _ in done])
    effect = statistics.corrected([b - a for a, b in rows], n_test=n_test, n_train=n_train)
    said = statistics.verdict(effect.p, effect.size.value, higher_is_better=higher)
    return Difference(
        first=first.folder.name,
        second=second.folder.name,
        changed=changed(first.recipe, second.recipe),
        metric=metric,
        higher_is_better=higher,
        effect=effect,
        verdict=said if len(done) == len(pairs) else "not shown",
        means=(float(np.mean([a for a, _ in rows])), float(np.mean([b for _, b in rows]))),
        pairs=tuple(
            (a.part.repeat, a.part.fold, *row) for (a, _), row in zip(done, rows, strict=True)
        ),
        seconds=(_seconds(both[0]), _seconds(both[1])) if _alike(first, second) else None,
    )


def changed(first: Recipe, second: Recipe) -> dict[str, tuple[str, str]]:
    """The settings in which two recipes differ, by path, of both."""
    a, b = (dict(_flat(recipe.dump(), "")) for recipe in (first, second))
    paths = [path for path in dict.fromkeys([*a, *b]) if a.get(path) != b.get(path)]
    return {path: (_said(a.get(path, "–")), _said(b.get(path, "–"))) for path in paths}


def _faults(first: Crossval, second: Crossval) -> list[Fault]:
    """Why two recipes cannot be judged by the same folds."""
    a, b = first.recipe, second.recipe
    faults: list[Fault] = []
    if a.identity() == b.identity():
        faults.append(Fault("", "another recipe to compare with", "the same", "--against"))
    if a.data.split != b.data.split:
        faults.append(Fault("data.split", "the same split in both", "others", "--against"))
    if a.split_seed != b.split_seed or a.seed != b.seed:
        faults.append(Fault("seed", "the same seed in both", f"{a.seed} and {b.seed}"))
    if (a.task.kind, a.metric) != (b.task.kind, b.metric):
        found = f"{a.metric} and {b.metric}"
        faults.append(Fault("evaluate.metric", "the same metric in both", found, "--against"))
    return faults


def _same(a: Kept, b: Kept) -> tuple[Kept, Kept]:
    """Both; raises Refused where they are not of the same samples."""
    whole = not (a.part.diverged or b.part.diverged)
    if a.part.test != b.part.test or (whole and not np.array_equal(a.ids, b.ids)):
        raise Refused(
            f"fold {a.part.name}: expected the same samples for both recipes, found others: their "
            "data is read or cleaned in different ways"
        )
    return a, b


def _alike(first: Crossval, second: Crossval) -> bool:
    return engine_of(first.on("auto")) == engine_of(second.on("auto"))


def _seconds(parts: list[Kept]) -> float:
    return sum(kept.part.seconds for kept in parts)


def _said(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else show(value)


def _flat(value: object, path: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value
