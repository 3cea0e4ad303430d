"""Tuning: real studies of a small network on the digits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from zafu import pipeline
from zafu.errors import RecipeError, Refused
from zafu.recipe import Recipe
from zafu.search.contract import Search
from zafu.searching.confirm import Confirm
from zafu.searching.tuning import Budget, Tuning
from zafu.space import Space
from zafu.spec import Spec
from zafu.study import Study
from zafu.tune import Finished, Tried, events

OVER = ("fit.optimizer.lr=log:1e-4:0.3", "task.label_smoothing=0:0.5")


class Held(Spec):
    """As a study holds it."""

    search: Search


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def digits(**changes: Any) -> Recipe:
    recipe = Recipe.parse(
        {
            "task": "classification",
            "data": {"kind": "digits", "split": {"validation": 0.2, "test": 0.2}},
            "model": {"kind": "mlp", "width": 16},
            "fit": {"optimizer": "adamw", "batch": 64, "epochs": 2, "loader": "inline"},
        }
    )
    for path, value in changes.items():
        recipe = recipe.at(path.replace("__", "."), value)
    return recipe


def tuning(folder: Path, runs: Path, over: tuple[str, ...] = OVER, **search: Any) -> Tuning:
    recipe = digits()
    found = Held.parse({"search": search}).search
    space = Space.parse(over, recipe)
    return Tuning(recipe, space, found, folder, runs, confirm=Confirm(2, 2), engine="sequential")


def finished(of: Tuning) -> Finished:
    *_, last = events(of)
    assert isinstance(last, Finished)
    return last


def plain(folder: Path) -> Any:
    """What was found, without what a clock decides and the folder's name."""

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            gone = ("seconds", "wall", "name")
            return {key: without(inner) for key, inner in value.items() if key not in gone}
        return [without(inner) for inner in value] if isinstance(value, list) else value

    return without(json.loads((folder / "study.json").read_text()))


@pytest.mark.parametrize(
    "search",
    [
        {"kind": "random", "trials": 4},
        {"kind": "halving", "trials": 6, "eta": 2},
        {"kind": "population", "trials": 3, "generations": 2},
    ],
    ids=lambda search: search["kind"],
)
def test_a_study_that_is_cut_off_after_every_trial_finds_the_same(
    search: dict[str, Any], tmp_path: Path, runs: Path
) -> None:
    whole = tuning(tmp_path / "whole", runs, **search)
    cut = replace(whole, folder=tmp_path / "cut")
    finished(whole)

    for _ in range(40):  # each time one trial more
        with closing(events(cut)) as happening:
            if any(isinstance(event, Tried) for event in happening):
                continue
        break

    assert plain(cut.folder) == plain(whole.folder)


def test_the_winner_is_a_recipe_that_trains_to_what_the_study_said(
    tmp_path: Path, runs: Path
) -> None:
    found = finished(tuning(tmp_path / "study", runs, kind="random", trials=4))

    best = Recipe.load(tmp_path / "study" / "best.yaml")
    run = pipeline.train(best, runs=runs)

    searched = found.result.winner.searched
    assert pipeline.evaluate(run.folder, "validation")["accuracy"].value == searched


def test_weights_go_on_under_halving_as_if_they_had_never_stopped(
    tmp_path: Path, runs: Path
) -> None:
    """A constant schedule does not know where a rung ends, so the last value is a whole run's."""
    found = finished(tuning(tmp_path / "study", runs, kind="halving", trials=9, eta=3))

    run = pipeline.train(Recipe.load(tmp_path / "study" / "best.yaml"), runs=runs)

    searched = found.result.winner.searched
    assert pipeline.evaluate(run.folder, "validation")["accuracy"].value == searched
    assert not (tmp_path / "study" / "states").exists()


def test_confirming_uses_fresh_seeds_on_the_same_split(tmp_path: Path, runs: Path) -> None:
    of = tuning(tmp_path / "study", runs, kind="random", trials=8)
    finished(of)

    study = Study.open(f"sqlite:///{of.folder}/study.db", of.digest[:32], {})
    rows = study.rows("confirm")

    assert sorted({row.wanted.seed for row in rows}) == [1, 2]
    assert len(rows) == 4
    assert of.held.data.split.seed == 0
    study.engine.dispose()


def test_a_population_gives_a_schedule_and_a_model_and_no_best_recipe(
    tmp_path: Path, runs: Path
) -> None:
    of = tuning(tmp_path / "study", runs, kind="population", trials=4, generations=3)
    found = finished(of)

    plan = json.loads((of.folder / "schedule.json").read_text())
    judged = pipeline.evaluate(of.folder / "winner", "validation")

    assert plan[-1]["until"] == 1.0
    assert not (of.folder / "best.yaml").exists()
    assert judged["accuracy"].value == found.result.winner.searched


