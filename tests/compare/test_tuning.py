from pathlib import Path

import pytest

from zafu.compare import tuning
from zafu.compare.arms import LR, Arm, arms, varied
from zafu.compare.kept import Record
from zafu.source import parse_yaml

RECIPE = """
task: classification
data: {kind: digits}
model: {kind: mlp, width: 16}
fit: {epochs: 2}
"""


def pair() -> list[Arm]:
    return arms(parse_yaml(RECIPE), varied(["fit.optimizer.kind=sgd,adam"]))


def scored(value: float | None) -> Record:
    return Record(values={"validation": value}, samples=1, updates=1, seconds=1.0)


def test_arms_are_tried_at_the_same_points_of_their_own_ranges() -> None:
    sgd, adam = pair()

    found = [[one[LR] for one in tuning.asked(arm, 8)] for arm in (sgd, adam)]

    assert sgd.space is not None
    assert adam.space is not None
    points = [
        [arm.space.point({LR: lr})[0] for lr in lrs]
        for arm, lrs in ((sgd, found[0]), (adam, found[1]))
        if arm.space
    ]
    assert points[0] == pytest.approx(points[1], abs=1e-3)
    assert found[0] != found[1]


def test_the_best_few_are_trained_again_before_one_is_chosen() -> None:
    arm, _ = pair()
    found = [scored(value) for value in (0.7, 0.9, 0.91, None, 0.8, 0.92)]

    wanted = tuning.second(arm, Path(), found, higher=True)

    assert sorted(wanted) == [(1, 0), (1, 1), (2, 0), (2, 1), (5, 0), (5, 1)]
    lucky = {key: scored(0.95 if key[0] == 1 else 0.6) for key in wanted}
    tuned = tuning.chosen(arm, found, lucky, higher=True)
    assert tuned.settings == tuning.asked(arm, 6)[1]
    assert tuned.recipe.fit.optimizer.lr == tuned.settings[LR]
    assert len(tuned.records) == 12


def test_less_is_better_where_it_is() -> None:
    assert tuning.ranked([3.0, None, 1.0, 2.0], higher=False) == [2, 3, 0, 1]


def test_the_width_of_good_learning_rates_is_their_share_of_the_range() -> None:
    arm, _ = pair()
    found = [scored(0.9 if at < 3 else 0.5) for at in range(6)]
    tuned = tuning.chosen(arm, found, {}, higher=True)

    width = tuning.lr_width(arm, tuned, higher=True)

    assert width is not None
    assert width.value == pytest.approx(0.5 * 3.477, abs=0.01)
    assert width.unit == "decades"


def test_without_trials_an_arm_is_as_it_was_given() -> None:
    arm, _ = pair()

    assert tuning.asked(arm, 0) == []
    assert tuning.chosen(arm, [], {}, higher=True).recipe == arm.recipe
