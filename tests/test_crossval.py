"""Cross-validation: ordinary recipes, judged on what they did not see, and said with care."""

import json
import math
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats
from sklearn import model_selection
from sklearn.datasets import load_diabetes, load_digits

from zafu.artifact import read_json
from zafu.cli.entry import main
from zafu.crossval import (
    Crossval,
    Finished,
    Folded,
    all_parts,
    carried,
    cross_validate,
    events,
    of_fold,
    out_of_fold,
)
from zafu.data import pool
from zafu.errors import DataError, RecipeError
from zafu.nested import Inner, nested, of
from zafu.paired import Compared, paired
from zafu.parts import Result
from zafu.pipeline import train
from zafu.recipe import Recipe
from zafu.run import prepared
from zafu.search.random import Random
from zafu.space import Space

CLASSES = load_digits().target
PLAIN: dict[str, Any] = {
    "task": "classification",
    "data": {"kind": "digits", "split": {"validation": 0.0, "stratify": True}},
    "model": {"kind": "mlp", "width": 16, "layers": 1},
    "fit": {"optimizer": {"kind": "adamw", "lr": 0.01}, "batch": 128, "epochs": 1},
}


def digits(**settings: object) -> Recipe:
    """A recipe for digits; `settings` by their paths, with __ for dots."""
    recipe = Recipe.parse(PLAIN)
    for path, value in settings.items():
        recipe = recipe.at(path.replace("__", "."), value)
    return recipe


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where prepared data is shared."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def done(runs: Path) -> Crossval:
    """Three folds, twice, to their end."""
    named = Crossval.named(digits(), "digits", runs, folds=3, repeats=2)
    crossval = named.on("sequential")
    carried(crossval)
    return crossval


def said(crossval: Crossval) -> Result:
    """What a finished cross-validation says."""
    return Result.parse(read_json(crossval.folder / "folds.json"))


def test_a_fold_is_the_ordinary_run_of_its_recipe(done: Crossval, runs: Path) -> None:
    recipe = of_fold(digits(), 1, 3, repeat=1)

    run = train(recipe, runs=runs)

    scores = read_json(run.folder / "evaluation.json")["scores"]
    part = next(p for p in said(done).parts if (p.repeat, p.fold) == (1, 1))
    assert {name: score["value"] for name, score in scores.items()} == pytest.approx(part.scores)
    assert (recipe.seed, recipe.split_seed) == (1, 0)


def test_every_sample_is_answered_by_a_model_that_was_trained_without_it(
    done: Crossval, runs: Path
) -> None:
    found = np.load(done.folder / "oof.npy")

    for repeat in (0, 1):
        own = found[found["repeat"] == repeat]
        assert np.array_equal(np.sort(own["id"]), np.arange(1797))
        assert np.array_equal(own["answers"][:, 2], CLASSES[own["id"]])
    for place, recipe in done.recipes.items():
        trained_on = pool.ids(prepared(recipe, runs), "train")
        own = found[(found["repeat"] == place[0]) & (found["fold"] == place[1])]
        assert not set(trained_on.tolist()) & set(own["id"].tolist())


def test_the_interval_is_that_of_nadeau_and_bengio(done: Crossval) -> None:
    """Parity with the formula: t with J - 1 degrees, variance times 1/J + n_test/n_train."""
    found = said(done)
    values = np.array([part.scores["accuracy"] for part in found.parts])
    test = round(np.mean([p.test for p in found.parts]))
    train_ = round(np.mean([p.train for p in found.parts]))
    half = stats.t.ppf(0.975, 5) * math.sqrt(values.var(ddof=1) * (1 / 6 + test / train_))

    assert found.score is not None
    assert found.score.value == pytest.approx(values.mean())
    assert found.score.high == pytest.approx(values.mean() + half)
    assert "corrected" in found.score.how


def test_pooled_metrics_and_confusion_count_each_sample_once(done: Crossval) -> None:
    found = said(done)
    confusion = np.array(found.confusion)

    assert confusion.sum(1).tolist() == np.bincount(CLASSES).tolist()
    assert found.pooled["accuracy"].n == 1797
    assert found.pooled["accuracy"].value == pytest.approx(np.trace(confusion) / 1797)


