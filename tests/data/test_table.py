import ast
import json
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from zafu.data import columns, frame, roles, table
from zafu.data.files import find
from zafu.data.sift import Sieve
from zafu.data.table import Table
from zafu.errors import DataError, RecipeError
from zafu.signature import Columns
from zafu.work import Work

CLASSES, NUMBER = "classification", "regression"
SPLITS = ("train", "validation", "test")


def of_sklearn(load: object, target: str = "target") -> pl.DataFrame:
    bunch = load()  # type: ignore[operator]
    rows = pl.DataFrame(np.asarray(bunch.data), schema=[str(n) for n in bunch.feature_names])
    return rows.with_columns(pl.Series(target, bunch.target))


@cache
def library() -> pl.DataFrame:
    """What can be said of each module of the standard library: numbers, text and truth values."""
    rows = []
    for name, path in find(["stdlib:[_a-g]*.py"]):
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        first = tree.body[0] if tree.body else None
        rows.append(
            {
                "name": name,
                "bytes": len(text.encode()),
                "lines": text.count("\n"),
                "longest": max(map(len, text.splitlines() or [""])),
                "documented": ast.get_docstring(tree) is not None,
                "starts_with": type(first).__name__ if first else None,
                "words_of_docstring": len((ast.get_docstring(tree) or "").split()) or None,
                "private": "private" if name.startswith("_") else "public",
            }
        )
    return pl.DataFrame(rows)


def write(rows: pl.DataFrame, file: Path) -> str:
    match file.suffix:
        case ".csv":
            rows.write_csv(file)
        case ".tsv":
            rows.write_csv(file, separator="\t")
        case ".parquet":
            rows.write_parquet(file)
        case _:
            rows.write_ndjson(file)
    return str(file)


def prepared(folder: Path, data: Table, task: str = CLASSES) -> Path:
    folder.mkdir()
    data.prepare(folder, task=task, seed=0, work=Work(folder / "../work"))
    return folder


def parse(file: str, **settings: object) -> Table:
    return Table.parse({"files": [file], "target": "target", **settings})


def stored(folder: Path, split: str, name: str) -> np.ndarray:
    return np.load(folder / split / f"{name}.npy")


def training_rows(data: Table, task: str) -> pl.DataFrame:
    """The raw rows that were dealt to training, found again by dealing."""
    from zafu.data.deal import deal

    rows = roles.readable(
        frame.read(data.sources(), data.missing), data, task, Sieve(frozenset())
    ).rows
    return rows[deal(frame.row_prints(rows), data.split, seed=0, what="rows")["train"]]


@pytest.mark.parametrize("normalize", ["z-score", "min-max", "none"])
@pytest.mark.parametrize("load", [load_breast_cancer, load_wine])
def test_scales_equal_those_of_scikit_learn(tmp_path: Path, load: object, normalize: str) -> None:
    """Parity to 1e-12 in float64 for what is fitted, to float32 for what is stored."""
    data = parse(write(of_sklearn(load), tmp_path / "rows.parquet"), normalize=normalize)
    folder = prepared(tmp_path / "p", data)
    train = training_rows(data, CLASSES).drop("target").to_numpy()

    fitted = table.load(folder / "transform")

    centers, scales = ([getattr(n.scaler, f) for n in fitted.numbers] for f in ("center", "scale"))
    found = stored(folder, "train", "numbers")
    if normalize == "z-score":
        reference = StandardScaler().fit(train)
        np.testing.assert_allclose(centers, reference.mean_, rtol=1e-12)
        np.testing.assert_allclose(scales, reference.scale_, rtol=1e-12)
        np.testing.assert_allclose(found, reference.transform(train), rtol=1e-6, atol=1e-6)
    elif normalize == "min-max":
        reference = MinMaxScaler().fit(train)
        np.testing.assert_allclose(centers, reference.data_min_, rtol=1e-12)
        np.testing.assert_allclose(scales, reference.data_range_, rtol=1e-12)
        np.testing.assert_allclose(found, reference.transform(train), rtol=1e-6, atol=1e-6)
    else:
        assert np.array_equal(found, train.astype(np.float32))


def test_a_regression_target_is_standardized_and_comes_back(tmp_path: Path) -> None:
    rows = of_sklearn(load_diabetes)
    data = parse(write(rows, tmp_path / "rows.csv"))
    folder = prepared(tmp_path / "p", data, NUMBER)

    targets = [stored(folder, split, "targets") for split in SPLITS]
    back = data.in_units(folder / "transform", np.concatenate(targets).astype(np.float64))

    assert abs(targets[0].mean(dtype=np.float64)) < 1e-6
    assert abs(targets[0].std(dtype=np.float64) - 1) < 1e-6
    np.testing.assert_allclose(np.sort(back[:, 0]), np.sort(rows["target"]), rtol=1e-5)
    signature = json.loads((folder / "signature.json").read_text())
    assert (signature["outputs"], signature["labels"]) == (1, ["target"])
    batch = data.open(folder, "test").batch(np.arange(2))
    assert (batch.targets.shape, batch.targets.dtype) == ((2, 1), torch.float32)


