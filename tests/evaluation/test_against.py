import numpy as np
import torch
from scipy.stats import binom

from zafu.evaluation.against import compared, difference
from zafu.task import Classification, Regression

TASK = Classification()


def said(hits: np.ndarray) -> np.ndarray:
    """Answers to samples of the first class that are right where `hits` is true."""
    logits = torch.from_numpy(np.stack([hits, ~hits], 1).astype(np.float32) * 2)
    return TASK.answer(logits, torch.zeros(len(hits)).long()).numpy()


def test_a_better_model_is_found_better_and_seen_from_the_other_side_worse() -> None:
    random = np.random.default_rng(0)
    good, bad = random.random(500) < 0.9, random.random(500) < 0.8

    there = compared(TASK, TASK.metrics, said(good), said(bad), units=500)
    back = compared(TASK, TASK.metrics, said(bad), said(good), units=500)

    verdicts = {row["metric"]: row["verdict"] for row in there}
    assert verdicts["accuracy"] == verdicts["loss"] == verdicts["brier"] == "better"
    assert [row["difference"]["value"] for row in back] == [
        -row["difference"]["value"] for row in there
    ]
    assert {row["metric"]: row["verdict"] for row in back}["accuracy"] == "worse"


def test_a_model_against_itself_differs_by_0_and_nothing_is_shown() -> None:
    answers = said(np.random.default_rng(0).random(80) < 0.7)

    found = compared(TASK, ["accuracy", "loss", "roc_auc_score"], answers, answers, units=80)

    assert {row["verdict"] for row in found} == {"not shown"}
    assert [row["difference"]["value"] for row in found] == [0.0] * len(found)
    assert "roc_auc_score" not in {row["metric"] for row in found}  # there is only one class


def test_pairs_show_what_two_intervals_do_not() -> None:
    random = np.random.default_rng(0)
    true, noise = random.normal(size=400), random.normal(size=400)
    answers = [np.stack([true + noise * size, true], 1) for size in (1.0, 1.05)]
    task = Regression()

    first, second = (task.row("mae", x, units=400) for x in answers)

    alone = first.measured(), second.measured()
    assert alone[0].high > alone[1].low  # apart, they overlap
    found = difference(first, second)
    assert found.high is not None
    assert found.high < 0


def test_of_two_equally_good_models_one_is_rarely_called_better() -> None:
    random = np.random.default_rng(1)
    task, wrong = Regression(), 0
    for _ in range(100):
        true, a, b = random.normal(size=(3, 150))
        answers = [np.stack([true + x, true], 1) for x in (a, b)]
        (row,) = compared(task, ["rmse"], *answers, units=150)
        wrong += row["verdict"] != "not shown"

    assert wrong <= binom.ppf(0.999, 100, 0.05)
