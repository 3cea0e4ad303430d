import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine

from zafu.clean.contract import RowCleaning
from zafu.clean.rows_constant import ConstantColumns
from zafu.clean.rows_forest import OutliersForest
from zafu.clean.rows_leaking import LeakingColumns
from zafu.clean.rows_matrix import matrix
from zafu.clean.rows_missing import Missing
from zafu.clean.rows_outliers import OutliersIqr, OutliersZ, robust_z
from zafu.clean.rows_suspects import SuspectedLabels
from zafu.errors import DataError


def of_sklearn(load: object) -> pl.DataFrame:
    """Numbers, with a target of text where it is a class."""
    bunch = load()  # type: ignore[operator]
    rows = pl.DataFrame(np.asarray(bunch.data), schema=[str(n) for n in bunch.feature_names])
    target = pl.Series("target", bunch.target)
    classes = "target_names" in bunch
    return rows.with_columns(target.cast(pl.String if classes else pl.Float64))


def gone(step: RowCleaning, rows: pl.DataFrame, target: str = "target") -> list[int]:
    reasons = step.clean(rows, target, seed=0).reasons
    assert len(reasons) == rows.height
    assert reasons.dtype == pl.String
    return reasons.is_not_null().arg_true().to_list()


@pytest.mark.parametrize("kind", sorted(RowCleaning.kinds()))
def test_a_step_prints_and_parses_and_leaves_its_rows_alone(kind: str) -> None:
    step = RowCleaning.kinds()[kind].parse({})
    rows = of_sklearn(load_wine).with_columns(text=pl.lit("same"), none=pl.lit(None, pl.Float64))
    before = rows.clone()

    found = step.clean(rows, "target", seed=0)
    again = step.clean(rows, "target", seed=0)

    assert RowCleaning.kinds()[kind].parse(step.dump()) == step
    assert rows.equals(before)
    assert found.reasons.equals(again.reasons)
    assert (found.columns, found.suspects) == (again.columns, again.suspects)
    assert "target" not in found.columns


def test_rows_and_columns_with_too_much_missing_go() -> None:
    rows = pl.DataFrame(
        {
            "a": [1.0, None, 3.0, None],
            "b": ["x", None, None, "y"],
            "c": [1.0, 2.0, 3.0, 4.0],
            "empty": [None, None, None, 1.0],
            "target": ["t", "u", "t", "u"],
        },
        schema_overrides={"empty": pl.Float64},
    )

    found = Missing(rows=0.5, columns=0.7).clean(rows, "target", seed=0)

    assert found.columns == {"empty": "more than 70% missing"}
    assert found.reasons.to_list() == [None, "more than 50% of the columns missing", None, None]


def test_constant_columns_go_missing_values_counted_as_one() -> None:
    rows = of_sklearn(load_wine).with_columns(
        count=pl.lit(1.0),
        none=pl.lit(None, pl.String),
        mostly=pl.when(pl.int_range(pl.len()) < 3).then(pl.lit("b")).otherwise(pl.lit("a")),
    )

    strict = ConstantColumns().clean(rows, "target", seed=0)
    loose = ConstantColumns(share=0.95).clean(rows, "target", seed=0)

    assert set(strict.columns) == {"count", "none"}
    assert loose.columns["mostly"] == "one value in 98.3% of training rows"
    assert strict.reasons.null_count() == rows.height


def test_robust_z_counts_from_the_median_in_deviations_of_the_middle() -> None:
    """Closed form, by hand: median 6.295, median absolute deviation .035."""
    values = np.array([6.27, 6.34, 6.25, 6.31, 6.28, 63.1])

    found = robust_z(values)

    assert found[5] == pytest.approx(0.6745 * 56.805 / 0.035, rel=1e-9)
    assert np.abs(found[:5]).max() < 3.5


@pytest.mark.parametrize("step", [OutliersZ(), OutliersIqr(), OutliersForest()])
def test_planted_outliers_are_found(step: RowCleaning) -> None:
    rows = of_sklearn(load_wine)
    planted = list(range(0, 170, 17))
    far = rows.with_columns(
        pl.when(pl.int_range(pl.len()).is_in(planted)).then(pl.col(name) * 20).otherwise(name)
        .alias(name)
        for name in rows.columns[:6]
    )  # fmt: skip

    found = gone(step, far)

    assert set(planted) <= set(found)
    assert len(found) <= len(planted) + 6


