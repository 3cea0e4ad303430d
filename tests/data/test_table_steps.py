"""What a table goes through: cleaning, dealing by a column, features, scales, made up rows."""

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_diabetes, load_wine

from zafu.clean.rows_outliers import OutliersZ
from zafu.data import table
from zafu.data.contract import SPLITS
from zafu.data.table import Table
from zafu.errors import DataError, RecipeError
from zafu.work import Work

CLASSES, NUMBER = "classification", "regression"


def wine() -> pl.DataFrame:
    bunch = load_wine()
    rows = pl.DataFrame(bunch.data, schema=list(bunch.feature_names))
    return rows.with_columns(target=pl.Series([str(bunch.target_names[t]) for t in bunch.target]))


def prepared(folder: Path, rows: pl.DataFrame, task: str = CLASSES, **settings: object) -> Path:
    folder.mkdir()
    rows.write_csv(folder.parent / "rows.csv")
    raw = {"files": [str(folder.parent / "rows.csv")], "target": "target", **settings}
    Table.parse(raw).prepare(folder, task=task, seed=0, work=Work(folder / "../work"))
    return folder


def said(folder: Path) -> dict[str, object]:
    return json.loads((folder / "prepare.json").read_text())


def removed(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "removed.jsonl").read_text().splitlines()]


def stored(folder: Path, split: str, name: str) -> np.ndarray:
    return np.load(folder / split / f"{name}.npy")


def far_off(rows: pl.DataFrame, places: list[int], column: str = "ash") -> pl.DataFrame:
    far = pl.int_range(pl.len()).is_in(places)
    return rows.with_columns(pl.when(far).then(1e4).otherwise(column).alias(column))


def test_every_removed_row_is_told_with_its_reason_and_content(tmp_path: Path) -> None:
    rows = wine().with_columns(
        pl.when(pl.int_range(pl.len()) == 3).then(None).otherwise("target").alias("target"),
        pl.when(pl.int_range(pl.len()) == 5).then(pl.lit("n/a")).otherwise(pl.col("hue").cast(str))
        .alias("hue"),
    )  # fmt: skip
    rows = pl.concat([rows, rows[10:12]])

    folder = prepared(tmp_path / "p", rows, unreadable="drop", duplicates="remove")

    lines = {line["id"]: line for line in removed(folder)}
    assert {(k, v["step"], v["reason"]) for k, v in lines.items()} == {
        ("rows.csv:4", "no target", "no target"),
        ("rows.csv:6", "unreadable", "column 'hue': no number"),
        ("rows.csv:179", "duplicates", "exact duplicate"),
        ("rows.csv:180", "duplicates", "exact duplicate"),
    }
    assert lines["rows.csv:179"]["twin"] == "rows.csv:11"
    assert json.loads(lines["rows.csv:6"]["content"])["hue"] == "n/a"
    report = said(folder)
    assert (report["in"], report["out"]) == (180, 176)
    assert report["dropped"] == {"unreadable": 1, "no target": 1, "duplicates": 2}


def test_outliers_go_from_training_alone(tmp_path: Path) -> None:
    rows = far_off(wine(), list(range(0, 178, 9)))
    before = prepared(tmp_path / "before", rows)

    after = prepared(tmp_path / "after", rows, clean=[{"kind": "outliers-z", "columns": ["ash"]}])

    sizes = [said(folder)["splits"] for folder in (before, after)]
    gone = [line for line in removed(after) if line["step"] == "outliers-z"]
    assert sizes[0]["train"] - sizes[1]["train"] == len(gone) > 10  # type: ignore[index]
    assert sizes[0]["test"] == sizes[1]["test"]  # type: ignore[index]
    assert all(line["reason"] == "column 'ash': robust z above 6" for line in gone)
    assert (
        max(n.scaler.scale for n in table.load(after / "transform").numbers if n.name == "ash") < 1
    )
    held_out = np.concatenate([stored(after, split, "numbers")[:, 2] for split in SPLITS[1:]])
    assert held_out.max() > 1000


