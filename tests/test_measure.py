import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from zafu.measure import Measurement, bootstrap, share


@given(st.integers(1, 3000), st.floats(0, 1))
def test_the_interval_of_a_share_is_wilsons(n: int, p: float) -> None:
    successes = round(p * n)

    found = share(successes, n)

    expected = binomtest(successes, n).proportion_ci(0.95, "wilson")
    assert found.low == pytest.approx(expected.low, abs=1e-12)
    assert found.high == pytest.approx(expected.high, abs=1e-12)
    assert found.low <= found.value <= found.high


def test_a_bootstrap_interval_of_a_mean_is_near_the_normal_one() -> None:
    data = np.random.default_rng(3).normal(5, 2, 4000)

    found = bootstrap((data,), lambda x: float(x.mean()))

    half = 1.96 * data.std() / len(data) ** 0.5
    assert found.low is not None
    assert found.high is not None
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)
    assert found.value == pytest.approx(data.mean())


def test_the_same_data_gives_the_same_interval() -> None:
    data = np.arange(50.0)

    assert bootstrap((data,), np.median) == bootstrap((data,), np.median)


def test_one_sample_has_no_interval() -> None:
    found = bootstrap((np.array([2.0]),), lambda x: float(x.mean()))

    assert (found.value, found.low, found.high) == (2.0, None, None)


def test_a_measurement_prints_its_interval_and_unit() -> None:
    found = Measurement(value=1.23456, unit="bits/byte", n=3, low=1.2, high=1.3, how="bootstrap")

    assert str(found) == "1.235 bits/byte [1.2, 1.3]"
