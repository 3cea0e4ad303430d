"""Stochastic depth and recomputation."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zafu.nets.depth import drop_path, drop_path_rates


@settings(deadline=None, max_examples=25)
@given(st.floats(0.01, 0.99), st.integers(1, 9), st.integers(0, 99))
def test_each_sample_is_dropped_whole_or_scaled_whole(rate: float, size: int, seed: int) -> None:
    torch.manual_seed(seed)
    branch = torch.randn(size, 3, 2).abs() + 1

    dropped = drop_path(branch, rate, training=True)

    for before, after in zip(branch, dropped, strict=True):
        whole = before / (1 - rate)
        assert torch.equal(after, torch.zeros_like(after)) or torch.allclose(after, whole)


def test_the_mean_over_many_samples_is_the_branch() -> None:
    torch.manual_seed(0)
    branch = torch.ones(100_000, 1)

    mean = drop_path(branch, 0.3, training=True).mean()

    # standard error of the mean: sqrt(0.3 / 0.7 / 100,000) = 0.002; four of them
    assert mean.item() == pytest.approx(1, abs=0.0083)


def test_nothing_is_dropped_in_evaluation_or_at_rate_0() -> None:
    branch = torch.randn(4, 2)

    assert drop_path(branch, 0.9, training=False) is branch
    assert drop_path(branch, 0.0, training=True) is branch


def test_rates_grow_linearly_up_to_the_last_layer() -> None:
    assert drop_path_rates(0.4, 4) == pytest.approx([0.1, 0.2, 0.3, 0.4])
