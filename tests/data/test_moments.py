import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from zafu.data.moments import Moments

NAMES = ("count", "mean", "variance", "low", "high")


def cut(rows: np.ndarray, places: list[int]) -> list[np.ndarray]:
    return np.split(rows, sorted(places))


def merged(parts: list[np.ndarray]) -> Moments:
    found = Moments.none(parts[0].shape[1])
    for part in parts:
        found = found.merge(Moments.of(part))
    return found


@settings(max_examples=40, deadline=None)
@given(
    rows=hnp.arrays(np.float64, (37, 3), elements=st.floats(-1e3, 1e3)),
    places=st.lists(st.integers(0, 37), max_size=8),
    order=st.randoms(use_true_random=False),
    away=st.sampled_from([0.0, 1e9]),
)
def test_parts_in_any_order_are_worth_the_whole(
    rows: np.ndarray, places: list[int], order: object, away: float
) -> None:
    """Property: any partition, merged in any order, empty parts too; to 1e-12 of the range."""
    rows = rows + away
    parts = cut(rows, places)
    order.shuffle(parts)  # type: ignore[attr-defined]

    found, whole = merged(parts), Moments.of(rows)

    spread = np.ptp(rows, axis=0).max() + 1e-300
    assert np.array_equal(found.count, whole.count)
    assert np.array_equal(found.low, whole.low)
    assert np.array_equal(found.high, whole.high)
    np.testing.assert_allclose(found.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(found.variance, whole.variance, rtol=1e-12, atol=1e-12 * spread**2)


@pytest.mark.parametrize("repeats", [1, 7])
def test_moments_equal_those_of_scikit_learn(repeats: int) -> None:
    """Parity to 1e-12."""
    rows = np.tile(load_breast_cancer().data, (repeats, 1))
    z, limits = StandardScaler().fit(rows), MinMaxScaler().fit(rows)

    found = Moments.of(rows)

    np.testing.assert_allclose(found.mean, z.mean_, rtol=1e-12)
    np.testing.assert_allclose(found.variance, z.var_, rtol=1e-12)
    assert np.array_equal(found.low, limits.data_min_)
    assert np.array_equal(found.high, limits.data_max_)


@pytest.mark.parametrize("columns", [1, 3, 30, 700])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8])
def test_moments_are_exact_whatever_is_left_over_in_blocks(columns: int, dtype: type) -> None:
    """Parity to 1e-13 with sums in 80 bits, where scikit-learn's own are 2e-12 off."""
    cells = load_breast_cancer().data.ravel() % 256
    rows = np.resize(cells, (300_000 // columns + 7, columns)).astype(dtype)
    wide = rows.astype(np.longdouble)

    found = Moments.of(rows)

    np.testing.assert_allclose(found.mean, wide.mean(0).astype(np.float64), rtol=1e-13)
    np.testing.assert_allclose(found.variance, wide.var(0).astype(np.float64), rtol=1e-13)
    assert np.array_equal(found.low, rows.min(0))
    assert np.array_equal(found.high, rows.max(0))


def test_a_large_mean_does_not_swallow_the_variance() -> None:
    """Closed form: whole numbers about 1e9 are exact in float64, so the variance is known."""
    steps = np.arange(100_001.0)
    expected = (100_001**2 - 1) / 12
    values = np.random.default_rng(0).permutation(steps) + 1e9

    whole, parts = Moments.of(values), merged([v[:, None] for v in np.array_split(values, 17)])

    assert whole.variance[0] == pytest.approx(expected, rel=1e-14)
    assert parts.variance[0] == pytest.approx(expected, rel=1e-14)
    assert whole.mean[0] == 1e9 + 50_000
    textbook = np.mean(values**2) - np.mean(values) ** 2
    assert abs(textbook / expected - 1) > 1e-9


def test_an_outlier_that_comes_first_costs_nothing() -> None:
    values = np.random.default_rng(0).normal(size=5_000)
    values[0] = 1e6

    found = Moments.of(values)

    assert found.variance[0] == pytest.approx(np.var(values.astype(np.longdouble)), rel=1e-12)


def test_missing_numbers_are_passed_over_column_by_column() -> None:
    rows = np.array([[1.0, np.nan, np.nan], [3.0, 4.0, np.nan], [np.nan, 8.0, np.nan]])

    found = Moments.of(rows)

    assert found.count.tolist() == [2, 2, 0]
    assert found.mean.tolist() == [2.0, 6.0, 0.0]
    assert found.variance.tolist() == [1.0, 4.0, 0.0]
    assert (found.low[:2].tolist(), found.high[:2].tolist()) == ([1.0, 4.0], [3.0, 8.0])
    assert (found.low[2], found.high[2]) == (np.inf, -np.inf)


def test_nothing_is_neutral() -> None:
    rows = load_breast_cancer().data
    found = Moments.of(rows)

    both = (found.merge(Moments.none(30)), Moments.none(30).merge(found))

    for other in both:
        for name in NAMES:
            assert np.array_equal(getattr(other, name), getattr(found, name))


def test_columns_can_be_put_beside_each_other() -> None:
    rows = load_breast_cancer().data

    found = Moments.beside([Moments.of(rows[:, :10]), Moments.of(rows[:, 10:])])

    for name in NAMES:
        np.testing.assert_allclose(getattr(found, name), getattr(Moments.of(rows), name), 1e-12)


def test_an_infinite_number_is_refused() -> None:
    with pytest.raises(ValueError, match="expected finite numbers"):
        Moments.of(np.array([1.0, -np.inf, 2.0]))


def test_the_deviation_of_a_constant_is_zero() -> None:
    assert Moments.of(np.full((1000, 2), 0.1)).std.tolist() == [0.0, 0.0]
    assert merged([np.full((n, 1), 0.1) for n in (7, 1, 9)]).std[0] == 0.0
