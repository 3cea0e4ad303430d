from pathlib import Path

import numpy as np
import pytest

from zafu.artifact import read_json
from zafu.data import pool
from zafu.data.contract import WrongLabels
from zafu.data.wrong_labels import planted
from zafu.errors import RecipeError
from zafu.recipe import Recipe
from zafu.run import prepared

PLAIN = {"task": "classification", "data": "digits", "model": "mlp", "fit": {"epochs": 1}}


def targets(recipe: Recipe, runs: Path, split: str = "train") -> np.ndarray:
    return np.load(prepared(recipe, runs) / split / "targets.npy")


def test_about_the_share_is_wrong_in_training_and_nothing_elsewhere(tmp_path: Path) -> None:
    plain = Recipe.parse(PLAIN)
    noisy = plain.at("data.wrong_labels", {"share": 0.4})

    wrong = targets(plain, tmp_path) != targets(noisy, tmp_path)

    assert 0.35 < wrong.mean() < 0.45
    names = pool.named(prepared(plain, tmp_path), "train")
    assert (wrong == planted(names, WrongLabels(share=0.4))).all()
    assert set(targets(noisy, tmp_path)) == set(range(10))
    for split in ("validation", "test"):
        assert (targets(plain, tmp_path, split) == targets(noisy, tmp_path, split)).all()
    assert read_json(prepared(noisy, tmp_path) / "prepare.json")["wrong_labels"] == wrong.sum()


def test_which_are_wrong_follows_from_their_names_and_a_seed_of_its_own(tmp_path: Path) -> None:
    noisy = Recipe.parse(PLAIN).at("data.wrong_labels", {"share": 0.2})
    other = noisy.at("data.wrong_labels.seed", 1)

    assert (targets(noisy, tmp_path) != targets(other, tmp_path)).any()
    assert (targets(noisy, tmp_path) == targets(noisy.at("fit.batch", 8), tmp_path)).all()
    names = ["a", "b", "c"] * 5
    assert (planted(names, WrongLabels())[:3] == planted(names, WrongLabels())[3:6]).all()


def test_numbers_and_texts_have_no_labels_to_make_wrong() -> None:
    text = {"kind": "text", "files": ["stdlib:[a-c]*.py"], "wrong_labels": {"share": 0.2}}
    recipe = PLAIN | {"task": "language-modeling", "data": text, "model": "decoder"}

    with pytest.raises(RecipeError, match=r"data\.wrong_labels: expected nothing"):
        Recipe.parse(recipe)
