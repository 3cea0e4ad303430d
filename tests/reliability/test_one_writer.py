"""R19: one process writes a run; a second one is refused at once; a dead one blocks nobody."""

from __future__ import annotations

import signal
import time

import trial
from conftest import Workshop


def test_a_second_process_is_refused_in_less_than_a_second(workshop: Workshop) -> None:
    first, out = workshop.start("one-writer")
    while trial.reached(out) < 5:
        time.sleep(0.001)
    first.send(signal.SIGSTOP)  # it is alive and holds the run for as long as this takes
    before = trial.status(out)

    for _ in range(5):
        begun = time.monotonic()
        second, _ = workshop.run("one-writer")
        assert time.monotonic() - begun < 1
        assert second.code == 2
        assert f"another process (pid {first.pid}) is writing this run" in second.said()

    assert trial.status(out) == before  # the second one wrote nothing
    first.send(signal.SIGCONT)
    assert first.wait() == 0, first.said()
    assert trial.digests(out) == workshop.expected


def test_a_lock_that_a_killed_process_left_does_not_block(workshop: Workshop) -> None:
    for steps in (3, 12, 30):
        child, out = workshop.start("dead-writer")
        while trial.reached(out) < steps:
            time.sleep(0.001)
        child.send(signal.SIGKILL)
        child.wait()
        assert (out / "lock").read_text() == str(child.pid)

    assert workshop.ends_identically("dead-writer")


def test_another_recipe_is_refused_and_changes_nothing(workshop: Workshop) -> None:
    """Neither a finished nor an unfinished run of another recipe is taken for one's own."""
    out = workshop.folder / "runs" / "undisturbed"
    before = (out / "status.json").read_bytes()
    words = ["train", workshop.recipe, "--out", out, "fit.steps=81"]

    child = workshop.forks.run(words, workshop.folder)

    assert child.code == 2
    assert "holds the run of another recipe (fit.steps)" in child.said()
    assert (out / "status.json").read_bytes() == before