@pytest.mark.parametrize("suffix", ["tsv", "parquet", "jsonl"])
def test_the_format_of_a_file_does_not_matter(tmp_path: Path, suffix: str) -> None:
    rows = library()
    settings = {"target": "private", "ignore": ["name"]}
    csv = prepared(tmp_path / "a", parse(write(rows, tmp_path / "rows.csv"), **settings))

    other = prepared(tmp_path / "b", parse(write(rows, tmp_path / f"rows.{suffix}"), **settings))

    for file in (p.relative_to(csv) for p in csv.rglob("*") if p.is_file()):
        if file.name != "names.arrow":  # they name the file
            assert (other / file).read_bytes() == (csv / file).read_bytes()


def test_a_table_in_several_files_is_one_table(tmp_path: Path) -> None:
    rows = library()
    settings = {"target": "private", "ignore": ["name"]}
    one = prepared(tmp_path / "one", parse(write(rows, tmp_path / "rows.csv"), **settings))
    write(rows[:40], tmp_path / "part1.csv")
    write(rows[40:].select(sorted(rows.columns)), tmp_path / "part2.csv")

    two = prepared(tmp_path / "two", parse(f"{tmp_path}/part*.csv", **settings))

    for split in SPLITS:
        for name in columns.Encoded._fields:
            assert np.array_equal(stored(two, split, name), stored(one, split, name))


def test_mixed_columns_become_numbers_indicators_and_indices(tmp_path: Path) -> None:
    data = parse(
        write(library(), tmp_path / "rows.csv"), target="private", ignore=["name"], min_count=3
    )
    folder = prepared(tmp_path / "p", data)
    train = training_rows(data, CLASSES)

    fitted = table.load(folder / "transform")

    assert [n.name for n in fitted.numbers] == ["bytes", "lines", "longest", "words_of_docstring"]
    assert [n.indicator for n in fitted.numbers] == [False, False, False, True]
    assert [c.name for c in fitted.categories] == ["documented", "starts_with"]
    assert fitted.categories[0].values == ("false", "true")
    counts = dict(train["starts_with"].drop_nulls().value_counts().iter_rows())
    common = sorted(value for value, count in counts.items() if count >= 3)
    assert list(fitted.categories[1].values) == common
    assert fitted.target.labels == ("private", "public")
    signature = json.loads((folder / "signature.json").read_text())
    expected = Columns(numbers=5, categories=(3, len(common) + 1))
    assert Columns.parse(signature["inputs"]) == expected
    numbers, absent = stored(folder, "train", "numbers"), train["words_of_docstring"].is_null()
    assert np.array_equal(numbers[:, 4].astype(bool), absent)
    np.testing.assert_allclose(numbers[absent.to_numpy(), 3], 0, atol=1e-6)  # the mean
    indices = stored(folder, "train", "categories")[:, 1]
    named = [fitted.categories[1].values[i - 1] if i else None for i in indices]
    assert named == [v if v in common else None for v in train["starts_with"]]


def test_numbers_can_be_named_categories(tmp_path: Path) -> None:
    data = parse(
        write(library(), tmp_path / "rows.csv"),
        target="private",
        ignore=["name", "bytes"],
        categorical=["words_of_docstring"],
    )

    fitted = table.load(prepared(tmp_path / "p", data) / "transform")

    assert [c.name for c in fitted.categories][-1] == "words_of_docstring"
    assert set(fitted.categories[-1].values) <= {str(i) for i in range(2000)}


def test_new_rows_are_encoded_as_the_old_ones(tmp_path: Path) -> None:
    rows = library()
    data = parse(write(rows, tmp_path / "rows.csv"), target="private", ignore=["name"])
    folder = prepared(tmp_path / "p", data)
    new = tmp_path / "new.jsonl"
    write(rows.select(sorted(rows.columns)).drop("name"), new)

    batch, names = data.encode(folder / "transform", new)

    assert names[:2] == ["new.jsonl row 1", "new.jsonl row 2"]
    ours = np.column_stack([x.numpy() for x in (*batch.inputs, batch.targets[:, None])])
    parts = [
        np.column_stack([stored(folder, s, "numbers"), stored(folder, s, "categories"),
                         stored(folder, s, "targets")])
        for s in SPLITS
    ]  # fmt: skip
    assert np.array_equal(np.unique(ours, axis=0), np.unique(np.concatenate(parts), axis=0))


