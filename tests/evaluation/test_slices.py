import numpy as np
import pytest
import torch
from scipy.stats import binom

from zafu.evaluation import slices
from zafu.task import Classification, Regression

TASK = Classification()


def right(share_of: dict[str, float], each: int) -> tuple[np.ndarray, np.ndarray]:
    """Answers to samples of several names, of which a share is right; and the names."""
    names = np.repeat(np.array(list(share_of), object), each)
    hits = np.concatenate([np.arange(each) < round(s * each) for s in share_of.values()])
    logits = torch.from_numpy(np.stack([hits, ~hits], 1).astype(np.float32))
    return TASK.answer(logits, torch.zeros(len(names)).long()).numpy(), names


def test_the_part_that_fares_worse_is_shown_and_the_others_are_not() -> None:
    answers, names = right({"a": 0.9, "b": 0.92, "c": 0.6}, 100)

    said = slices.judged(TASK, "accuracy", answers, slices.groups(names))

    marks = {part["name"]: part["worse"] for part in said["parts"]}
    assert marks == {"a": "no", "b": "no", "c": "shown"}
    assert said["all"] == pytest.approx((0.9 + 0.92 + 0.6) / 3)


def test_what_seems_worse_among_many_parts_is_said_to_be_uncorrected() -> None:
    shares = {f"part {i:02}": 0.9 for i in range(11)} | {"part 11": 0.76}
    answers, names = right(shares, 50)

    said = slices.judged(TASK, "accuracy", answers, slices.groups(names))

    assert [part["worse"] for part in said["parts"]] == [*["no"] * 11, "uncorrected"]


def test_parts_as_good_as_the_whole_are_rarely_marked() -> None:
    random = np.random.default_rng(0)
    marked = 0
    for _ in range(200):
        hits = random.random(600) < 0.9
        logits = torch.from_numpy(np.stack([hits, ~hits], 1).astype(np.float32))
        answers = TASK.answer(logits, torch.zeros(600).long()).numpy()
        parts = slices.groups(random.integers(0, 10, 600).astype(float))
        said = slices.judged(TASK, "accuracy", answers, parts)
        marked += any(part["worse"] == "shown" for part in said["parts"])

    assert marked <= binom.ppf(0.999, 200, 0.025)


def test_numbers_are_cut_into_quarters_and_what_is_missing_is_a_part() -> None:
    values = np.append(np.arange(100.0), [np.nan, np.nan])

    found = slices.groups(values)

    names = [name for name, _ in found]
    assert names == ["≤ 24.75", "24.75 – 49.5", "49.5 – 74.25", "> 74.25", "missing"]
    assert [int(inside.sum()) for _, inside in found] == [25, 25, 25, 25, 2]
    assert np.sum([inside for _, inside in found], 0).tolist() == [1] * 102


def test_few_numbers_are_names_in_their_order_and_rare_texts_stand_together() -> None:
    months = slices.groups(np.array([10.0, 9.0, 9.0, 2.0, np.nan]))
    words = slices.groups(np.array([f"w{i}" for i in range(30)] * 2 + [None] * 5, object))

    assert [name for name, _ in months] == ["2", "9", "10", "missing"]
    assert len(words) == slices.MOST + 1
    assert words[-1][0] == f"{31 - slices.MOST} other values"
    assert np.sum([inside for _, inside in words], 0).tolist() == [1] * 65


def test_a_metric_that_a_part_does_not_define_leaves_it_out() -> None:
    answers, names = right({"a": 0.5, "b": 0.5}, 20)
    answers[5:20, 2] = 1  # the second part has only one class

    said = slices.judged(TASK, "roc_auc_score", answers, slices.groups(names))

    assert [part["name"] for part in said["parts"]] == ["a"]


def test_where_less_is_better_more_is_worse() -> None:
    random = np.random.default_rng(0)
    true = random.normal(size=300)
    noise = random.normal(size=300) * np.where(np.arange(300) < 100, 3, 1)
    answers = np.stack([true + noise, true], 1)
    names = np.array(["noisy"] * 100 + ["quiet"] * 200, object)

    said = slices.judged(Regression(), "rmse", answers, slices.groups(names))

    assert {part["name"]: part["worse"] for part in said["parts"]} == {
        "noisy": "shown",
        "quiet": "no",
    }
