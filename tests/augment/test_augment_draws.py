"""Chance from counters, and quantiles of the Beta distribution."""

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zafu.augment.runtime.beta import symmetric_beta
from zafu.augment.runtime.draws import bits, chance, normal, threshold
from zafu.hashing import mix

CPU = torch.device("cpu")
GAMMA = np.uint64(0x9E3779B97F4A7C15)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5), st.integers(1, 70))
def test_bits_on_tensors_are_those_of_hashing(numbers: list[int], count: int) -> None:
    keys = np.array(numbers, np.uint64)

    found = bits(keys, count, CPU).numpy().view(np.uint64)

    counters = np.arange(count, dtype=np.uint64) * GAMMA
    assert np.array_equal(found, mix(keys[:, None] + counters))


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 9), st.integers(1, 50), st.integers(0, 2**32))
def test_normal_numbers_are_the_same_in_any_batch(batch: int, count: int, seed: int) -> None:
    keys = mix(np.arange(seed, seed + batch, dtype=np.uint64))
    like = torch.zeros(1)

    found = normal(keys, count, like)

    alone = torch.cat([normal(keys[i : i + 1], count, like) for i in range(batch)])
    assert torch.equal(found, alone)


def test_normal_numbers_pass_a_test_of_kolmogorov_and_smirnov() -> None:
    found = normal(mix(np.arange(50, dtype=np.uint64)), 2001, torch.zeros(1, dtype=torch.float64))

    assert found.isfinite().all()
    assert scipy.stats.kstest(found.flatten().numpy(), "norm").pvalue > 0.001


def test_a_share_of_chance_lies_below_its_threshold() -> None:
    found = chance(mix(np.arange(100, dtype=np.uint64)), 1000, CPU) < threshold(0.3)

    assert found.double().mean().item() == pytest.approx(0.3, abs=4 * (0.21 / 1e5) ** 0.5)


@settings(deadline=None, max_examples=50)
@given(st.floats(0.05, 32), st.lists(st.floats(2**-53, 1 - 2**-53), min_size=1, max_size=9))
def test_quantiles_of_beta_are_scipys(alpha: float, uniform: list[float]) -> None:
    found = symmetric_beta(torch.tensor(uniform, dtype=torch.float64), alpha).numpy()

    expected = scipy.stats.beta.ppf(uniform, alpha, alpha)
    assert found == pytest.approx(expected, abs=2e-5)


@settings(deadline=None, max_examples=25)
@given(st.floats(0.05, 32), st.integers(1, 40))
def test_a_quantile_is_the_same_in_any_batch(alpha: float, batch: int) -> None:
    uniform = torch.rand(batch, dtype=torch.float64)

    found = symmetric_beta(uniform, alpha)

    alone = torch.cat([symmetric_beta(uniform[i : i + 1], alpha) for i in range(batch)])
    assert torch.equal(found, alone)