def test_new_rows_need_no_target_and_may_hold_new_values(tmp_path: Path) -> None:
    data = parse(write(library(), tmp_path / "rows.csv"), target="private", ignore=["name"])
    folder = prepared(tmp_path / "p", data)
    row = {"bytes": None, "lines": 1e3, "longest": 80, "documented": None}
    new = pl.DataFrame([{**row, "starts_with": "Walrus", "words_of_docstring": 3}])

    batch, _ = data.encode(folder / "transform", Path(write(new, tmp_path / "new.parquet")))

    assert batch.targets.tolist() == [-100]
    assert batch.inputs[0].isfinite().all()
    assert batch.inputs[0][0, 0] == pytest.approx(0, abs=1e-6)
    assert batch.inputs[1].tolist() == [[0, 0]]


def test_an_absent_number_to_predict_is_nan(tmp_path: Path) -> None:
    rows = of_sklearn(load_diabetes)
    data = parse(write(rows, tmp_path / "rows.csv"))
    folder = prepared(tmp_path / "p", data, NUMBER)
    new = write(rows.drop("target")[:3], tmp_path / "new.csv")

    batch, _ = data.encode(folder / "transform", Path(new))

    assert batch.targets.shape == (3, 1)
    assert batch.targets.isnan().all()


def test_new_rows_with_faults_are_refused_with_all_of_them(tmp_path: Path) -> None:
    rows = of_sklearn(load_wine)
    data = parse(write(rows, tmp_path / "rows.csv"))
    folder = prepared(tmp_path / "p", data)
    new = rows.rename({"alcohol": "alcohl"}).with_columns(pl.lit("much").alias("ash"))

    with pytest.raises(DataError) as error:
        data.encode(folder / "transform", Path(write(new, tmp_path / "new.csv")))

    assert 'expected a column, found "alcohol"; did you mean alcohl?' in str(error.value)
    assert "new.csv row 1, column 'ash': expected a number, found \"much\"" in str(error.value)


def test_rows_without_a_target_are_dropped_and_counted(tmp_path: Path) -> None:
    rows = of_sklearn(load_wine)
    gaps = rows.with_columns(
        pl.when(pl.int_range(pl.len()) % 10 == 0).then(None).otherwise("target").alias("target")
    )

    folder = prepared(tmp_path / "p", parse(write(gaps, tmp_path / "rows.csv")))

    report = json.loads((folder / "prepare.json").read_text())
    assert (report["in"], report["dropped"], report["out"]) == (178, {"no target": 18}, 160)


def test_removing_held_out_rows_changes_nothing_that_was_fitted(tmp_path: Path) -> None:
    rows = of_sklearn(load_breast_cancer)
    data = parse(write(rows, tmp_path / "rows.csv"))
    before = prepared(tmp_path / "before", data)
    train = training_rows(data, CLASSES)["mean radius"].to_list()
    held_out = rows.filter(~pl.col("mean radius").is_in(train))
    assert len(held_out) > 20
    write(rows.join(held_out[:20], on=rows.columns, how="anti"), tmp_path / "rows.csv")

    after = prepared(tmp_path / "after", data)

    for name in ("transform/columns.json", "train/numbers.npy", "train/targets.npy"):
        assert (after / name).read_bytes() == (before / name).read_bytes()
    sizes = [len(stored(f, s, "targets")) for f in (before, after) for s in SPLITS[1:]]
    assert sum(sizes[:2]) - sum(sizes[2:]) == 20


def test_equal_rows_share_a_split(tmp_path: Path) -> None:
    rows = of_sklearn(load_wine)
    twice = pl.concat([rows, rows])

    folder = prepared(tmp_path / "p", parse(write(twice, tmp_path / "rows.parquet")))

    for split in SPLITS:
        numbers = stored(folder, split, "numbers")
        assert np.array_equal(*np.split(numbers, 2))


def test_texts_that_mean_missing_are_missing(tmp_path: Path) -> None:
    rows = of_sklearn(load_wine).with_columns(pl.col("ash").cast(pl.String))
    marked = rows.with_columns(
        pl.when(pl.int_range(pl.len()) % 9 == 0).then(pl.lit("?")).otherwise("ash").alias("ash")
    )
    file = write(marked, tmp_path / "rows.csv")

    with pytest.raises(DataError, match=r"row 1, column 'ash': expected a number, found \"\?\""):
        prepared(tmp_path / "bad", parse(file, numeric=["ash"]))
    folder = prepared(tmp_path / "good", parse(file, missing=["?"]))

    ash = next(n for n in table.load(folder / "transform").numbers if n.name == "ash")
    assert ash.indicator


