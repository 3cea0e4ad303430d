import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from zafu.evaluation import curves


@settings(deadline=None, max_examples=30)
@given(st.integers(4, 300), st.integers(1, 40), st.integers(0, 1000))
def test_the_areas_are_those_of_scikit_learn_with_ties_too(n: int, values: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    scores = random.integers(0, values, n) / values
    positive = random.random(n) < 0.3 + 0.4 * scores
    positive[:2] = [True, False]

    found = curves.curve(scores, positive)

    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(positive, scores))
    expected = metrics.average_precision_score(positive, scores)
    assert found["average_precision"] == pytest.approx(expected)
    assert found["positives"] == positive.sum()


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    random = np.random.default_rng(0)
    positive = random.random(5000) < 0.5

    found = curves.curve(random.random(5000) + positive, positive)

    x, y = found["roc"]
    assert len(x) == len(y) <= curves.POINTS
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(y, x) == pytest.approx(found["roc_auc"], abs=0.01)


def test_of_two_classes_the_second_is_sought_of_many_none_and_an_absent_one_is_left_out() -> None:
    shares = np.full((6, 3), 1 / 3)

    two = curves.thresholds(np.array([[0.4, 0.6], [0.7, 0.3]]), np.array([1, 0]), ["no", "yes"])
    three = curves.thresholds(shares, np.array([0, 0, 1, 1, 1, 0]), ["a", "b", "c"])
    many = curves.thresholds(np.eye(11), np.arange(11), [str(i) for i in range(11)])

    assert [one["label"] for one in two] == ["yes"]
    assert [one["label"] for one in three] == ["a", "b"]
    assert many == []


def test_numbers_are_shown_evenly_over_the_samples() -> None:
    true = np.arange(10_000.0)

    found = curves.numbers(true + 1, true, "y")

    assert len(found["true"]) == curves.SHOWN
    assert (found["samples"], found["true"][0], found["true"][-1]) == (10_000, 0, 9999)
