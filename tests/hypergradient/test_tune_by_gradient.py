"""A study that follows gradients: the ledger has them, and what they cost."""

from pathlib import Path
from typing import Any

import pytest

from zafu.errors import RecipeError
from zafu.recipe import Recipe
from zafu.search.gradient import Gradient
from zafu.space import Space
from zafu.tune import Finished, Tried, Tuning, events

RECIPE: dict[str, Any] = {
    "task": "classification",
    "data": {"kind": "digits", "split": {"validation": 0.2, "test": 0.6}},
    "model": {"kind": "mlp", "width": 16, "activation": "gelu"},
    "fit": {"optimizer": "adamw", "batch": 64, "epochs": 2, "loader": "inline", "trackers": []},
}
OVER = ("fit.optimizer.lr=log:1e-4:0.3", "task.label_smoothing=0:0.5")


def tuning(folder: Path, *over: str) -> Tuning:
    recipe = Recipe.parse(RECIPE)
    space, search = Space.parse(over, recipe), Gradient(trials=4)
    return Tuning(recipe, space, search, folder / "study", folder / "runs", confirm=None)


def test_every_trial_has_the_slopes_of_its_settings_and_pays_for_them(tmp_path: Path) -> None:
    found = list(events(tuning(tmp_path, *OVER)))

    rows = [event.row for event in found if isinstance(event, Tried)]
    assert isinstance(found[-1], Finished)
    assert len(rows) == 4
    for row in rows:
        assert row.done.gradient is not None
        assert row.done.gradient.keys() == {"fit.optimizer.lr", "task.label_smoothing"}
        # 344 samples are 11 steps; trained, and trained once more with a way back
        assert row.done.updates == 11 + 3 * 11
    rates = [row.wanted.settings["fit.optimizer.lr"] for row in rows]
    assert len(set(rates)) == 4


def test_what_has_no_slope_is_refused_before_any_work(tmp_path: Path) -> None:
    wanted = tuning(tmp_path, *OVER, "model.dropout=0:0.5", "fit.batch=8:64")

    with pytest.raises(RecipeError) as caught:
        list(events(wanted))

    assert {fault.path for fault in caught.value.faults} == {"model.dropout", "fit.batch"}
