"""Numbers multiplied, cut into bins, turned to main directions, and chosen by what they say."""

import warnings
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.decomposition import PCA as SklearnPCA
from sklearn.feature_selection import mutual_info_classif, mutual_info_regression
from sklearn.preprocessing import KBinsDiscretizer, PolynomialFeatures, StandardScaler

from zafu.errors import DataError, RecipeError
from zafu.features import moments
from zafu.features.bins import Bins
from zafu.features.contract import Feature
from zafu.features.mutual_information import MutualInformation
from zafu.features.pca import PCA
from zafu.features.polynomial import Polynomial


def table(load: Callable[[], object]) -> tuple[pl.DataFrame, np.ndarray]:
    """A set of scikit-learn: its columns, and what is to be predicted."""
    bunch = load()
    data, target = np.asarray(bunch.data, np.float64), np.asarray(bunch.target)  # type: ignore
    return pl.DataFrame(data, schema=[f"c{i}" for i in range(data.shape[1])]), target


WINE, CLASSES = table(load_wine)
CANCER, _ = table(load_breast_cancer)
DIABETES, PROGRESS = table(load_diabetes)
TARGET = pl.Series("target", CLASSES.astype(str))
blocks = st.lists(st.integers(1, 40), min_size=1, max_size=6)


def applied(feature: Feature, rows: pl.DataFrame, target: pl.Series = TARGET) -> pl.DataFrame:
    return feature.apply(feature.fit(rows, target, seed=0), rows)


@pytest.mark.parametrize("degree", [2, 3, 4])
@pytest.mark.parametrize("powers", [True, False])
def test_products_are_scikit_learns(degree: int, powers: bool) -> None:
    rows = WINE.select(WINE.columns[:4])
    sklearn = PolynomialFeatures(degree, interaction_only=not powers, include_bias=False)
    expected = sklearn.fit_transform(rows.to_numpy())

    found = applied(Polynomial(degree=degree, powers=powers), rows)

    assert np.allclose(found.to_numpy(), expected, rtol=1e-14)
    names = sklearn.get_feature_names_out(rows.columns)
    assert found.columns == [name.replace(" ", "*") for name in names]


def test_a_missing_factor_counts_as_the_mean_and_stays_missing_itself() -> None:
    rows = pl.DataFrame({"a": [1.0, None, 3.0], "b": [5.0, 7.0, 9.0]})

    found = applied(Polynomial(), rows)

    assert found["a"].to_list() == [1, None, 3]
    assert found["a*b"].to_list() == [5, 14, 27]
    assert found["a^2"].to_list() == [1, 4, 9]


def test_too_many_products_are_refused_with_their_number() -> None:
    with pytest.raises(DataError, match=r"1 to 1,000 products \(most\), found 46,345 of"):
        applied(Polynomial(degree=4), CANCER)


def test_the_number_of_products_is_the_number_that_is_made() -> None:
    rows = WINE.select(WINE.columns[:5])

    for degree in (2, 3, 4):
        for powers in (True, False):
            made = applied(Polynomial(degree=degree, powers=powers), rows).width - 5
            with pytest.raises(DataError, match=f"found {made} of 5 columns"):
                applied(Polynomial(degree=degree, powers=powers, most=made - 1), rows)


def test_products_beyond_float64_are_refused_by_name() -> None:
    rows = pl.DataFrame({"a": [1e200, 1.0], "b": [1.0, 1.0]})

    with pytest.raises(DataError, match=r"column 'a\^2': expected products within float64"):
        applied(Polynomial(), rows)