def test_a_column_of_numbers_with_a_few_words_is_not_taken_for_text(tmp_path: Path) -> None:
    rows = of_sklearn(load_wine).with_columns(pl.col("ash").cast(pl.String))
    rows[16, "ash"] = "n/a"

    with pytest.raises(DataError) as error:
        prepared(tmp_path / "p", parse(write(rows, tmp_path / "rows.csv")))

    assert "rows.csv row 17, column 'ash': expected a number, found \"n/a\"" in str(error.value)
    assert "name it in data.missing" in str(error.value)
    assert "data.categorical" in str(error.value)


def test_all_faults_of_all_columns_come_in_one_message(tmp_path: Path) -> None:
    rows = of_sklearn(load_wine).with_columns(
        pl.lit("red").alias("color"), pl.lit(None).alias("nothing"), pl.lit(1).alias("same")
    )
    rows = rows.with_columns(pl.col("ash").cast(pl.String), pl.lit(float("inf")).alias("hue"))
    rows[3, "ash"] = "oops"
    file = write(rows, tmp_path / "rows.csv")
    settings = {"target": "same", "numeric": ["color", "ash"], "ignore": ["magnesum"]}

    with pytest.raises(DataError) as error:
        prepared(tmp_path / "p", parse(file, **settings))

    message = str(error.value)
    assert "6 faults in the data" in message
    assert 'data.ignore: expected a column, found "magnesum"; did you mean magnesium?' in message
    assert "row 1, column 'color': expected a number, found \"red\" and 177 more" in message
    assert "row 4, column 'ash': expected a number, found \"oops\"" in message
    assert "row 1, column 'hue': expected a number, found" in message
    assert "column 'nothing': expected values, found none" in message
    assert "column 'same': expected a target with different values, found 1" in message


def test_a_class_that_training_never_sees_is_named(tmp_path: Path) -> None:
    rows = of_sklearn(load_wine).with_columns(pl.col("target").cast(pl.String))
    for seed in range(100):
        rows[0, "target"] = f"rare {seed}"  # until the row is dealt to a held-out split
        data = parse(write(rows, tmp_path / "rows.csv"))
        if f"rare {seed}" not in training_rows(data, CLASSES)["target"]:
            break

    with pytest.raises(DataError, match=rf"only elsewhere 1 of 4: 'rare {seed}'; add rows"):
        prepared(tmp_path / "p", data)


def test_a_column_of_names_is_refused_since_it_tells_nothing(tmp_path: Path) -> None:
    data = parse(write(library(), tmp_path / "rows.csv"), target="private")

    with pytest.raises(DataError, match="column 'name': expected a value in at least 2 training"):
        prepared(tmp_path / "p", data)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "expected a table"),
        ("header.csv", b"a,target\n", "found no rows"),
        ("ragged.csv", b"a,target\n1,2\n1,2,3\n", "expected a table"),
        ("twice.csv", b"a,a,target\n1,2,3\n", "the column 'a' stands there twice"),
        ("table.xlsx", b"PK", "the name must end in one of .csv"),
        ("broken.parquet", b"PAR1", "expected a table"),
        ("broken.jsonl", b'{"a": 1\n{"a"', "expected a table"),
    ],
)
def test_a_file_that_is_no_table_is_named(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(DataError, match=message) as error:
        prepared(tmp_path / "p", parse(f"{tmp_path}/{name}"))

    assert name in str(error.value)


def test_files_with_other_columns_are_named(tmp_path: Path) -> None:
    rows = of_sklearn(load_wine)
    write(rows[:50], tmp_path / "a.csv")
    write(rows[50:].rename({"hue": "colour"}), tmp_path / "b.csv")

    with pytest.raises(DataError) as error:
        prepared(tmp_path / "p", parse(f"{tmp_path}/*.csv"))

    assert f"{tmp_path}/b.csv: expected the column 'hue' of the first file" in str(error.value)
    assert f"{tmp_path}/b.csv: the first file has no column 'colour'" in str(error.value)


def test_a_place_is_counted_file_by_file() -> None:
    two = frame.Frame(pl.DataFrame({"a": range(5)}), (("x.csv", 3), ("y.csv", 2)))

    assert [two.place(i) for i in (0, 2, 3, 4)] == [
        "x.csv row 1",
        "x.csv row 3",
        "y.csv row 1",
        "y.csv row 2",
    ]


def test_a_column_plays_one_part() -> None:
    with pytest.raises(RecipeError) as error:
        parse("x.csv", numeric=["a", "target"], ignore=["a"])

    assert 'numeric: expected columns that target does not name, found "target"' in str(error.value)
    assert 'ignore: expected columns that numeric does not name, found "a"' in str(error.value)


def test_a_constant_column_is_scaled_to_zero() -> None:
    column = pl.Series("c", [0.1] * 1000)  # its computed deviation is rounding, not zero

    number = columns.fit_number(column, "z-score")

    assert number.scaler.scale == StandardScaler().fit(column.to_numpy()[:, None]).scale_[0] == 1.0