def test_rows_that_the_recipe_keeps_stay(tmp_path: Path) -> None:
    rows = far_off(wine(), list(range(0, 178, 9)))
    without = prepared(tmp_path / "a", rows, clean=["outliers-z"])
    spared = removed(without)[0]["id"]

    folder = prepared(tmp_path / "b", rows, clean=["outliers-z"], keep=[spared])

    before, after = ({line["id"] for line in removed(f)} for f in (without, folder))
    assert before - after == {spared}
    assert said(folder)["out"] == said(without)["out"] + 1  # type: ignore[operator]


def test_an_id_that_no_row_has_cannot_be_kept(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.keep: .*rows\.csv:1, found \"rows\.csv:1000\""):
        prepared(tmp_path / "p", wine(), keep=["rows.csv:1000", "rows.csv:3"])


def test_a_row_without_a_target_cannot_be_kept(tmp_path: Path) -> None:
    rows = wine()
    rows[7, "target"] = None

    with pytest.raises(DataError, match=r"found rows\.csv:8: no target"):
        prepared(tmp_path / "p", rows, keep=["rows.csv:8"])


def test_columns_that_go_are_told_and_not_asked_of_new_rows(tmp_path: Path) -> None:
    rows = wine().with_columns(same=pl.lit("x"), empty=pl.lit(None, pl.String), code="target")
    clean = ["missing", "constant-columns", "leaking-columns"]

    folder = prepared(tmp_path / "p", rows, clean=clean)

    gone = {line["name"]: line["step"] for line in said(folder)["removed_columns"]}  # type: ignore[attr-defined]
    assert gone == {"same": "constant-columns", "empty": "missing", "code": "leaking-columns"}
    reads = [read.name for read in table.load(folder / "transform").reads]
    assert reads == load_wine().feature_names
    data = Table.parse({"files": [f"{tmp_path}/rows.csv"], "target": "target", "clean": clean})
    rows.select(reads).write_csv(tmp_path / "new.csv")
    batch, _ = data.encode(folder / "transform", tmp_path / "new.csv")
    assert batch.inputs[0].shape == (178, 13)


def test_suspects_are_listed_by_id(tmp_path: Path) -> None:
    rows = wine()
    for place in (5, 25, 150, 160):
        rows[place, "target"] = "class_1"

    folder = prepared(tmp_path / "p", rows, clean=["suspected-labels"])

    suspects = said(folder)["suspects"]
    assert {"rows.csv:6", "rows.csv:26", "rows.csv:151", "rows.csv:161"} & {
        suspect["id"]
        for suspect in suspects  # type: ignore[attr-defined]
    }
    assert set(suspects[0]) == {"id", "given", "suggested", "probability"}  # type: ignore[index]
    assert removed(folder) == []


def test_nothing_left_to_train_on_is_refused(tmp_path: Path) -> None:
    step = OutliersZ(most=1e-9).dump()

    with pytest.raises(DataError, match=r"data\.clean: expected training rows and columns to be"):
        prepared(tmp_path / "p", wine(), clean=[step])


def test_groups_stay_whole_and_their_column_is_no_input(tmp_path: Path) -> None:
    rows = wine().with_columns(cellar=pl.int_range(pl.len()) % 30)

    folder = prepared(tmp_path / "p", rows, split={"by": "group", "column": "cellar"})

    names = [read.name for read in table.load(folder / "transform").reads]
    assert "cellar" not in names
    sizes = [len(stored(folder, split, "targets")) for split in SPLITS]
    assert sum(sizes) == 178
    leaks = said(folder)["leaks"]
    assert [leaks[split]["groups"]["count"] for split in SPLITS[1:]] == [0, 0]  # type: ignore[index]


def test_a_column_to_split_by_is_an_input_if_it_is_named(tmp_path: Path) -> None:
    rows = wine().with_columns(cellar=pl.int_range(pl.len()) % 30)
    split = {"by": "group", "column": "cellar"}

    folder = prepared(tmp_path / "p", rows, split=split, numeric=["cellar"])

    assert "cellar" in [read.name for read in table.load(folder / "transform").reads]


