import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from zafu.evaluation import calibration
from zafu.task import Classification

TASK = Classification()


def answers(n: int, classes: int, *, heat: float, seed: int) -> np.ndarray:
    """Answers whose logits, divided by `heat`, are those by which the classes were drawn."""
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, classes, generator=random, dtype=torch.float64) * 2
    true = torch.multinomial(logits.softmax(1), 1, generator=random)[:, 0]
    return TASK.answer(logits * heat, true).numpy()


@pytest.mark.parametrize("heat", [0.5, 1.0, 3.0])
def test_the_temperature_by_which_logits_were_heated_is_found_again(heat: float) -> None:
    found = calibration.fit(answers(6000, 5, heat=heat, seed=0), "validation")

    assert found.temperature == pytest.approx(heat, rel=0.06)
    assert (found.split, found.n) == ("validation", 6000)


def test_the_temperature_is_where_a_minimizer_of_scipy_finds_the_least_loss() -> None:
    given = answers(500, 4, heat=2.0, seed=3)
    _, true = TASK.classes(given)
    logs = np.log(given[:, 3:].astype(np.float64))

    def loss(log_factor: float) -> float:
        heated = logs * np.exp(log_factor)
        whole = np.log(np.exp(heated).sum(1))
        blind = 1 / (len(true) + 1)
        own = (1 - blind) * heated[np.arange(len(true)), true] + blind * heated.mean(1)
        return float((whole - own).mean())

    expected = minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9})
    found = calibration.fit(given, "validation").temperature
    assert found == pytest.approx(float(np.exp(-expected.x)), rel=1e-5)


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 8), st.floats(0.1, 10), st.integers(0, 1000))
def test_a_temperature_changes_no_answer_and_its_own_loss_is_that_of_its_shares(
    classes: int, degree: float, seed: int
) -> None:
    given = answers(60, classes, heat=1.0, seed=seed)

    found = calibration.cooled(given, degree)

    np.testing.assert_array_equal(found[:, 1:3], given[:, 1:3])
    np.testing.assert_array_equal(found[:, 3:].argmax(1), given[:, 1])
    np.testing.assert_allclose(found[:, 3:].sum(1), 1)
    own = found[np.arange(60), 3 + found[:, 2].astype(int)]
    np.testing.assert_allclose(found[:, 0], -np.log(np.maximum(own, calibration.TINY)))


def test_a_temperature_of_1_leaves_the_probabilities_as_they_are() -> None:
    given = answers(40, 6, heat=1.5, seed=1)

    np.testing.assert_allclose(calibration.cooled(given, 1.0), given, atol=1e-6)


def test_a_split_without_a_mistake_does_not_ask_for_certainty() -> None:
    logits = torch.eye(4).repeat(50, 1) * 3
    given = TASK.answer(logits, torch.arange(4).repeat(50)).numpy()

    found = calibration.fit(given, "validation")

    assert 0.3 < found.temperature < 1


def test_bins_hold_every_sample_once_and_their_gaps_make_the_error() -> None:
    given = answers(400, 5, heat=3.0, seed=2)

    found = calibration.bins(given)

    sizes = [one["accuracy"]["n"] for one in found]
    gaps = [abs(one["confidence"] - one["accuracy"]["value"]) for one in found]
    assert sum(sizes) == 400
    assert all(one["low"] < one["confidence"] <= one["high"] + 1e-6 for one in found)
    expected = sum(n * gap for n, gap in zip(sizes, gaps, strict=True)) / 400
    assert TASK.score("ece", given, units=400) == pytest.approx(expected)


def test_overconfident_answers_are_mended_on_samples_that_were_not_seen() -> None:
    fitted = calibration.fit(answers(2000, 5, heat=3.0, seed=4), "validation")

    said = calibration.described(answers(2000, 5, heat=3.0, seed=5), fitted)

    for name in calibration.SCORES:
        before, after = (said[when]["scores"][name] for when in ("before", "after"))
        assert after["high"] < before["low"], name
