"""Where samples are held out, nothing may come from a model that has seen them."""

from __future__ import annotations

from pathlib import Path

import pytest

import zafu
from zafu.crossval import of_fold
from zafu.errors import RecipeError, Refused
from zafu.recipe import Recipe

FIT = {"epochs": 1, "trackers": [], "threads": 1}
RECIPE = {"task": "classification", "data": "digits", "model": {"kind": "mlp", "width": 8}}


@pytest.mark.parametrize("setting", ["start", "distil"])
def test_a_fold_takes_nothing_from_a_finished_model(setting: str, tmp_path: Path) -> None:
    first = zafu.train(Recipe.parse({**RECIPE, "fit": FIT}), runs=tmp_path).folder
    value = str(first) if setting == "start" else {"teacher": str(first)}
    recipe = Recipe.parse({**RECIPE, "fit": {**FIT, setting: value}})

    with pytest.raises(RecipeError, match=f"fit.{setting}: expected none"):
        of_fold(recipe, 0, 5)


def test_the_form_of_a_compressed_model_gives_no_first_weights(tmp_path: Path) -> None:
    model = {"kind": "compressed", "base": RECIPE["model"], "edits": []}
    recipe = Recipe.parse({**RECIPE, "model": model, "fit": FIT})

    with pytest.raises(Refused, match=r"fit\.start: expected a finished run to begin with"):
        zafu.train(recipe, runs=tmp_path)
