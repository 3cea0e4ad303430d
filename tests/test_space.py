"""Spaces: what a user writes, what it stands for, and what is refused before anything is spent."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zafu.errors import RecipeError
from zafu.recipe import Recipe
from zafu.space import Choice, Range, Space, applied

SHARES = st.floats(0, 1, exclude_max=True)


def digits(**fit: object) -> Recipe:
    return Recipe.parse(
        {
            "task": "classification",
            "data": {"kind": "digits", "split": {"validation": 0.2, "test": 0.2}},
            "model": {"kind": "mlp", "width": 16},
            "fit": {"optimizer": "adamw", "batch": 64, "epochs": 2, **fit},
        }
    )


@given(share=SHARES)
def test_a_range_by_ratio_is_even_in_the_logarithm(share: float) -> None:
    one = Range(path="x", low=1e-4, high=1.0, log=True)

    value = one.value(share)

    assert 1e-4 <= value <= 1.0
    assert math.log10(value) == pytest.approx(-4 + 4 * share, abs=1e-3)
    assert one.unit(value) == pytest.approx(share, abs=1e-3)


@given(share=SHARES, low=st.integers(-50, 50), many=st.integers(1, 60), log=st.booleans())
def test_whole_numbers_stay_whole_and_come_back(
    share: float, low: int, many: int, log: bool
) -> None:
    low = max(low, 1) if log else low
    one = Range(path="x", low=low, high=low + many, log=log, whole=True)

    value = one.value(share)

    assert isinstance(value, int)
    assert low <= value <= low + many
    assert one.value(one.unit(value)) == value


@given(share=SHARES)
def test_steps_begin_at_the_low_end(share: float) -> None:
    one = Range(path="x", low=0.1, high=0.75, step=0.2)

    assert one.value(share) in (0.1, 0.3, 0.5, 0.7)
    assert one.value(one.unit(one.value(share))) == one.value(share)


def test_both_ends_are_among_the_levels_of_a_grid() -> None:
    assert Range(path="x", low=1e-4, high=1.0, log=True).levels(3) == [1e-4, 0.01, 1.0]
    assert Range(path="x", low=32, high=96, step=32, whole=True).levels(9) == [32, 64, 96]
    assert Choice(path="x", values=("a", "b")).levels(9) == ["a", "b"]


def test_a_field_of_whole_numbers_gets_whole_numbers() -> None:
    space = Space.parse(
        ["fit.batch=log:8:128", "model.dropout=0:1e-1", "model.width=8:32:8"], digits()
    )

    settings = space.at([0.3, 0.3, 0.3])

    assert [type(value) for value in settings.values()] == [int, float, int]
    assert applied(digits(), settings).fit.batch == settings["fit.batch"]


def test_a_setting_that_only_one_choice_has_is_left_out_beside_the_others() -> None:
    texts = ["fit.optimizer.momentum=0:0.9", "fit.optimizer.kind=sgd,adamw"]
    space = Space.parse(texts, digits())

    with_, without = space.at([0.5, 0.2]), space.at([0.5, 0.8])

    assert with_ == {"fit.optimizer.momentum": 0.45, "fit.optimizer.kind": "sgd"}
    assert without == {"fit.optimizer.kind": "adamw"}
    assert applied(digits(), with_).fit.optimizer.dump()["momentum"] == 0.45
    assert len(list(space.grid(4))) == 4 + 1


def test_a_choice_may_be_of_whole_techniques() -> None:
    text = "fit.optimizer={kind: sgd, lr: 0.1, momentum: 0.9},{kind: adamw}"
    space = Space.parse([text], digits())

    recipes = [applied(digits(), settings) for settings in space.grid(2)]

    assert [recipe.fit.optimizer.kind for recipe in recipes] == ["sgd", "adamw"]


def test_every_fault_is_said_at_once_and_nothing_is_begun() -> None:
    texts = [
        "fit.optimizr.lr=log:1e-4:1",
        "model.dropout=0:2",
        "model.width=8:20.5",
        "model.kind=mlp,mpl",
        "fit.epochs=5:1",
        "task.label_smoothing=log:0:0.5",
        "nothing",
        "fit.batch=8:64",
        "fit.batch=8,16",
    ]

    with pytest.raises(RecipeError) as error:
        Space.parse(texts, digits())

    said = str(error.value)
    for part in (
        "did you mean optimizer?",
        "model.dropout: expected a number < 1, found 2",
        "model.width: expected whole numbers, found 20.5",
        "did you mean mlp?",
        "fit.epochs: expected low < high",
        "task.label_smoothing: expected 0 < low < high",
        "found 'nothing'",
        "fit.batch: expected each path once",
    ):
        assert part in said
    assert len(error.value.faults) == 8


def test_values_near_an_end_are_at_the_edge_by_the_scale_of_their_range() -> None:
    space = Space.parse(["fit.optimizer.lr=log:1e-4:1", "model.dropout=0:0.5"], digits())

    assert space.edges({"fit.optimizer.lr": 1.2e-4, "model.dropout": 0.25}) == ["fit.optimizer.lr"]
    assert space.edges({"fit.optimizer.lr": 0.03, "model.dropout": 0.49}) == ["model.dropout"]