def test_one_that_is_left_goes_on_and_ends_the_same(done: Crossval, runs: Path) -> None:
    named = Crossval.named(digits(), "left", runs, folds=3, repeats=2)
    again = named.on("sequential")
    steps = events(again)
    while not isinstance(next(steps), Folded):
        pass
    steps.close()
    state = read_json(again.folder / "status.json")["state"]
    first = (again.folder / "parts" / "0-0" / "card.json").stat().st_mtime_ns
    second = next(p for p in (again.folder / "parts").iterdir())
    shutil.rmtree(again.folder / "parts" / "1-0", ignore_errors=True)

    carried(again)

    assert state == "interrupted"
    assert second.name == "0-0"
    assert (again.folder / "parts" / "0-0" / "card.json").stat().st_mtime_ns == first
    assert np.array_equal(np.load(again.folder / "oof.npy"), np.load(done.folder / "oof.npy"))
    values = [[part.scores for part in said(c).parts] for c in (again, done)]
    assert values[0] == values[1]


def test_a_damaged_part_is_judged_again(runs: Path) -> None:
    named = Crossval.named(digits(seed=5), "damaged", runs, folds=2, repeats=1)
    crossval = named.on("sequential")
    carried(crossval)
    before = np.load(crossval.folder / "oof.npy")
    file = crossval.folder / "parts" / "0-1" / "answers.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"\x00")

    judged = [e.part.name for e in events(crossval) if isinstance(e, Folded)]

    assert judged == ["0-1"]
    assert np.array_equal(np.load(crossval.folder / "oof.npy"), before)


def test_what_was_trained_together_is_trained_together_again(runs: Path) -> None:
    """So that a killed cross-validation ends with the same bits, whoever computes."""
    crossval = Crossval.named(digits(seed=6), "stack", runs, folds=3, repeats=1).on("stacked")
    carried(crossval)
    before = np.load(crossval.folder / "oof.npy")
    shutil.rmtree(crossval.folder / "parts" / "0-1")

    judged = [e.part.name for e in events(crossval.on("auto")) if isinstance(e, Folded)]

    assert sorted(judged) == ["0-0", "0-1", "0-2"]
    assert np.array_equal(np.load(crossval.folder / "oof.npy"), before)


def test_answers_out_of_fold_are_in_the_order_of_the_source(runs: Path) -> None:
    found = out_of_fold(digits(), folds=3, runs=runs)
    card = next(runs.glob("run-crossval-*/parts/0-0/card.json"))
    before = card.stat().st_mtime_ns

    again = out_of_fold(digits(), folds=3, runs=runs)

    assert np.array_equal(found.ids, np.arange(1797))
    assert np.array_equal(found.targets, CLASSES)
    assert found.answers.shape == (1797, 13)
    assert np.array_equal(found.answers, again.answers)
    assert card.stat().st_mtime_ns == before


def test_numbers_out_of_fold_are_in_the_units_of_the_data(tmp_path: Path) -> None:
    """And what is fitted is fitted inside the fold: the scale is that of its training rows."""
    data = load_diabetes(as_frame=True, scaled=False).frame
    pl.from_pandas(data).write_csv(tmp_path / "rows.csv")
    recipe = Recipe.parse(
        {
            **PLAIN,
            "task": "regression",
            "data": {
                "kind": "table",
                "files": [f"{tmp_path}/rows.csv"],
                "target": "target",
                "split": {"validation": 0.0},
            },
        }
    )

    found = out_of_fold(recipe, folds=3, runs=tmp_path)

    assert np.allclose(found.targets[:, 0], data["target"], atol=1e-3)
    assert 50 < found.answers[:, 0].mean() < 250
    for fold in range(3):
        folder = prepared(of_fold(recipe, fold, 3), tmp_path)
        rows = data.iloc[pool.ids(folder, "train")]
        fitted = read_json(folder / "transform" / "columns.json")
        assert fitted["target"]["mean"] == pytest.approx(rows["target"].mean())
        bmi = next(c for c in fitted["numbers"] if c["name"] == "bmi")
        assert bmi["fill"] == pytest.approx(rows["bmi"].mean())