def test_a_column_to_split_by_is_an_input_if_a_feature_needs_it(tmp_path: Path) -> None:
    days = [f"2026-{1 + day // 28:02}-{1 + day % 28:02}" for day in range(178)]
    rows = wine().with_columns(pl.Series("when", days))
    split = {"by": "group", "column": "when"}
    features = [{"kind": "dates", "columns": ["when"], "parts": ["month"]}]

    folder = prepared(tmp_path / "p", rows, split=split, features=features)

    fitted = table.load(folder / "transform")
    assert fitted.reads[-1].name == "when"
    assert any(number.name.startswith("when.month") for number in fitted.numbers)


@pytest.mark.parametrize("numbers", [True, False])
def test_the_newest_rows_are_the_test(tmp_path: Path, numbers: bool) -> None:
    """Texts of dates are compared as dates, numbers as numbers, not as text."""
    order = np.random.default_rng(0).permutation(178)
    days = [f"2026-{1 + day // 28:02}-{1 + day % 28:02}T0{day % 10}:00:00" for day in order]
    when = pl.Series("when", order.tolist() if numbers else days)
    bunch = load_diabetes()
    rows = pl.DataFrame({"x": order.astype(float), "target": bunch.target[:178], "when": when})

    folder = prepared(
        tmp_path / "p", rows, NUMBER, split={"by": "time", "column": "when"}, normalize="none"
    )

    train, validation, test = (stored(folder, split, "numbers")[:, 0] for split in SPLITS)
    assert train.max() < validation.min()
    assert validation.max() < test.min()
    assert said(folder)["leaks"]["test"]["time"]["count"] == 0  # type: ignore[index]


def test_dates_of_mixed_forms_and_gaps_are_refused(tmp_path: Path) -> None:
    rows = wine().with_columns(when=pl.lit("2026-01-01"))
    gaps, mixed = rows.clone(), rows.clone()
    gaps[4, "when"] = None
    mixed[4, "when"] = "3/1/2026"
    split = {"by": "time", "column": "when"}

    with pytest.raises(DataError, match="row 5, column 'when': expected a value to split by"):
        prepared(tmp_path / "a", gaps, split=split)
    with pytest.raises(DataError, match="rows 5: expected a time as ISO 8601"):
        prepared(tmp_path / "b", mixed, split=split)


def test_a_row_without_what_the_split_reads_can_be_dropped(tmp_path: Path) -> None:
    rows = wine().with_columns(cellar=pl.int_range(pl.len()) % 30)
    rows[4, "cellar"] = None

    folder = prepared(
        tmp_path / "p", rows, split={"by": "group", "column": "cellar"}, unreadable="drop"
    )

    assert [line["reason"] for line in removed(folder)] == ["column 'cellar': no value to split by"]


def test_classes_have_their_shares_in_each_split(tmp_path: Path) -> None:
    folder = prepared(tmp_path / "p", wine(), split={"stratify": True, "test": 0.2})

    counts = [np.bincount(stored(folder, split, "targets"), minlength=3) for split in SPLITS]
    overall = np.bincount(load_wine().target)
    assert np.abs(counts[2] - 0.2 * overall).max() <= 1
    assert np.abs(counts[1] - 0.1 * overall).max() <= 1


def test_a_given_split_is_taken(tmp_path: Path) -> None:
    names = pl.Series("part", np.resize(["train"] * 6 + ["valid", "test"], 178))

    folder = prepared(
        tmp_path / "p", wine().with_columns(names), split={"by": "given", "column": "part"}
    )

    sizes = {"train": 134, "validation": 22, "test": 22}
    assert said(folder)["splits"] == sizes


def test_leaks_are_told_and_refused_above_their_limit(tmp_path: Path) -> None:
    twice = pl.concat([wine(), wine()]).with_columns(
        part=pl.Series(["train"] * 178 + ["test"] * 178)
    )
    split = {"by": "given", "column": "part", "validation": 0}

    with pytest.raises(DataError, match=r"data\.leaks\.exact: expected at most 0 of the test"):
        prepared(tmp_path / "a", twice, split=split)
    folder = prepared(tmp_path / "b", twice, split=split, leaks={"exact": None})

    leak = said(folder)["leaks"]["test"]["exact"]  # type: ignore[index]
    assert (leak["count"], leak["share"]) == (178, 1.0)
    assert leak["examples"][0] == ["rows.csv:179", "rows.csv:1"]


