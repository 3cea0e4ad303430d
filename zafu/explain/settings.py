"""What settings were worth in a search: how much of the metric each of them tells alone.

Main effects, as functional analysis of variance has them (Hutter et al., 2014), on ranks of the
metric, so that a trial that went wrong counts as the worst and no more: the share of their variance
between four groups of equal size along a setting (or its values), less what chance would give
(epsilon squared: Kelley, 1935). Beside it stands what the same setting tells of shuffled values in
19 of 20 cases: a share below that is no more than chance. What two settings do together is not in
it, and a search that looks where values are good tells less than one at random.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zafu.artifact import read_json
from zafu.errors import Refused

GROUPS, FEWEST = 4, 12  # along a setting; trials of a search of which something can be said
SHUFFLES = 400  # by which chance is known


def importance(study: Path) -> dict[str, Any]:
    """Each setting's share, and what chance reaches, as plain data.

    Of a folder that `zafu tune` wrote. Raises Refused where that holds no finished search, or
    too few trials of full length.
    """
    if not (study / "study.json").is_file():
        raise Refused(f"--study: expected a folder of zafu tune with study.json, found {study}")
    facts = read_json(study / "study.json")
    trials = [t for t in facts["trials"] if t["until"] == 1 and t["state"] in ("done", "diverged")]
    if len(trials) < FEWEST:
        raise Refused(f"--study: expected {FEWEST} trials of full length, found {len(trials)}")
    worst = -np.inf if facts["higher_is_better"] else np.inf
    values = np.array([worst if t["value"] is None else t["value"] for t in trials], np.float64)
    paths = sorted({path for trial in trials for path in trial["settings"]})
    rows = [_row(path, [t["settings"].get(path) for t in trials], values) for path in paths]
    rows.sort(key=lambda row: -row["share"])
    return {"study": study.name, "metric": facts["metric"], "trials": len(trials), "rows": rows}


def _row(path: str, settings: list[Any], values: np.ndarray) -> dict[str, Any]:
    groups, random = _groups(settings), np.random.default_rng(0)
    shuffled = [_effect(groups, random.permutation(values)) for _ in range(SHUFFLES)]
    chance = float(np.quantile(shuffled, 0.95))
    return {"name": path, "share": _effect(groups, values), "chance": chance}


def _groups(settings: list[Any]) -> np.ndarray:
    """Which group each trial is in: of numbers four of equal size, else one for each value."""
    if all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in settings):
        numbers = np.array(settings, np.float64)
        if len(np.unique(numbers)) > GROUPS:
            order = numbers.argsort(kind="stable").argsort(kind="stable")
            return order * GROUPS // len(numbers)
    return np.unique([str(x) for x in settings], return_inverse=True)[1]


def _effect(groups: np.ndarray, values: np.ndarray) -> float:
    """Epsilon squared of ranks, 0 to 1."""
    ranks = np.unique(values, return_inverse=True)[1].astype(np.float64)
    total = float(((ranks - ranks.mean()) ** 2).sum())
    inside = [ranks[groups == group] for group in np.unique(groups)]
    within = sum(float(((some - some.mean()) ** 2).sum()) for some in inside)
    free = len(ranks) - len(inside)
    if not total or free <= 0:
        return 0.0
    return max(0.0, 1 - within / free * (len(ranks) - 1) / total)