def test_any_splitter_deals_from_python(runs: Path) -> None:
    class Halves:
        """The first half of the samples, then the second."""

        def split(self, X: Any, y: Any = None, groups: Any = None):
            """Positions to train on and to test on."""
            rows, half = np.arange(len(X)), len(X) // 2
            yield rows[half:], rows[:half]
            yield rows[:half], rows[half:]

    found = cross_validate(digits(), splitter=Halves(), runs=runs)

    assert [(part.train, part.test) for part in found.parts] == [(899, 898), (898, 899)]
    shuffle = model_selection.ShuffleSplit(3, test_size=0.1, random_state=0)
    mixed = cross_validate(digits(), splitter=shuffle, runs=runs)
    assert [part.test for part in mixed.parts] == [180] * 3
    with pytest.raises(DataError, match="fold 0: expected parts that share nothing"):
        cross_validate(digits(), splitter=Twice(), runs=runs)


class Twice:
    """A sample in both parts."""

    def split(self, X: Any, y: Any = None, groups: Any = None):
        """Positions to train on and to test on."""
        yield np.arange(len(X)), np.arange(5)


def test_folds_by_time_say_that_their_interval_is_an_approximation(tmp_path: Path) -> None:
    rows = pl.DataFrame({"t": range(120), "x": np.sin(np.arange(120)), "y": np.arange(120) % 2})
    rows.write_csv(tmp_path / "rows.csv")
    split = {"by": "time", "column": "t", "validation": 0.0, "test": {"fold": 0, "of": 3, "gap": 5}}
    data = {"kind": "table", "files": [f"{tmp_path}/rows.csv"], "target": "y", "split": split}

    found = cross_validate(Recipe.parse({**PLAIN, "data": data | {"split": split}}), folds=3,
                           runs=tmp_path)  # fmt: skip

    assert [(part.train, part.test) for part in found.parts] == [(25, 30), (55, 30), (85, 30)]
    assert any("approximation" in note for note in found.notes)


def test_a_recipe_that_cannot_be_judged_by_folds_is_refused_with_all_faults(runs: Path) -> None:
    recipe = Recipe.parse({**PLAIN, "fit": {"optimizer": "sgd", "seconds": 3.0}})
    crossval = Crossval.named(recipe, "bad", runs, folds=1, repeats=0)

    with pytest.raises(RecipeError) as error:
        list(events(crossval))

    assert {f.path for f in error.value.faults} == {"folds", "repeats", "fit.seconds"}
    assert not crossval.folder.exists()
    many = Crossval.named(digits(), "bad", runs, folds=2000, repeats=1)
    with pytest.raises(RecipeError, match="at most 1797 samples, found 2000"):
        list(events(many))
    with pytest.raises(DataError, match="expected at least 175 to stand in each of 175 folds"):
        list(events(Crossval.named(digits(), "bad", runs, folds=175, repeats=1)))


def test_two_recipes_are_compared_on_the_same_folds(done: Crossval, runs: Path) -> None:
    rival = Crossval.named(digits(fit__epochs=2), "digits", runs, folds=3, repeats=2)

    last = list(paired(done, rival))[-1]

    assert isinstance(last, Compared)
    found = last.difference
    assert found.changed == {"fit.epochs": ("1", "2")}
    assert found.effect.size.value == pytest.approx(found.means[1] - found.means[0])
    assert found.verdict == "better"
    assert "fit.epochs 2 instead of 1 is better in accuracy" in last.report.read_text()
    with pytest.raises(RecipeError, match="another recipe to compare with"):
        list(paired(done, done))
    other = Crossval.named(digits(seed=3), "digits", runs, folds=3, repeats=2)
    with pytest.raises(RecipeError, match="the same seed in both"):
        list(paired(done, other))