def test_a_trial_that_diverges_counts_as_the_worst_and_is_listed(
    tmp_path: Path, runs: Path
) -> None:
    over = ("fit.optimizer.kind=sgd,adamw", "fit.optimizer.lr=1e-3,1e30")
    found = finished(tuning(tmp_path / "study", runs, over, kind="grid")).result

    states = {t["settings"]["fit.optimizer.lr"]: t["state"] for t in found.trials}

    assert states == {1e-3: "done", 1e30: "diverged"}
    assert found.ledger["search"]["diverged"] == 2
    assert found.winner.schedule[0][1]["fit.optimizer.lr"] == 1e-3


def test_settings_that_do_not_go_together_are_a_failed_trial_with_its_reason(
    tmp_path: Path, runs: Path
) -> None:
    recipe = digits(fit__optimizer={"kind": "sgd", "lr": 0.1, "momentum": 0.5})
    over = ("fit.optimizer.momentum=0,0.9", "fit.optimizer.nesterov=true,false")
    search = Held.parse({"search": "grid"}).search
    space = Space.parse(over, recipe)
    of = Tuning(recipe, space, search, tmp_path / "s", runs, confirm=None, engine="sequential")

    trials = finished(of).result.trials

    failed = [trial for trial in trials if trial["state"] == "failed"]
    assert len(failed) == 1
    assert "nesterov" in failed[0]["reason"]


def test_a_budget_of_epochs_ends_the_search(tmp_path: Path, runs: Path) -> None:
    of = tuning(tmp_path / "study", runs, kind="random")
    of = replace(of, budget=Budget(epochs=5), confirm=None)

    ledger = finished(of).result.ledger["search"]

    assert 5 <= ledger["epochs"] <= 16  # eight at first, as none was measured


def test_an_optimum_at_the_edge_of_the_space_is_said_to_be(tmp_path: Path, runs: Path) -> None:
    over = ("fit.optimizer.lr=log:1e-6:1e-4",)

    found = finished(tuning(tmp_path / "study", runs, over, kind="grid", points=3)).result

    assert "is at the upper end of 1e-06 to 0.0001" in found.edges[0]


def test_what_cannot_come_to_anything_is_refused_before_it_begins(
    tmp_path: Path, runs: Path
) -> None:
    of = tuning(tmp_path / "study", runs, kind="random", trials=2)
    recipe = of.recipe.at("data.split.validation", 0)

    with pytest.raises(RecipeError, match="samples to choose by"):
        finished(replace(of, recipe=recipe))
    with pytest.raises(Refused, match="storage"):
        finished(replace(of, storage="postgrsql://host/db"))


def test_folds_judge_a_setting_by_the_mean_over_them(tmp_path: Path, runs: Path) -> None:
    over = ("fit.optimizer.lr=1e-3,1e-2",)
    of = tuning(tmp_path / "study", runs, over, kind="grid")
    of = replace(of, folds=2, confirm=None)

    found = finished(of).result

    values = []
    for fold in range(2):
        recipe = of.held.at("data.split.validation", {"fold": fold, "of": 2})
        recipe = recipe.at("fit.optimizer.lr", found.winner.schedule[0][1]["fit.optimizer.lr"])
        run = pipeline.train(recipe, runs=runs)
        values.append(pipeline.evaluate(run.folder, "validation")["accuracy"].value)
    assert found.winner.searched == pytest.approx(sum(values) / 2, abs=1e-12)


@pytest.mark.slow
def test_trials_on_ray_come_to_the_same(tmp_path: Path, runs: Path) -> None:
    here = tuning(tmp_path / "here", runs, kind="halving", trials=4, eta=2, rungs=2)
    there = replace(here, folder=tmp_path / "there", engine="ray")
    finished(here)

    finished(there)

    assert plain(there.folder) == plain(here.folder)


@pytest.mark.slow
def test_a_trial_on_two_processes_is_a_run_of_its_own(tmp_path: Path, runs: Path) -> None:
    alone = tuning(tmp_path / "alone", runs, kind="random", trials=2)
    alone = replace(alone, confirm=None)
    two = alone.recipe.at("layout.data", 2)
    sharded = replace(alone, folder=tmp_path / "two", recipe=two)
    one = finished(alone).result

    found = finished(sharded).result

    assert found.winner.searched == pytest.approx(one.winner.searched, abs=0.01)
    assert found.ledger["search"]["samples"] == one.ledger["search"]["samples"]
    assert (tmp_path / "two" / "trials" / "search-0-0" / "run" / "model").is_dir()
    with pytest.raises(RecipeError, match="several processes"):
        finished(replace(sharded, search=Held.parse({"search": "halving"}).search))
