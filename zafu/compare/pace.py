"""Pace: what an update of each arm costs, alone on this machine.

Whatever engine trains the arms, their updates are timed one arm after the other in this process,
in rounds, so that a busy moment falls on all of them alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zafu import engine
from zafu.artifact import read_json, write_json
from zafu.compare.kept import identity
from zafu.errors import Damaged
from zafu.loop import budget
from zafu.measure import Measurement
from zafu.trial import Trial

ROUNDS = 4  # the first of which is not counted
UPDATES = 60  # that are timed in a round, about


def paces(
    file: Path, trials: Mapping[str, Trial], *, stopped: Callable[[], str] = lambda: ""
) -> dict[str, list[float]]:
    """Seconds of an update of each arm, in each round; kept in a file, and taken from there."""
    key = {name: identity(trial) for name, trial in trials.items()}
    known = _known(file)
    if known.get("of") == key:
        return known["seconds"]
    short = {name: _short(trial) for name, trial in trials.items()}
    found: dict[str, list[float]] = {name: [] for name in trials}
    for turn in range(ROUNDS):
        for name, trial in short.items():
            for _, outcome in engine.outcomes([trial], how="sequential", stopped=stopped):
                if turn and outcome.cost.updates:
                    found[name].append(outcome.cost.seconds / outcome.cost.updates)
    write_json(file, {"of": key, "seconds": found})
    return found


def pace(seconds: list[float]) -> Measurement:
    """Milliseconds of an update: the median of the rounds."""
    rounds = np.array(seconds) * 1e3
    how = f"median of {len(rounds)} rounds alone in one process; ends are the extremes"
    low, high = float(rounds.min()), float(rounds.max())
    return Measurement(
        value=float(np.median(rounds)), unit="ms", n=len(rounds), low=low, high=high, how=how
    )


def ratio(seconds: list[float], base: list[float]) -> Measurement:
    """How many times the baseline's an update takes: the median of the rounds."""
    rounds = np.array(seconds) / np.array(base)
    how = f"median of {len(rounds)} rounds; ends are the extremes"
    low, high = float(rounds.min()), float(rounds.max())
    return Measurement(value=float(np.median(rounds)), n=len(rounds), low=low, high=high, how=how)


def _short(trial: Trial) -> Trial:
    """The same for some updates only, judged on nothing."""
    split = trial.recipe.data.open(trial.data, "train")
    batch, total = budget(split, trial.recipe.fit)
    share = UPDATES * batch / (total or batch)
    return trial._replace(judged=(), until=min(1.0, share), points=0)


def _known(file: Path) -> dict[str, Any]:
    try:
        found = read_json(file)
    except Damaged:
        return {}
    return found if isinstance(found, dict) else {}