def test_scales_can_differ_by_column(tmp_path: Path) -> None:
    scales = {"default": "min-max", "columns": {"ash": "min-max-symmetric", "hue": "robust"}}

    folder = prepared(tmp_path / "p", wine(), normalize=scales)

    names = [n.name for n in table.load(folder / "transform").numbers]
    train = stored(folder, "train", "numbers")
    lows = dict(zip(names, train.min(0).tolist(), strict=True))
    assert lows["alcohol"] == 0.0
    assert lows["ash"] == pytest.approx(-1.0)
    assert np.median(train[:, names.index("hue")]) == pytest.approx(0.0, abs=1e-6)
    with pytest.raises(DataError, match=r"data\.normalize\.columns: .*\"hew\"; did you mean hue"):
        prepared(tmp_path / "bad", wine(), normalize={"columns": {"hew": "none"}})
    with pytest.raises(RecipeError, match="normalize"):
        Table.parse({"files": ["a.csv"], "target": "t", "normalize": "z-scores"})


def test_features_come_before_scales_and_travel_with_the_model(tmp_path: Path) -> None:
    rows = wine().with_columns(
        color=pl.when(pl.col("hue") > 1).then(pl.lit("pale")).otherwise(pl.lit("deep"))
    )
    features = [{"kind": "one-hot", "columns": ["color"]}, {"kind": "pca", "components": 3}]

    folder = prepared(tmp_path / "p", rows, features=features)

    data = Table.parse(
        {"files": [f"{tmp_path}/rows.csv"], "target": "target", "features": features}
    )
    fitted = table.load(folder / "transform")
    assert [read.name for read in fitted.reads] == [*load_wine().feature_names, "color"]
    assert len(fitted.numbers) == 3
    states = {
        str(p.parent.relative_to(folder / "transform")) for p in folder.rglob("*/features/*/*")
    }
    assert states == {"features/0-one-hot", "features/1-pca"}
    batch, _ = data.encode(folder / "transform", tmp_path / "rows.csv")
    ours = np.unique(np.column_stack([batch.inputs[0].numpy(), batch.targets.numpy()]), axis=0)
    parts = [
        np.column_stack([stored(folder, s, "numbers"), stored(folder, s, "targets")])
        for s in SPLITS
    ]
    np.testing.assert_allclose(ours, np.unique(np.concatenate(parts), axis=0), rtol=1e-6, atol=1e-6)
    train = stored(folder, "train", "numbers")
    np.testing.assert_allclose(train.std(0), 1, rtol=1e-5)


def test_a_column_that_a_feature_needs_is_named(tmp_path: Path) -> None:
    features = [{"kind": "one-hot", "columns": ["hew"]}]

    with pytest.raises(
        DataError, match=r"data\.features\.0 \(one-hot\): .*\"hew\"; did you mean hue"
    ):
        prepared(tmp_path / "p", wine(), features=features)


def test_rarer_classes_get_rows_in_training_alone(tmp_path: Path) -> None:
    gaps = wine().with_columns(
        pl.when(pl.int_range(pl.len()) % 7 == 0).then(None).otherwise("ash").alias("ash"),
        color=pl.when(pl.col("hue") > 1).then(pl.lit("pale")).otherwise(pl.lit("deep")),
    )
    plain = prepared(tmp_path / "a", gaps)

    folder = prepared(tmp_path / "b", gaps, smote={"neighbours": 3})

    report = said(folder)
    assert report["splits"] == said(plain)["splits"]
    sizes = np.bincount(stored(plain, "train", "targets"))
    names = load_wine().target_names.tolist()
    lacking = {
        str(n): int(sizes.max() - s) for n, s in zip(names, sizes, strict=True) if s < sizes.max()
    }
    assert report["added"] == lacking
    for name in ("numbers", "categories", "targets"):
        before, after = stored(plain, "train", name), stored(folder, "train", name)
        assert np.array_equal(before, after[: len(before)])
        assert np.array_equal(stored(plain, "test", name), stored(folder, "test", name))
    assert (np.bincount(stored(folder, "train", "targets")) == sizes.max()).all()
    assert set(np.unique(stored(folder, "train", "numbers")[:, -1])) == {0.0, 1.0}  # the indicator
    assert set(np.unique(stored(folder, "train", "categories"))) == {1, 2}