@pytest.mark.parametrize("count", [2, 5, 16])
def test_bins_are_scikit_learns(count: int) -> None:
    sklearn = KBinsDiscretizer(
        count, encode="ordinal", strategy="quantile", quantile_method="linear", subsample=None
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that equal cuts were made one
        expected = sklearn.fit_transform(WINE.to_numpy()) + 1

    found = applied(Bins(bins=count, into="ordinal"), WINE)

    assert found.columns == [f"{name}.bin" for name in WINE.columns]
    assert np.array_equal(found.to_numpy(), expected)


@given(
    st.lists(st.none() | st.floats(-1e300, 1e300), min_size=2, max_size=50),
    st.integers(2, 9),
)
@settings(deadline=None, max_examples=60)
def test_each_number_is_in_one_bin_in_their_order(values: list[float | None], count: int) -> None:
    rows = pl.DataFrame({"a": [*values, 0.0, 1.0]}, schema={"a": pl.Float64})

    place = applied(Bins(bins=count, into="ordinal"), rows)["a.bin"].to_numpy()
    hot = applied(Bins(bins=count), rows).to_numpy()

    there = rows["a"].is_not_null().to_numpy()
    order = np.argsort(rows["a"].drop_nulls().to_numpy(), kind="stable")
    assert np.array_equal(hot.sum(1), there)
    assert np.array_equal(place, hot @ np.arange(1, hot.shape[1] + 1))
    assert (np.diff(place[there][order]) >= 0).all()


def test_bins_of_columns_with_a_single_value_are_refused() -> None:
    rows = pl.DataFrame({"a": [1.0, 1.0], "b": [None, 2.0], "c": [1.0, 2.0]})

    with pytest.raises(DataError, match="2 faults"):
        applied(Bins(), rows)


@given(blocks, st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e6]))
@settings(deadline=None, max_examples=25)
def test_moments_of_blocks_are_those_of_the_whole(sizes: list[int], seed: int, mean: float) -> None:
    rows = np.random.default_rng(seed).normal(mean, 1, (sum(sizes), 3))

    found = moments.total(np.split(rows, np.cumsum(sizes)[:-1]))

    whole = np.cov(rows.T, bias=True) * len(rows)
    assert found.size == len(rows)
    assert np.allclose(found.mean, rows.mean(0), rtol=1e-14, atol=1e-14)
    assert np.allclose(found.scatter, whole, rtol=1e-9, atol=1e-9)


