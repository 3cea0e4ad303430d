import numpy as np
import pytest

from zafu.compare.decide import Plan, Shown, escalated, finite, shown, undecided

SD = 0.016  # of the difference of two arms on the same seed, as measured on digits
PLAN = Plan(first=10, most=30)


def compared(seed: int, gap: float, arms: int = 2) -> tuple[int, dict[str, Shown]]:
    """A comparison of arms that differ by `gap`, seed by seed through the deciding code."""
    noise = np.random.default_rng(seed).normal(0, SD / 2**0.5, (arms, PLAN.most))
    values = {f"arm {i}": 0.93 + gap * (i > 0) + row for i, row in enumerate(noise)}

    def judge(n: int) -> dict[str, Shown]:
        return shown(PLAN, {name: own[:n] for name, own in values.items()}, higher=True)

    return escalated(PLAN, judge, open_=undecided)


@pytest.mark.parametrize("arms", [2, 4])
def test_a_against_a_is_not_shown_in_at_least_93_of_100(arms: int) -> None:
    found = [compared(seed, 0.0, arms)[1] for seed in range(100)]

    silent = sum(all(s.verdict == "not shown" for s in one.values()) for one in found)
    assert silent >= 93


def test_three_points_are_found_in_at_least_90_of_100() -> None:
    found = [compared(seed, 0.03)[1]["arm 1"] for seed in range(100)]

    assert sum(one.verdict == "better" for one in found) >= 90


def test_all_looks_together_err_no_more_often_than_one_may() -> None:
    wrong = sum(compared(seed, 0.0)[1]["arm 1"].verdict != "not shown" for seed in range(2000))

    assert wrong / 2000 <= 0.05


def test_a_clear_difference_needs_no_further_seeds_and_equal_arms_take_them_all() -> None:
    assert compared(0, 0.2)[0] == 10
    assert compared(0, 0.0)[0] == 30


def test_where_no_more_may_be_spent_the_first_look_is_the_last() -> None:
    values = {"a": np.zeros(30), "b": np.random.default_rng(0).normal(0, 1, 30)}

    n, found = escalated(
        PLAN,
        lambda n: shown(PLAN, {k: v[:n] for k, v in values.items()}, higher=True),
        open_=undecided,
        may=lambda: False,
    )

    assert n == 10
    assert found["b"].verdict == "not shown"


def test_a_verdict_and_its_interval_agree() -> None:
    for seed in range(50):
        one = compared(seed, 0.01)[1]["arm 1"]
        assert one.difference.low is not None
        assert one.difference.high is not None
        assert (one.verdict == "better") == (one.difference.low > 0)
        assert (one.verdict == "worse") == (one.difference.high < 0)


def test_less_is_better_where_the_metric_says_so() -> None:
    values = {"a": np.arange(10) / 1000, "b": np.arange(10) / 1000 - 0.5 + np.arange(10) / 9e3}

    assert shown(PLAN, values, higher=False)["b"].verdict == "better"
    assert shown(PLAN, values, higher=False)["b"].superiority.value == 1


def test_a_seed_that_diverged_counts_as_the_worst_value_seen() -> None:
    values = {"a": [0.9, 0.8], "b": [0.7, float("nan")]}

    assert finite(values, higher=True)["b"].tolist() == [0.7, 0.7]
    assert finite(values, higher=False)["b"].tolist() == [0.7, 0.9]


def test_the_last_look_is_at_most_so_many_seeds() -> None:
    assert Plan(first=10, most=30).looks == [10, 20, 30]
    assert Plan(first=10, most=25).looks == [10, 20, 25]
    assert Plan(first=10, most=5).looks == [10]