def test_what_is_made_for_classes_is_refused_for_numbers(tmp_path: Path) -> None:
    bunch = load_diabetes()
    rows = pl.DataFrame(bunch.data, schema=bunch.feature_names).with_columns(
        target=pl.Series(bunch.target)
    )

    with pytest.raises(DataError) as error:
        prepared(tmp_path / "a", rows, NUMBER, smote={}, split={"stratify": True})
    with pytest.raises(DataError, match="expected a target of classes, found numbers"):
        prepared(tmp_path / "b", rows, NUMBER, clean=["suspected-labels"])

    assert "data.smote: expected the task classification" in str(error.value)
    assert "data.split.stratify: expected the task classification" in str(error.value)


def test_a_class_of_one_row_cannot_be_enlarged(tmp_path: Path) -> None:
    rows = wine().with_columns(part=pl.Series(["train"] * 150 + ["test"] * 28))
    rows[0, "target"] = "rare"

    with pytest.raises(DataError, match=r"data\.smote: expected 2 training rows .* 1 of 'rare'"):
        prepared(
            tmp_path / "p", rows, smote={},
            split={"by": "given", "column": "part", "validation": 0},
        )  # fmt: skip


def test_columns_are_described_before_and_after(tmp_path: Path) -> None:
    rows = far_off(wine(), list(range(0, 178, 9))).with_columns(
        color=pl.when(pl.col("hue") > 1).then(pl.lit("pale")).otherwise(pl.lit("deep"))
    )

    folder = prepared(tmp_path / "p", rows, clean=["outliers-z"])

    told = said(folder)["columns"]
    before, after = ({c["name"]: c for c in told[when]} for when in ("before", "after"))  # type: ignore[index]
    assert set(before["ash"]) == {
        "name",
        "kind",
        "missing",
        "mean",
        "std",
        "min",
        "max",
        "quantiles",
    }
    assert before["ash"]["quantiles"] == np.quantile(rows["ash"], np.linspace(0, 1, 11)).tolist()
    assert before["ash"]["max"] == 1e4
    assert after["ash"]["max"] < 5
    assert before["ash"]["std"] == pytest.approx(rows["ash"].std(ddof=0), rel=1e-12)
    counts = dict(rows["color"].value_counts().iter_rows())
    assert dict(before["color"]["top"]) == counts
    assert before["target"]["different"] == 3


def test_a_whole_recipe_of_steps_gives_the_same_bytes_twice(tmp_path: Path) -> None:
    rows = far_off(wine(), [3, 50])
    settings = {
        "clean": ["missing", "constant-columns", "leaking-columns", "outliers-iqr",
                  "outliers-forest", {"kind": "suspected-labels", "action": "remove"}],
        "normalize": "quantile-normal",
        "smote": {},
        "duplicates": "remove",
    }  # fmt: skip

    one, two = (prepared(tmp_path / name, rows, **settings) for name in ("one", "two"))

    files = [p.relative_to(one) for p in one.rglob("*") if p.is_file()]
    assert len(files) > 12
    assert all((one / file).read_bytes() == (two / file).read_bytes() for file in files)


def test_heavy_packages_are_not_loaded_to_check_a_table() -> None:
    import subprocess

    code = (
        "import sys; from zafu.data.table import Table;"
        "Table.parse({'files': ['sklearn:iris'], 'target': 'target', 'clean': ['outliers-forest']})"
        ".sources(); print([n for n in ('polars', 'sklearn', 'torch', 'sqlalchemy') "
        "if n in sys.modules])"
    )

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"
