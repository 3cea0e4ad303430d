"""Means of weights: which members are in it, and that a greedy one is never below the best."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from zafu.fuse.soup import average, flat, greedy


@settings(deadline=None)
@given(st.lists(st.floats(-9, 9), min_size=1, max_size=6), st.integers(0, 99))
def test_a_greedy_soup_is_never_below_the_best_member(points: list[float], seed: int) -> None:
    peak = float(torch.Generator().manual_seed(seed).initial_seed() % 7 - 3)
    states = [{"w": torch.tensor([point])} for point in points]

    def value(state: dict[str, Tensor]) -> float:
        return -abs(state["w"].item() - peak)

    order = sorted(range(len(points)), key=lambda i: -value(states[i]))
    kept = greedy(order, states, value)

    assert value(average([states[i] for i in sorted(kept)])) >= value(states[order[0]]) - 1e-5
    assert order[0] in kept


def test_members_on_both_sides_of_the_best_weights_are_all_kept() -> None:
    states = [{"w": torch.tensor([x])} for x in (-1.0, 1.0, 30.0)]

    kept = greedy([0, 1, 2], states, lambda state: -abs(state["w"].item()))

    assert kept == {0, 1}


def test_a_mean_is_of_floats_alone_and_summed_in_double_precision() -> None:
    states = [
        {"w": torch.full((2,), value, dtype=torch.float32), "n": torch.tensor(3)}
        for value in (1e8, 1.0, -1e8, 1.0)
    ]

    found = average(states)

    assert found["w"].tolist() == [0.5, 0.5]  # in float32 the first 1.0 would be lost
    assert found["w"].dtype == torch.float32
    assert found["n"].item() == 3


def test_one_state_is_its_own_mean() -> None:
    state = {"w": torch.randn(5)}

    assert torch.equal(average([state])["w"], state["w"])


def test_plain_data_by_its_paths() -> None:
    assert flat({"a": [1, {"b": 2}], "c": None}) == {"a.0": 1, "a.1.b": 2, "c": None}


@pytest.mark.parametrize("count", [2, 5])
def test_identical_members_average_to_themselves(count: int) -> None:
    state = {"w": torch.randn(50)}

    torch.testing.assert_close(average([state] * count)["w"], state["w"], rtol=0, atol=1e-7)
