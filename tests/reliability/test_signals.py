"""R5: a signal saves the current step; the same command goes on; a second signal ends at once."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable

import pytest
import trial
from conftest import Workshop
from honest import honest
from inside import carried, run_of

from zafu.errors import Interrupted
from zafu.loop import Step
from zafu.pipeline import Began, events
from zafu.run import Run
from zafu.signals import HANDLED

SIGNALS = ("SIGTERM", "SIGINT", "SIGUSR1")


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("moment", ["data", "training", "training again", "save", "save again"])
def test_no_step_is_lost(name: str, moment: str, short: Workshop) -> None:
    chance = random.Random(f"{name} {moment}")  # noqa: S311
    label = f"{name}-{moment.replace(' ', '-')}"
    child, out = short.start(label)
    _until((out / "recipe.yaml").exists)  # signals are handled from here on
    if moment.startswith("training"):
        _until(lambda: trial.reached(out) >= chance.randint(1, 18))
    if moment.startswith("save"):
        _until(lambda: trial.saved(out) >= chance.choice([8, 10]) and trial.unfinished(out))

    child.send(signal.Signals[name])
    child.wait()

    assert child.code == 75, child.said()
    assert name in child.said()
    assert honest(child, out)
    assert trial.saved(out) == trial.reached(out)
    assert short.ends_identically(label)


@pytest.mark.parametrize("name", SIGNALS)
def test_after_the_last_step_it_finishes_or_can_be_finished(name: str, short: Workshop) -> None:
    label = f"{name}-shipping"
    child, out = short.start(label)
    _until((out / "model" / "card.json").exists)

    child.send(signal.Signals[name])
    child.wait()

    assert child.code in (0, 75), child.said()
    assert honest(child, out)
    assert short.ends_identically(label)


def test_three_signals_in_three_lives(workshop: Workshop) -> None:
    for step in (5, 22, 61):
        child, out = workshop.start("three")
        _until(lambda: trial.reached(out) >= step)  # noqa: B023  (it is called at once)
        child.send(signal.SIGTERM)
        child.wait()
        assert honest(child, out)
        assert trial.saved(out) == trial.reached(out)

    assert workshop.ends_identically("three")


@pytest.mark.parametrize(("first", "second"), [("SIGINT", "SIGTERM"), ("SIGUSR1", "SIGTERM")])
def test_a_second_signal_ends_at_once_and_leaves_the_last_checkpoint_whole(
    first: str, second: str, workshop: Workshop
) -> None:
    label = f"twice-{first}"
    child, out = workshop.start(label)
    _until(lambda: trial.saved(out) >= 16 and trial.reached(out) > trial.saved(out))

    child.send(signal.SIGSTOP)  # so that both signals meet it before it can act on the first
    child.send(signal.Signals[first])
    child.send(signal.Signals[second])
    child.send(signal.SIGCONT)
    begun = time.monotonic()
    child.wait()

    assert child.code == 128 + signal.Signals[second]
    assert time.monotonic() - begun < 1
    assert trial.saved(out) % 8 == 0  # no new checkpoint of this moment
    assert trial.status(out)["state"] == "running"  # it had no time to say otherwise
    assert workshop.ends_identically(label)


def test_an_evaluation_that_a_signal_ends_is_done_first_when_the_run_goes_on(
    short: Workshop,
) -> None:
    """Step 10 is due for an evaluation; the best weights are decided as if it had not waited."""
    run = run_of(short.folder, short.recipe, "evaluation")
    _interrupted(run, at=10)
    assert trial.saved(run.folder) == 10
    assert trial.pending(run.folder)

    stream = events(run)  # and another signal while it is made up for
    with pytest.raises(Interrupted, match="SIGTERM"):  # noqa: PT012
        for event in stream:
            if isinstance(event, Began):
                os.kill(os.getpid(), signal.SIGTERM)

    assert trial.reached(run.folder) == 10  # no step was taken before it
    assert trial.pending(run.folder)
    assert short.ends_identically("evaluation")


@pytest.mark.parametrize("at", [1, 8, 20, 24])
def test_stopped_right_after_a_step_it_ends_alike(at: int, short: Workshop) -> None:
    """8: a save is due; 20: an evaluation; 24: the last step."""
    run = run_of(short.folder, short.recipe, f"at-{at}")

    _interrupted(run, at=at)

    assert trial.saved(run.folder) == at
    assert trial.status(run.folder)["state"] == "interrupted"
    assert short.ends_identically(f"at-{at}")


def test_the_handlers_that_were_there_are_there_again(short: Workshop) -> None:
    before = [signal.getsignal(number) for number in HANDLED]

    carried(run_of(short.folder, short.recipe, "handlers"), to=2)

    assert [signal.getsignal(number) for number in HANDLED] == before


def _interrupted(run: Run, *, at: int) -> None:
    with pytest.raises(Interrupted, match="SIGTERM"):  # noqa: PT012
        for event in events(run):
            if isinstance(event, Step) and event.number == at:
                os.kill(os.getpid(), signal.SIGTERM)


def _until(true: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "the moment never came"
        time.sleep(0.0005)
