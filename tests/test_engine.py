"""Who computes trials changes nothing in what they say."""

from __future__ import annotations

import pytest
import torch

from zafu import engine
from zafu.errors import Interrupted, Refused
from zafu.recipe import Recipe
from zafu.run import prepared
from zafu.trial import Trial

CHANGES = (
    ("seed", 1),
    ("model.width", 12),
    ("fit.average", "ema"),
    ("fit.optimizer.lr", 1e30),
    ("seed", 2),
)


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> list[Trial]:
    recipe = Recipe.parse(
        {
            "task": "classification",
            "data": {"kind": "digits", "split": {"seed": 0}},
            "model": {"kind": "mlp", "width": 24},
            "fit": {"optimizer": {"kind": "adamw", "lr": 3e-3}, "epochs": 2, "device": "cpu"},
        }
    )
    data = prepared(recipe, tmp_path_factory.mktemp("runs"))
    return [Trial(recipe.at(path, value), data) for path, value in CHANGES]


@pytest.mark.slow
def test_all_engines_agree_and_none_forgets_a_trial(trials: list[Trial]) -> None:
    said: list[str] = []
    found = {
        how: dict(engine.outcomes(trials, how=how, say=said.append))
        for how in ("sequential", "stacked", "pool", "auto")
    }

    for outcomes in found.values():
        assert sorted(outcomes) == list(range(len(trials)))
        assert outcomes[3].diverged
        for number in (0, 1, 2, 4):
            for name, weight in found["sequential"][number].weights.items():
                torch.testing.assert_close(
                    outcomes[number].weights[name], weight, rtol=0, atol=1e-3
                )
    assert len(said) == 1
    assert "foreseen" in said[0]


def test_a_signal_ends_trials_wherever_they_are_computed(trials: list[Trial]) -> None:
    for how in ("sequential", "stacked"):
        with pytest.raises(Interrupted, match="SIGINT"):
            list(engine.outcomes(trials, how=how, stopped=lambda: "SIGINT"))


def test_an_engine_that_is_not_there_is_refused(trials: list[Trial]) -> None:
    with pytest.raises(Refused, match="did you mean stacked"):
        list(engine.outcomes(trials, how="staked"))


def test_shares_of_a_pool_hold_every_trial_once(trials: list[Trial]) -> None:
    many = [trial._replace(points=n) for n, trial in enumerate(trials * 3)]

    parts = engine.shares(many, 4)

    assert sorted(number for part in parts for number in part) == list(range(len(many)))
    assert len(parts) >= 4
