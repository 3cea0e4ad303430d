import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.preprocessing import (
    MinMaxScaler,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from zafu.data import normalize
from zafu.data.moments import Moments
from zafu.data.normalize import STREAMED, Normalize, Scaler

KINDS = ("z-score", "min-max", "min-max-symmetric", "robust", "quantile", "quantile-normal")
REFERENCE = {
    "z-score": StandardScaler(),
    "min-max": MinMaxScaler(),
    "min-max-symmetric": MinMaxScaler((-1, 1)),
    "robust": RobustScaler(),
    "quantile": QuantileTransformer(n_quantiles=1000, subsample=None),
    "quantile-normal": QuantileTransformer(
        n_quantiles=1000, subsample=None, output_distribution="normal"
    ),
}


def columns() -> np.ndarray:
    """Real columns, one of them mostly zeros, and more rows than reference quantiles."""
    rows = np.concatenate([load_breast_cancer().data[:, :10]] * 3)
    rows[:1000, 3] = 0.0
    return np.random.default_rng(0).permuted(rows, axis=0)


@pytest.mark.parametrize("kind", KINDS)
def test_scales_equal_those_of_scikit_learn(kind: Normalize) -> None:
    """Parity to 1e-12 on the fitted rows and on values beyond them."""
    rows = columns()
    beyond = np.concatenate([rows, rows * 2 + 1, -rows - 1])
    count = min(1000, len(rows))
    reference = REFERENCE[kind].set_params(**({"n_quantiles": count} if "quan" in kind else {}))
    expected = reference.fit(rows).transform(beyond)

    scalers = [normalize.fit(kind, column) for column in rows.T]
    found = np.stack([s.apply(c) for s, c in zip(scalers, beyond.T, strict=True)], 1)

    if kind == "quantile-normal":  # the outermost values stand for probabilities of 1e-7
        inside = np.abs(expected) < 5
        assert np.array_equal(np.abs(found) < 5, inside)
        np.testing.assert_allclose(found[inside], expected[inside], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found[~inside], expected[~inside], atol=1e-5)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(
    values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=60),
    kind=st.sampled_from((*KINDS, "none")),
)
def test_what_is_applied_is_inverted(values: list[float], kind: Normalize) -> None:
    column = np.array(values)
    scaler = normalize.fit(kind, column)

    back = scaler.invert(scaler.apply(column))

    if "quantile" in kind and len(set(values)) < len(values):
        order = np.argsort(column)  # equal values share a probability; their order stays
        assert (np.diff(back[order]) >= -1e-6).all()
    else:
        size = np.abs(column).max()
        np.testing.assert_allclose(back, column, rtol=1e-5, atol=2e-5 * size)


@pytest.mark.parametrize("kind", sorted(STREAMED))
def test_a_scaler_of_parts_is_that_of_the_whole(kind: Normalize) -> None:
    rows = columns()
    parts = Moments.of(rows[:500]).merge(Moments.of(rows[500:]))

    scalers = normalize.of_moments(kind, parts)

    for scaler, column in zip(scalers, rows.T, strict=True):
        whole = normalize.fit(kind, column)
        assert scaler.center == pytest.approx(whole.center, rel=1e-12)
        assert scaler.scale == pytest.approx(whole.scale, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_column_stays_finite(kind: Normalize) -> None:
    scaler = normalize.fit(kind, np.full(100, 0.1))

    assert np.isfinite(scaler.apply(np.array([0.1, 0.0, 7.0]))).all()


def test_limits_are_met() -> None:
    column = load_diabetes().data[:, 2]

    ranges = {
        kind: normalize.fit(kind, column).apply(column)
        for kind in ("min-max", "min-max-symmetric", "quantile")
    }

    expected = {"min-max": (0, 1), "min-max-symmetric": (-1, 1), "quantile": (0, 1)}
    for kind, found in ranges.items():
        np.testing.assert_allclose((found.min(), found.max()), expected[kind], atol=1e-15)


def test_quantiles_ask_for_the_whole_column() -> None:
    with pytest.raises(ValueError, match=r"expected one of .*z-score, found robust"):
        normalize.of_moments("robust", Moments.of(columns()))


def test_a_scaler_prints_and_parses() -> None:
    scaler = normalize.fit("quantile-normal", load_diabetes().data[:, 2])

    assert Scaler.parse(scaler.dump()) == scaler


def test_missing_values_stay_missing() -> None:
    for kind in KINDS:
        scaler = normalize.fit(kind, np.arange(20.0))

        assert np.isnan(scaler.apply(np.array([np.nan, 3.0]))).tolist() == [True, False]