def test_the_page_shows_every_fold_and_holds_no_script(done: Crossval) -> None:
    page = (done.folder / "report.html").read_text()

    assert "<script" not in page
    assert all(f"repeat {repeat}, fold {fold}" in page for repeat, fold in done.recipes)
    assert "3 folds, twice" in page
    assert "Nadeau &amp; Bengio" in page


def noise(folder: Path, rows: int = 120) -> Recipe:
    """Digits whose labels mean nothing: half are 0, half are 1."""
    random = np.random.default_rng(0)
    chosen = random.permutation(1797)[:rows]
    table = pl.DataFrame(load_digits().data[chosen].astype(int))
    labels = random.permutation(np.arange(rows) % 2)
    table.with_columns(label=pl.Series(labels)).write_csv(folder / "noise.csv")
    data = {
        "kind": "table",
        "files": [f"{folder}/noise.csv"],
        "target": "label",
        "split": {"validation": 0.0, "stratify": True},
    }
    return Recipe.parse({**PLAIN, "data": data, "fit": {**PLAIN["fit"], "batch": 32}})


@pytest.mark.slow
def test_nested_on_noise_stays_at_chance_where_the_best_of_a_search_does_not(
    tmp_path: Path,
) -> None:
    recipe = noise(tmp_path)
    space = Space.parse(["fit.optimizer.lr=log:1e-3:0.1", "model.width=4:32:4"], recipe)
    inner = Inner(space, Random(trials=8), folds=3)
    crossval = of(Crossval.named(recipe, "noise", tmp_path, folds=3, repeats=1), inner)
    crossval = crossval.called("noise")

    *_, last = nested(crossval, inner)

    assert isinstance(last, Finished)
    found = last.result
    assert found.score is not None
    assert found.optimism is not None
    assert found.score.low is not None
    assert found.score.low < 0.5 < found.score.high
    searched = [part.searched for part in found.parts]
    assert np.mean(searched) > 0.55
    assert found.optimism.value == pytest.approx(np.mean(searched) - found.score.value)
    assert all(part.trials == 8 and part.settings for part in found.parts)
    assert "The search inside" in last.report.read_text()
    kept = all_parts(crossval)
    assert sorted(np.concatenate([k.ids for k in kept]).tolist()) == list(range(120))


def test_the_command_line_judges_compares_and_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "digits.yaml"
    file.write_text(json.dumps(PLAIN))
    runs = ["--runs", str(tmp_path / "runs")]

    assert main(["crossval", str(file), "--folds", "2", "--json", *runs]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["metric"], len(found["parts"])) == ("accuracy", 2)
    assert main(["crossval", str(file), "--folds", "2", *runs]) == 0
    shown = capsys.readouterr()
    assert "accuracy" in shown.out
    assert "is finished" in shown.err
    wrong = ["--setting", "test_size=0.2", "--over", "model.width=1,2"]
    assert main(["crossval", str(file), *wrong, *runs]) == 2
    text = capsys.readouterr().err
    assert "--splitter beside --setting" in text
    assert "--nested beside --over" in text
    assert main(["crossval", str(file), "--splitter", "KFlod", *runs]) == 2
    assert "did you mean KFold" in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_keeps_the_folds_that_are_judged(tmp_path: Path) -> None:
    file = tmp_path / "digits.yaml"
    file.write_text(json.dumps({**PLAIN, "fit": {**PLAIN["fit"], "epochs": 8}}))
    words = [sys.executable, "-m", "zafu", "crossval", str(file), "--folds", "5"]
    words += ["--engine", "sequential"]
    process = subprocess.Popen(
        [*words, "--runs", str(tmp_path / "runs")], stderr=subprocess.PIPE, text=True
    )
    for _ in range(1200):
        if list((tmp_path / "runs").glob("*/parts/*/card.json")):
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)

    assert process.returncode == 75
    assert "of 5 folds are judged and kept; the same command goes on" in told
    status = read_json(next((tmp_path / "runs").glob("*-crossval-*/status.json")))
    assert status["state"] == "interrupted"