def test_a_missing_number_or_a_spread_of_zero_makes_no_outlier() -> None:
    rows = pl.DataFrame(
        {
            "a": [1.0, 2.0, None, 3.0, 2.5, 1.5, 500.0],
            "mostly": [0.0, 0.0, 0.0, 0.0, 0.0, 7.0, 0.0],
            "none": pl.Series([None] * 7, dtype=pl.Float64),
            "target": list("ttuuttu"),
        }
    )

    found = OutliersZ().clean(rows, "target", seed=0)

    assert found.reasons.to_list() == [None] * 6 + ["column 'a': robust z above 6"]
    assert gone(OutliersIqr(), rows) == [6]


def test_a_plain_z_score_is_masked_by_the_outlier_that_a_robust_one_sees() -> None:
    values = [*np.linspace(0, 1, 12).tolist(), 40.0]
    rows = pl.DataFrame({"a": values, "target": ["t"] * 13})

    assert gone(OutliersZ(most=3.5), rows) == [12]
    assert gone(OutliersZ(most=3.5, by="mean"), rows) == []
    assert gone(OutliersZ(most=3.0, by="mean"), rows) == [12]


def test_columns_to_look_at_are_numbers_that_are_there() -> None:
    rows = of_sklearn(load_wine).with_columns(text=pl.lit("a"))

    with pytest.raises(DataError) as error:
        OutliersZ(columns=("alcohl", "text")).clean(rows, "target", seed=0)

    assert 'expected a column of numbers, found "alcohl"; did you mean alcohol?' in str(error.value)
    assert 'found "text"' in str(error.value)


@pytest.mark.parametrize("load", [load_wine, load_breast_cancer, load_diabetes, load_iris])
def test_honest_columns_are_not_called_leaks(load: object) -> None:
    found = LeakingColumns().clean(of_sklearn(load), "target", seed=0)

    assert found.columns == {}


def test_columns_made_from_the_target_are_leaks() -> None:
    numbers = of_sklearn(load_diabetes)
    price = pl.col("target") * 1.8 + 32
    some = pl.int_range(pl.len()) % 60 == 0
    classes = of_sklearn(load_wine)

    of_numbers = LeakingColumns().clean(
        numbers.with_columns(copy=price, square=(pl.col("target") ** 2)), "target", seed=0
    )
    of_classes = LeakingColumns(score=0.95).clean(
        classes.with_columns(
            code=pl.col("target").replace({"0": "x", "1": "y", "2": "z"}),
            number=pl.when(some).then(None).otherwise(pl.col("target").cast(pl.Float64)),
        ),
        "target",
        seed=0,
    )

    assert set(of_numbers.columns) == {"copy", "square"}
    assert set(of_classes.columns) == {"code", "number"}
    assert of_classes.columns["code"] == "tells the target by itself: score 1.000"


def test_a_column_of_names_does_not_tell_by_being_different_in_each_row() -> None:
    rows = of_sklearn(load_wine).with_columns(name=pl.int_range(pl.len()).cast(pl.String))

    assert (
        LeakingColumns(score=0.5).clean(rows, "target", seed=0).columns.keys().isdisjoint(["name"])
    )


def test_suspected_labels_are_reported_or_removed() -> None:
    rows = of_sklearn(load_wine)
    wrong = rows.with_columns(
        pl.when(pl.int_range(pl.len()).is_in([5, 150])).then(pl.lit("1")).otherwise("target")
        .alias("target")
    )  # fmt: skip

    report = SuspectedLabels().clean(wrong, "target", seed=0)
    remove = SuspectedLabels(action="remove").clean(wrong, "target", seed=0)

    assert report.reasons.null_count() == rows.height
    assert {5, 150} <= {suspect.row for suspect in report.suspects}
    first = next(suspect for suspect in report.suspects if suspect.row == 5)
    assert first[:3] == (5, "1", "0")
    assert 0.5 < first.probability <= 1
    assert remove.suspects == report.suspects
    assert remove.reasons.is_not_null().arg_true().to_list() == [s.row for s in report.suspects]
    assert remove.reasons[5] == "labelled 1, probably 0"


def test_labels_that_are_numbers_cannot_be_suspected() -> None:
    with pytest.raises(DataError, match="expected a target of classes, found numbers in 'target'"):
        SuspectedLabels().clean(of_sklearn(load_diabetes), "target", seed=0)


def test_a_matrix_has_no_gaps_and_a_column_for_each_frequent_value() -> None:
    rows = pl.DataFrame(
        {
            "number": [1.0, None, 3.0, 9.0],
            "text": ["a", "b", None, "a"],
            "same": ["s"] * 4,
            "target": list("tutu"),
        }
    )

    found = matrix(rows, "target")

    expected = [[1, 0, 1, 0], [3, 1, 0, 1], [3, 0, 0, 0], [9, 0, 1, 0]]
    assert found.tolist() == expected
