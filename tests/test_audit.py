"""Audits find wrong labels that were planted, say so on a page, and change nothing."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from zafu.audit import How, audit, doubts
from zafu.cli.entry import main
from zafu.data import pool
from zafu.errors import DataError, Interrupted, Refused
from zafu.recipe import Recipe
from zafu.run import prepared


def planted(folder: Path, *, samples: int, share: float = 0.25) -> tuple[Recipe, set[int]]:
    """A recipe for a table of digits of which some have a wrong class, and which rows these are."""
    data = load_digits()
    chance = np.random.default_rng(0)
    labels = data.target[:samples].copy()
    wrong = chance.random(samples) < share
    labels[wrong] = (labels[wrong] + chance.integers(1, 10, wrong.sum())) % 10
    names = [f"p{i}" for i in range(64)]
    with (folder / "digits.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*names, "digit"])
        for pixels, label in zip(data.data[:samples].astype(int), labels, strict=True):
            writer.writerow([*pixels, f"d{label}"])
    recipe = {
        "task": "classification",
        "data": {
            "kind": "table",
            "files": [str(folder / "digits.csv")],
            "target": "digit",
            "split": {"validation": 0.1, "test": 0.1},
        },
        "model": {"kind": "mlp", "width": 32, "layers": 1},
        "fit": {"epochs": 8, "optimizer": {"kind": "adamw", "lr": 3e-3}, "trackers": []},
    }
    (folder / "digits.yaml").write_text(json.dumps(recipe))
    return Recipe.parse(recipe), set(np.flatnonzero(wrong).tolist())


def rows_of(data: Path) -> np.ndarray:
    """The rows of the file, from 0, that the training split is made of."""
    return np.array([int(name.rsplit(":", 1)[-1]) - 1 for name in pool.named(data, "train")])


@pytest.mark.parametrize("how", ["confidence", "weights"])
def test_planted_wrong_labels_are_told_from_right_ones(tmp_path: Path, how: How) -> None:
    recipe, wrong = planted(tmp_path, samples=900)
    data = prepared(recipe, tmp_path)

    found = doubts(recipe, data, how=how)

    truth = np.isin(rows_of(data), sorted(wrong))
    assert roc_auc_score(truth, found.scores) >= 0.9
    assert truth[found.suspected].mean() > 0.6


def test_an_audit_is_kept_and_its_line_leaves_the_suspects_out(tmp_path: Path) -> None:
    recipe, _ = planted(tmp_path, samples=300)
    before = (tmp_path / "digits.csv").read_bytes()

    found = audit(recipe, "digits", runs=tmp_path / "runs", how="confidence")
    again = audit(recipe, "digits", runs=tmp_path / "runs", how="confidence")

    assert again == found
    assert found.suspects
    assert (tmp_path / "digits.csv").read_bytes() == before
    page = (found.folder / "report.html").read_text()
    assert found.suspects[0].id in page
    assert "<script" not in page
    gone = [suspect.id for suspect in found.suspects]
    assert all(repr(name) in found.line for name in gone)
    cleaned = recipe.at("data.without", gone)
    ids = [pool.named(prepared(r, tmp_path), "train") for r in (recipe, cleaned)]
    assert set(ids[0]) - set(ids[1]) == set(gone)
    with pytest.raises(DataError, match=r"data\.without: expected ids of samples, found 'x:1'"):
        prepared(recipe.at("data.without", ["x:1"]), tmp_path)


def test_pictures_are_shown_as_pictures(tmp_path: Path) -> None:
    fit = {"epochs": 1, "trackers": []}
    plain = {"task": "classification", "data": "digits", "model": {"kind": "mlp"}, "fit": fit}

    found = audit(Recipe.parse(plain), "digits", runs=tmp_path, how="confidence")

    page = (found.folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= min(len(found.suspects), 200) > 0
    assert found.line == ""  # digits cannot leave any out


def test_a_signal_ends_it_with_nothing_left_behind(tmp_path: Path) -> None:
    recipe, _ = planted(tmp_path, samples=200)
    data = prepared(recipe, tmp_path)

    for how in ("confidence", "weights"):
        with pytest.raises(Interrupted, match="SIGINT"):
            doubts(recipe, data, how=how, stopped=lambda: "SIGINT")


def test_labels_that_are_no_classes_are_refused(tmp_path: Path) -> None:
    recipe = Recipe.parse(
        {
            "task": "regression",
            "data": {"kind": "table", "files": ["sklearn:diabetes"], "target": "target"},
            "model": "mlp",
            "fit": {"epochs": 1},
        }
    )

    with pytest.raises(Refused, match="expected classification, found regression"):
        audit(recipe, "diabetes", runs=tmp_path, how="confidence")


def test_the_verb_says_where_to_look(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planted(tmp_path, samples=300)

    code = main(["audit", str(tmp_path / "digits.yaml"), "--runs", str(tmp_path / "runs")])
    said = capsys.readouterr().out
    main(["audit", str(tmp_path / "digits.yaml"), "--runs", str(tmp_path / "runs"), "--json"])
    told = json.loads(capsys.readouterr().out)

    assert code == 0
    assert "training labels are suspected" in said
    assert Path(told["folder"], "report.html").is_file()
    assert told["suspects"][0]["score"] >= told["suspects"][-1]["score"]
