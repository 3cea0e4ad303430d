"""A trial takes the steps of a run, to the bit, without its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import zafu
from zafu import tensors
from zafu.recipe import Recipe
from zafu.run import prepared
from zafu.trial import Trial, last_sample, length, outcome, wanted

RECIPE: dict[str, Any] = {
    "task": {"kind": "classification", "label_smoothing": 0.05},
    "data": "digits",
    "model": {"kind": "mlp", "width": 24, "dropout": 0.1},
    "fit": {"optimizer": "adamw", "epochs": 3, "device": "cpu", "trackers": []},
    "evaluate": {"baselines": []},
}


@pytest.mark.parametrize("more", [{}, {"early_stopping": {"patience": 1}}, {"average": "ema"}])
def test_its_weights_are_those_of_the_run(tmp_path: Path, more: dict[str, Any]) -> None:
    recipe = Recipe.parse(RECIPE | {"fit": RECIPE["fit"] | more})
    run = zafu.train(recipe, runs=tmp_path)
    shipped = tensors.read(run.model / "model.safetensors")

    found = outcome(Trial(recipe, prepared(recipe, tmp_path), ("validation", "test")))

    assert shipped.keys() == found.weights.keys()
    assert all(torch.equal(weight, found.weights[name]) for name, weight in shipped.items())
    trial = Trial(recipe, prepared(recipe, tmp_path))
    assert found.score(trial, "test") == zafu.evaluate(run.folder)["accuracy"].value


def test_one_that_stopped_goes_on_as_if_it_had_not(tmp_path: Path) -> None:
    recipe = Recipe.parse(RECIPE)
    whole = Trial(recipe, prepared(recipe, tmp_path), points=4)
    half = outcome(whole._replace(until=0.4))

    rest, undisturbed = outcome(whole._replace(begin=half.state)), outcome(whole)

    for name, weight in undisturbed.weights.items():
        assert torch.equal(weight, rest.weights[name])
    assert half.cost.updates + rest.cost.updates == undisturbed.cost.updates == length(whole)
    assert [p.value for p in (*half.curve, *rest.curve)] == [p.value for p in undisturbed.curve]


def test_a_diverging_one_says_why_and_what_it_took(tmp_path: Path) -> None:
    recipe = Recipe.parse(RECIPE).at("fit.optimizer.lr", 1e30)

    found = outcome(Trial(recipe, prepared(recipe, tmp_path)))

    assert "not finite" in found.diverged
    assert found.answers == {}
    assert found.cost.updates < 10


def test_shares_of_a_budget_end_with_a_step() -> None:
    assert last_sample(0.5, size=32, total=100) == 64
    assert last_sample(0.32, size=32, total=100) == 32
    assert last_sample(1.0, size=32, total=100) == 100


def test_the_points_of_a_curve_are_evenly_spread(tmp_path: Path) -> None:
    recipe = Recipe.parse(RECIPE)
    trial = Trial(recipe, prepared(recipe, tmp_path), points=4)

    assert sorted(wanted(trial, size=10, total=100)) == [30, 50, 80, 100]
