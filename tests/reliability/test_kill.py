"""R1: a training that is killed anywhere goes on by itself and ends with the same bytes."""

from __future__ import annotations

from pathlib import Path

import kill
import pytest
import trial
from conftest import Workshop
from forks import Forks


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_bytes(forks: Forks, tmp_path: Path) -> None:
    found = list(kill.trials(forks, tmp_path, kills=12, seed=1))

    figures = kill.summary(found)
    assert figures["kills"] >= 12
    assert figures["inside_a_save"] >= 6
    assert figures["finished_unattended"] == figures["byte_identical"] == figures["runs"]
    went_on = figures["starts_that_went_on_from_the_newest_checkpoint"]
    assert went_on == figures["starts_judged"]
    assert figures["steps_lost_max"] <= figures["save_interval"]


@pytest.mark.slow
def test_killed_while_a_save_is_written_beside_training(forks: Forks, tmp_path: Path) -> None:
    """What may be lost beside an interval are the steps made while a save was written."""
    found = list(kill.trials(forks, tmp_path, kills=8, seed=2, words=trial.WIDE))

    figures = kill.summary(found)
    assert figures["inside_a_save"] >= 4
    assert figures["finished_unattended"] == figures["byte_identical"] == figures["runs"]
    went_on = figures["starts_that_went_on_from_the_newest_checkpoint"]
    assert went_on == figures["starts_judged"]
    assert figures["steps_lost_max"] <= 2 * figures["save_interval"]


def test_killed_after_its_end_it_says_that_it_is_finished(short: Workshop) -> None:
    child, _ = short.run("undisturbed")

    assert child.code == 0
    assert "is finished" in child.said()
