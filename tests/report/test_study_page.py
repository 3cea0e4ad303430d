"""The page of a study: it shows what the study says, and bears whatever it is given."""

from __future__ import annotations

from typing import Any

import pytest

from zafu.measure import Measurement
from zafu.report.study import page
from zafu.report.study_figures import value_axis


def measured(value: float) -> dict[str, Any]:
    return Measurement(value=value, n=6, low=value - 0.01, high=value + 0.01, how="mean").dump()


def study(**changes: Any) -> dict[str, Any]:
    lr = "fit.optimizer.lr"
    trials = [
        {
            "number": number,
            "settings": {lr: 10.0**-number},
            "until": 1.0,
            "of": None,
            "state": "done" if number else "diverged",
            "value": 0.9 + number / 100 if number else None,
            "samples": 100,
            "updates": 10,
            "seconds": 0.5,
            "reason": "" if number else "<script>alert(1)</script>",
        }
        for number in range(5)
    ]
    first = {
        "trial": 4,
        "settings": {lr: 1e-4},
        "schedule": [[1.0, {lr: 1e-4}]],
        "searched": 0.94,
        "confirmed": measured(0.92),
        "values": [],
        "diverged": 1,
    }
    spent = {"trials": 5, "diverged": 1, "samples": 500, "updates": 50, "seconds": 2.5, "epochs": 5}
    return {
        "name": "digits-tune-1",
        "search": {"kind": "grid"},
        "space": [{"path": lr, "low": 1e-4, "high": 1.0, "log": True}],
        "metric": "accuracy",
        "higher_is_better": True,
        "winner": {**first, "test": measured(0.91)},
        "first": first,
        "optimism": measured(0.02),
        "confirmed": [first],
        "edges": ["the lr is at an edge"],
        "ledger": {"search": spent, "confirm": {**spent, "trials": 6}},
        "trials": trials,
        **changes,
    }


def test_it_says_what_a_person_would_quote() -> None:
    text = page(study())

    assert "The best of 5 settings has accuracy 91" in text
    assert "too hopeful by 2" in text
    assert "the lr is at an edge" in text
    assert "1 diverged" in text


def test_what_is_not_shown_is_said_not_to_be() -> None:
    gap = {**measured(0.002), "low": -0.01, "high": 0.014}

    assert "That it was too hopeful is not shown" in page(study(optimism=gap))


def test_a_trial_that_diverged_is_listed_and_its_reason_is_text() -> None:
    text = page(study())

    assert "&lt;script&gt;" in text
    assert "<script>" not in text


def test_the_same_study_gives_the_same_bytes() -> None:
    assert page(study()) == page(study())


@pytest.mark.parametrize("gone", [*study()])
def test_a_part_that_is_missing_or_of_another_kind_is_left_out(gone: str) -> None:
    facts = study()
    del facts[gone]

    assert page(facts).startswith("<!doctype html>")
    assert page(study(**{gone: 3})).startswith("<!doctype html>")


def test_an_axis_shows_the_better_half_however_bad_the_worst_are() -> None:
    axis = value_axis([0.95, 0.94, 0.93, 0.92, -1e6], higher=True)

    assert axis.low > 0.8
