"""Kept: what is known of each training, in a file of its own, so that no training is done twice.

A comparison that was stopped or killed finds its trials again by what decides them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from zafu import engine
from zafu.artifact import read_json, write_json
from zafu.errors import Damaged, RecipeError
from zafu.spec import Spec, digest_of
from zafu.trial import Cost, Outcome, Point, Trial

Values = dict[str, float | None]


class Record(Spec):
    """What is kept of a trial; None where a value is no number, as of one that diverged."""

    values: Values = Field(default_factory=dict[str, float | None])
    """The recipe's metric by judged split."""
    curve: tuple[tuple[int, int, float | None], ...] = ()
    """Samples, updates and the metric on the validation split, while training."""
    samples: int = Field(ge=0)
    updates: int = Field(ge=0)
    seconds: float = Field(ge=0)
    """Of training, as the engine that did it counts them."""
    zeros: float = Field(default=0.0, ge=0, le=1)
    """Share of the weights of two or more dims that are exactly 0."""
    diverged: str = ""

    @property
    def cost(self) -> Cost:
        """What it took."""
        return Cost(self.samples, self.updates, self.seconds)


def done(
    folder: Path,
    trials: Mapping[str, Trial],
    *,
    say: Callable[[int, int], None] = lambda *_: None,
    log: Callable[[str], None] = lambda _: None,
    stopped: Callable[[], str] = lambda: "",
) -> dict[str, Record]:
    """The record of every trial by its name: found in the folder, or done now and put there.

    `say` hears how many there are of how many. Raises Interrupted after a signal: what is done
    is kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / f"{identity(trial)[:24]}.json" for name, trial in trials.items()}
    found = {name: there for name, file in files.items() if (there := _there(file)) is not None}
    wanted: dict[str, Trial] = {}  # the first name of each file: arms may agree
    for name, trial in trials.items():
        if name not in found and files[name].name not in {files[n].name for n in wanted}:
            wanted[name] = trial
    names = list(wanted)
    say(len(found), len(trials))
    for number, outcome in _outcomes(list(wanted.values()), log, stopped):
        record = of(wanted[names[number]], outcome)
        write_json(files[names[number]], record.dump())
        for name, file in files.items():
            if file == files[names[number]]:
                found[name] = record
        say(len(found), len(trials))
    return {name: found[name] for name in trials}


def identity(trial: Trial) -> str:
    """Digest of all that decides what a trial says."""
    said = [trial.recipe.identity(), trial.data.name, list(trial.judged)]
    return digest_of([*said, trial.until, trial.points])


def of(trial: Trial, outcome: Outcome) -> Record:
    """What is kept of an outcome."""
    return Record(
        values={split: number(outcome.score(trial, split)) for split in trial.judged},
        curve=tuple(_point(point) for point in outcome.curve),
        samples=outcome.cost.samples,
        updates=outcome.cost.updates,
        seconds=outcome.cost.seconds,
        zeros=_zeros(outcome),
        diverged=outcome.diverged,
    )


def number(value: float) -> float | None:
    """The value, if it is a number."""
    return float(value) if math.isfinite(value) else None


def _outcomes(
    trials: Sequence[Trial], log: Callable[[str], None], stopped: Callable[[], str]
) -> Iterator[tuple[int, Outcome]]:
    return engine.outcomes(trials, say=log, stopped=stopped) if trials else iter(())


def _there(file: Path) -> Record | None:
    try:
        return Record.parse(read_json(file))
    except (Damaged, RecipeError):
        return None  # absent, or not whole: it is done again


def _point(point: Point) -> tuple[int, int, float | None]:
    return point.samples, point.updates, number(point.value)


def _zeros(outcome: Outcome) -> float:
    found = [tensor for tensor in outcome.weights.values() if tensor.ndim >= 2]
    many = sum(tensor.numel() for tensor in found)
    return sum(int((tensor == 0).sum()) for tensor in found) / many if many else 0.0


def column(records: Sequence[Record], split: str) -> np.ndarray:
    """The metric of each record on a split, nan where it is none."""
    return np.array([_nan(record.values.get(split)) for record in records])


def _nan(value: float | None) -> float:
    return math.nan if value is None else value
