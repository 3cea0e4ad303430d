"""What settings were worth is read off a search: those that decide are told from the others."""

import json
from pathlib import Path

import numpy as np
import pytest

from zafu.errors import Refused
from zafu.explain.settings import importance


def study(folder: Path, count: int) -> Path:
    """A search at random in which lr decides, a kind helps, and the seed of chance does nothing."""
    random = np.random.default_rng(0)
    trials = []
    for at in range(count):
        lr, width = 10 ** random.uniform(-4, 0), int(random.integers(8, 64))
        kind = ("sgd", "adam")[at % 2]
        value = -abs(np.log10(lr) + 2) + 0.5 * (kind == "adam") + 0.2 * random.normal()
        settings = {"fit.optimizer.lr": lr, "model.width": width, "fit.optimizer.kind": kind}
        diverged = lr > 0.5
        trials.append(
            {
                "settings": settings,
                "until": 1.0,
                "state": "diverged" if diverged else "done",
                "value": None if diverged else value,
            }
        )
    facts = {"trials": trials, "metric": "accuracy", "higher_is_better": True}
    (folder / "study.json").write_text(json.dumps(facts))
    return folder


def test_what_decides_is_told_from_what_does_not(tmp_path: Path) -> None:
    rows = {row["name"]: row for row in importance(study(tmp_path, 80))["rows"]}

    assert next(iter(rows)) == "fit.optimizer.lr"
    assert rows["fit.optimizer.lr"]["share"] > 0.5
    assert rows["fit.optimizer.kind"]["share"] > rows["fit.optimizer.kind"]["chance"]
    assert rows["model.width"]["share"] < rows["model.width"]["chance"]


def test_a_search_that_says_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="--study: expected a folder of zafu tune"):
        importance(tmp_path)
    with pytest.raises(Refused, match="expected 12 trials of full length, found 5"):
        importance(study(tmp_path, 5))