def test_moments_are_right_where_sums_of_squares_cancel() -> None:
    rows = np.random.default_rng(0).normal(1e9, 1, (4000, 2))

    found = moments.total(np.split(rows, 8))

    assert np.allclose(found.scatter / (found.size - 1), np.cov(rows.T), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rows", [WINE, CANCER, DIABETES], ids=["wine", "cancer", "diabetes"])
def test_components_are_scikit_learns(rows: pl.DataFrame) -> None:
    scaled = StandardScaler().fit_transform(rows.to_numpy())
    sklearn = SklearnPCA(6, svd_solver="full").fit(scaled)
    feature = PCA(components=6)

    state = feature.fit(rows, TARGET, seed=0)
    found = feature.apply(state, rows).to_numpy()

    # to 1e-10 with the same signs: both make the largest loading positive
    assert np.allclose(state["directions"], sklearn.components_, rtol=0, atol=1e-10)
    assert np.allclose(state["shares"], sklearn.explained_variance_ratio_, rtol=0, atol=1e-12)
    assert np.allclose(found, sklearn.transform(scaled), rtol=0, atol=1e-10)


def test_components_in_the_units_of_the_data_are_scikit_learns() -> None:
    values = DIABETES.to_numpy()
    expected = SklearnPCA(4, svd_solver="full").fit_transform(values)

    found = applied(PCA(components=4, scale="none"), DIABETES).to_numpy()

    assert np.allclose(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_share_of_the_variance_takes_as_many_components_as_in_scikit_learn(share: float) -> None:
    scaled = StandardScaler().fit_transform(CANCER.to_numpy())
    expected = SklearnPCA(share, svd_solver="full").fit(scaled).n_components_

    found = applied(PCA(variance=share), CANCER)

    assert found.width == expected


def test_blocks_of_rows_give_the_same_components(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = applied(PCA(components=5), CANCER).to_numpy()
    monkeypatch.setattr("zafu.features.pca._ROWS", 64)

    parts = applied(PCA(components=5), CANCER).to_numpy()

    assert np.allclose(parts, whole, rtol=0, atol=1e-11)


def test_all_components_turn_rows_without_stretching_them() -> None:
    rows = DIABETES.select(DIABETES.columns[:6])

    found = applied(PCA(components=6, scale="none"), rows).to_numpy()

    centered = rows.to_numpy() - rows.to_numpy().mean(0)
    assert np.allclose(found @ found.T, centered @ centered.T, rtol=0, atol=1e-13)


def test_a_constant_column_and_missing_numbers_do_no_harm() -> None:
    rows = WINE.select("c0", "c1").with_columns(pl.lit(7.0).alias("same"))
    holes = rows.with_columns(pl.when(pl.int_range(pl.len()) > 3).then(pl.col("c0")).alias("c0"))

    found = applied(PCA(components=2), holes)

    filled = holes.with_columns(pl.col("c0").fill_null(holes["c0"].mean()))
    assert np.allclose(found.to_numpy(), applied(PCA(components=2), filled).to_numpy(), atol=1e-12)


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        (PCA(components=14), "at most 13 components of 13 columns"),
        (PCA(columns=("same",), components=1), "expected columns that vary in training"),
        (PCA(columns=("empty",), components=1), "column 'empty': expected values in training"),
    ],
)
def test_components_that_cannot_be_are_refused(feature: PCA, message: str) -> None:
    none = pl.lit(None).cast(pl.Float64)
    rows = WINE if feature.components == 14 else WINE.with_columns(same=pl.lit(0.1), empty=none)

    with pytest.raises(DataError, match=message):
        applied(feature, rows)


@pytest.mark.parametrize("given", [{}, {"components": 2, "variance": 0.5}])
def test_the_number_of_components_is_said_in_one_way(given: dict[str, object]) -> None:
    with pytest.raises(RecipeError, match="expected either components or variance"):
        PCA.parse(given)


def test_information_about_classes_is_scikit_learns() -> None:
    rows = WINE.with_columns(
        strong=pl.when(pl.col("c9") > 5).then(pl.lit("s")).otherwise(pl.lit("w"))
    )
    values = np.c_[WINE.to_numpy(), rows["strong"].to_numpy() == "w"]
    discrete = np.arange(14) == 13
    expected = mutual_info_classif(values, CLASSES, discrete_features=discrete, random_state=3)

    state = MutualInformation(most=4).fit(rows, TARGET, seed=3)

    best = np.argsort(-expected)[:4]
    assert np.array_equal(state["nats"], expected)
    assert set(rows.columns) - set(state["gone"].tolist()) == {rows.columns[i] for i in best}


def test_information_about_numbers_is_scikit_learns() -> None:
    target = pl.Series("target", PROGRESS.astype(np.float64))
    expected = mutual_info_regression(DIABETES.to_numpy(), PROGRESS, n_neighbors=5, random_state=0)
    feature = MutualInformation(most=3, neighbors=5)

    state = feature.fit(DIABETES, target, seed=0)

    assert np.array_equal(state["nats"], expected)
    assert feature.apply(state, DIABETES).width == 3


def test_a_name_for_each_row_says_nothing() -> None:
    names = WINE.with_columns(name=pl.int_range(pl.len()).cast(pl.String))

    state = MutualInformation().fit(names, TARGET, seed=0)

    assert state["nats"][-1] == 0


def test_columns_beside_those_to_choose_among_stay() -> None:
    feature = MutualInformation(columns=("c0", "c2", "c6"), most=1)

    found = applied(feature, WINE)

    assert found.columns == [name for name in WINE.columns if name not in ("c0", "c2")]


def test_a_sample_of_rows_is_drawn_by_the_seed() -> None:
    feature = MutualInformation(sample=100)

    one, same, other = (feature.fit(WINE, TARGET, seed=seed)["nats"] for seed in (1, 1, 2))

    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
