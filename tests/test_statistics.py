from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from zafu import statistics
from zafu.statistics import (
    corrected,
    flips,
    holm,
    mcnemar,
    mean,
    paired,
    paired_bootstrap,
    superiority,
    verdict,
)


def normal(seed: int, n: int, centre: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(centre, 1, n)


def test_the_paired_test_is_scipys() -> None:
    d = normal(0, 10, 0.3)
    known: Any = stats.ttest_1samp(d, 0)

    found = paired(d)

    interval = known.confidence_interval()
    assert found.p == pytest.approx(known.pvalue, rel=1e-9)
    assert found.size.low == pytest.approx(interval.low, rel=1e-9)
    assert found.size.high == pytest.approx(interval.high, rel=1e-9)


def test_the_corrected_test_is_its_formula() -> None:
    d = normal(1, 25, 0.4)
    t = d.mean() / np.sqrt(d.var(ddof=1) * (1 / 25 + 20 / 80))

    found = corrected(d, n_test=20, n_train=80)

    half = stats.t.ppf(0.975, 24) * d.mean() / t
    assert found.p == pytest.approx(2 * stats.t.sf(abs(t), 24), rel=1e-9)
    assert found.size.high == pytest.approx(d.mean() + half, rel=1e-9)


def test_equal_learners_are_told_apart_by_the_corrected_test_as_rarely_as_it_says() -> None:
    """The null simulation: 5 x 5 folds of 200 rows, two learners that are right equally often."""
    random, naive, right = np.random.default_rng(0), 0, 0
    for _ in range(300):
        differences = folds(random)
        naive += paired(differences).p < 0.05
        right += corrected(differences, n_test=40, n_train=160).p < 0.05

    assert 0.3 < naive / 300 < 0.6
    assert right / 300 <= 0.06


def folds(random: np.random.Generator) -> np.ndarray:
    """Differences of two nearest-mean classifiers that see one of two equally good columns."""
    y = random.integers(0, 2, 200)
    x = random.normal(0, 1, (200, 2)) + y[:, None] * 0.7
    found: list[float] = []
    for _ in range(5):
        for test in np.split(random.permutation(200), 5):
            seen = np.ones(200, bool)
            seen[test] = False
            centres = [x[seen & (y == k)].mean(0) for k in (0, 1)]
            guess = abs(x[test] - centres[1]) < abs(x[test] - centres[0])
            a, b = (guess == (y[test, None] == 1)).mean(0)
            found.append(a - b)
    return np.array(found)


def test_sign_flips_are_scipys_permutations() -> None:
    d = normal(2, 10, 0.5)
    known = stats.permutation_test(
        (d,), np.mean, permutation_type="samples", n_resamples=2**12, vectorized=False
    )

    found = flips(d)

    assert found.p == pytest.approx(known.pvalue, abs=1e-12)
    assert found.size.low is not None
    assert found.size.high is not None
    assert flips(d - found.size.low).p == pytest.approx(0.05, abs=0.01)
    assert flips(d - found.size.high).p == pytest.approx(0.05, abs=0.01)


def test_few_seeds_have_no_interval_of_sign_flips() -> None:
    found = flips([0.1, 0.2, 0.3])

    assert found.p == 0.25
    assert found.size.low is None


def test_mcnemar_is_the_binomial_test_of_what_differs() -> None:
    random = np.random.default_rng(5)
    a, b = random.random(400) < 0.9, random.random(400) < 0.83
    won, many = int((a & ~b).sum()), int((a ^ b).sum())
    known = stats.binomtest(won, many)

    found = mcnemar(a, b)

    interval = known.proportion_ci(0.95, "exact")
    assert found.p == pytest.approx(known.pvalue, rel=1e-9)
    assert found.size.value == pytest.approx(a.mean() - b.mean())
    assert found.size.low == pytest.approx((2 * interval.low - 1) * many / 400)
    assert found.size.high == pytest.approx((2 * interval.high - 1) * many / 400)


def test_the_same_answers_are_never_told_apart() -> None:
    a = np.arange(50) % 3 == 0

    assert mcnemar(a, a).p == 1
    assert paired_bootstrap(a * 1.0, a * 1.0, lambda x: float(x.mean())).p == 1
    assert paired(np.zeros(10)).p == 1


def test_a_bootstrap_of_pairs_is_near_the_paired_t() -> None:
    a, b = normal(6, 500, 0.1), normal(7, 500)
    known = paired(a - b)

    found = paired_bootstrap(a, b, lambda x: float(x.mean()), draws=4000)

    assert found.size.low == pytest.approx(known.size.low, abs=0.02)
    assert found.size.high == pytest.approx(known.size.high, abs=0.02)
    assert found.p == pytest.approx(known.p, abs=0.02)


def test_holm_is_the_worked_example_of_four() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_keeps_the_order_and_is_never_below_the_uncorrected(ps: list[float]) -> None:
    found = holm(ps)

    assert all(p <= q <= 1 for p, q in zip(ps, found, strict=True))
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    assert [found[i] for i in order] == sorted(found)


def test_a_tie_is_half_a_win() -> None:
    assert superiority([1.0, 0.0, 0.0, -1.0]).value == 0.5
    assert superiority([1.0, 2.0], higher_is_better=False).value == 0


def test_a_verdict_needs_a_small_p_and_knows_which_way_is_up() -> None:
    assert verdict(0.01, 0.2, higher_is_better=True) == "better"
    assert verdict(0.01, 0.2, higher_is_better=False) == "worse"
    assert verdict(0.05, 0.2, higher_is_better=True) == "not shown"


def test_one_value_has_no_interval_and_no_number_is_refused() -> None:
    assert mean([3.0]).low is None
    for wrong in ([], [float("nan")]):
        with pytest.raises(ValueError, match="finite"):
            statistics.mean(wrong)
