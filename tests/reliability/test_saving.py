"""R16: a save that is written while training goes on is as safe as one that it waits for."""

from __future__ import annotations

import json
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import trial
from conftest import Workshop
from inside import digest, parts, recipe_of, run_of

from zafu import checkpoint, loop, saves, saving, tensors
from zafu.artifact import read_json, verify
from zafu.checkpoint import State
from zafu.costs import of_ranks
from zafu.errors import DiskFull, NonFinite
from zafu.loop import Step
from zafu.pipeline import events
from zafu.run import Run, prepared
from zafu.session import Note, Session, settled
from zafu.signals import Stop
from zafu.signature import Signature
from zafu.track import metrics


@pytest.fixture(autouse=True)
def no_state_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of these trainings is."""
    monkeypatch.setattr(saving, "SMALL", 0)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trial.write(tmp_path_factory.mktemp("recipe"), trial.SHORT)


@pytest.fixture
def session(recipe: Path, tmp_path: Path) -> Iterator[Session]:
    """A training that has made some steps."""
    found = recipe_of(recipe.read_text())
    made = parts(found, recipe.parent)
    state = State(progress=loop.begin(found.fit), data="x")
    run = Run(tmp_path / "run", found)
    run.begin()
    with metrics.Metrics(run.folder / "metrics.jsonl") as rows:
        session = Session(
            run, made.objective, made.update, state, rows, Stop(), made.objective.split
        )
        stepped(session, 3)
        yield session
        session.saving.end()


def stepped(session: Session, steps: int) -> None:
    going = loop.fit(session.objective, session.update, session.state.progress)
    for _ in range(steps):
        next(going)
    going.close()


def rows(session: Session) -> list[dict[str, object]]:
    return [r for r in metrics.read(session.metrics.path) if "saved" in r]


def test_what_changes_right_after_the_call_never_reaches_the_file(session: Session) -> None:
    model, update, right = session.objective.model, session.update, 0
    live = [*tensors.of_module(model).values(), *update.tensors().values()]
    for _ in range(100):
        session.state.progress.step += 1
        step, expected = session.step, digest(model, update)
        kept = [t.clone() for t in live]

        saves.save(session)
        with torch.no_grad():
            torch._foreach_add_(live, 1.0)  # pyright: ignore[reportPrivateImportUsage]
        session.state.best_step = 77
        saves.end_save(session)

        saved = session.run.checkpoints / checkpoint.name_of(step)
        verify(saved)
        state = checkpoint.load(saved, model, update)
        right += digest(model, update) == expected and state.best_step != 77
        session.state.best_step = None
        torch._foreach_copy_(live, kept)  # pyright: ignore[reportPrivateImportUsage]
        live = [*tensors.of_module(model).values(), *update.tensors().values()]

    assert right == 100


def test_the_files_are_those_of_a_save_that_training_waits_for(session: Session) -> None:
    aside = session.run.folder / "aside"
    moment = checkpoint.moment(session.objective.model, session.update, session.state)
    recipe, data = session.run.recipe.identity(), session.state.data
    expected = checkpoint.publish(aside, moment, session.saving.world, recipe=recipe, data=data)

    saves.save(session)
    stepped(session, 2)
    saves.end_save(session)

    found = session.run.checkpoints / expected.name
    names = {file.name for file in expected.iterdir()}
    assert names == {file.name for file in found.iterdir()}
    assert all((found / n).read_bytes() == (expected / n).read_bytes() for n in names)


def test_it_is_told_only_when_it_is_whole(session: Session) -> None:
    with held_back(session.run.checkpoints) as go_on:
        saves.save(session)
        saves.saved(session)
        assert rows(session) == []
        assert checkpoint.complete(session.run.checkpoints) == []
        assert "step" not in session.run.status()
        go_on()
        until(lambda: session.saving.written)

    saves.saved(session)

    (row,) = rows(session)
    assert row["step"] == session.step == session.run.status()["step"]
    assert len(checkpoint.complete(session.run.checkpoints)) == 1


def test_the_next_save_waits_for_the_one_before_and_says_how_long(session: Session) -> None:
    with held_back(session.run.checkpoints) as go_on:
        saves.save(session)
        stepped(session, 1)
        threading.Timer(0.2, go_on).start()
        saves.save(session)
        assert len(checkpoint.complete(session.run.checkpoints)) == 1
        saves.end_save(session)

    first, second = rows(session)
    assert first["seconds_waited"] < 0.1 < second["seconds_waited"] <= second["seconds"]  # pyright: ignore[reportOperatorIssue]
    assert first["seconds_behind"] >= 0.2  # pyright: ignore[reportOperatorIssue]


def test_a_save_that_fails_ends_the_training_by_the_next_step(recipe: Path, tmp_path: Path) -> None:
    """Room for files ends after the second save is whole: steps 8 and 10 are there, 16 is not."""
    run, steps = run_of(tmp_path, recipe, "limit"), list[int]()

    lost = r"step-000000016\.part/.*no room .*needs"
    with pytest.raises(DiskFull, match=lost), limited(9_000) as limit:  # noqa: PT012
        for event in events(run):
            if isinstance(event, Step):
                steps.append(event.number)
                if event.number == 15:
                    limit()
                if event.number == 17:
                    time.sleep(0.5)  # step 16 has been tried by now

    assert steps[-1] == 17
    assert [p.name[-2:] for p in trial.checkpoints(run.folder)] == ["08", "10"]
    assert not trial.unfinished(run.folder)
    assert trial.status(run.folder)["state"] == "failed"
    assert "step-000000016.part" in str(trial.status(run.folder)["message"])


def test_weights_that_are_not_finite_are_not_saved(session: Session) -> None:
    saves.save_here(session)
    session.state.progress.step += 1
    with torch.no_grad():
        next(session.objective.model.parameters())[0] = float("nan")
    saves.save(session)
    until(lambda: session.saving.written)

    with pytest.raises(NonFinite, match="is not finite; nothing was saved"):
        saves.saved(session)

    (left,) = session.run.checkpoints.iterdir()
    assert left.name == checkpoint.name_of(session.step - 1)


@pytest.mark.parametrize("how", ["left", "thrown"])
def test_whoever_leaves_a_training_waits_for_its_save(
    how: str, recipe: Path, tmp_path: Path
) -> None:
    run = run_of(tmp_path, recipe, how)
    with held_back(run.checkpoints) as go_on:
        stream = events(run)
        for event in stream:
            if isinstance(event, Step) and event.number == 9:
                break
        assert trial.checkpoints(run.folder) == []
        threading.Timer(0.1, go_on).start()

        if how == "left":
            stream.close()  # pyright: ignore[reportAttributeAccessIssue]
        else:
            with pytest.raises(ValueError, match="mine"):
                stream.throw(ValueError("mine"))  # pyright: ignore[reportAttributeAccessIssue]

    assert trial.saved(run.folder) == 8
    assert not trial.unfinished(run.folder)


def test_an_error_of_training_also_says_what_was_not_saved(recipe: Path, tmp_path: Path) -> None:
    run, stream = run_of(tmp_path, recipe, "both"), None

    with pytest.raises(ValueError, match="mine") as caught, limited(9_000) as limit:  # noqa: PT012
        stream = events(run)
        for event in stream:
            if isinstance(event, Step):
                if event.number == 7:
                    limit()
                if event.number == 9:
                    stream.throw(ValueError("mine"))  # pyright: ignore[reportAttributeAccessIssue]

    (note,) = caught.value.__notes__
    assert note.startswith("besides, step 8 could not be saved: ")
    assert "no room" in note


def test_without_memory_for_a_copy_training_waits_for_the_save(
    session: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "meminfo").write_text("MemAvailable:  90 kB\n")
    monkeypatch.setattr(saving, "MEMORY", tmp_path / "meminfo")

    saves.save(session)

    assert session.saving.under_way is None
    (row,) = rows(session)
    assert row["seconds"] >= row["seconds_behind"]  # pyright: ignore[reportOperatorIssue]
    verify(checkpoint.complete(session.run.checkpoints)[0])
    (note,) = settled(session)
    assert isinstance(note, Note)
    assert "no memory for a copy of the state (73.9 kB)" in note.text


def test_for_a_small_state_training_waits(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is killed then loses no step that was made while a save was written."""
    monkeypatch.setattr(saving, "SMALL", 80_000)

    saves.save(session)

    assert session.saving.under_way is None
    assert len(checkpoint.complete(session.run.checkpoints)) == 1
    assert not session.notes


def test_the_memory_for_a_copy_is_foreseen(session: Session, recipe: Path) -> None:
    data = prepared(session.run.recipe, recipe.parent)
    signature = Signature.parse(read_json(data / "signature.json"))
    moment = checkpoint.moment(session.objective.model, session.update, session.state)

    (foreseen,) = of_ranks(session.run.recipe, signature, samples=32)

    found = sum(box.tensor.nbytes for box in (*moment.weights, *moment.others))
    assert foreseen.copy == pytest.approx(found, rel=0.01)


def test_free_memory_is_that_of_the_machine_or_of_the_group(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:  5000 kB\n")
    monkeypatch.setattr(saving, "MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(saving, "GROUP", tmp_path)
    free = [saving.free_memory()]
    (tmp_path / "memory.current").write_text("900000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 100000\n")
    for limit in ("max", "1000000"):
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        free.append(saving.free_memory())

    (tmp_path / "cgroup").write_text("1:cpu:/elsewhere\n0::/job/step\n")
    (tmp_path / "job").mkdir()  # its steps have no limit of their own
    for name, text in {"max": "800000", "current": "700000", "stat": "inactive_file 1"}.items():
        (tmp_path / "job" / f"memory.{name}").write_text(f"{text}\n")
    monkeypatch.setattr(saving, "OWN", tmp_path / "cgroup")
    free.append(saving.free_memory())

    assert free == [5_120_000, 5_120_000, 200_000, 100_001]


def test_every_save_of_a_run_is_recorded_and_the_best_is_kept(recipe: Path, tmp_path: Path) -> None:
    """Saves of steps 8, 10 and 16 have a copy; for the last one, of step 24, training waits."""
    run = run_of(tmp_path, recipe, "all")

    for _ in events(run):
        pass

    found = [row for row in metrics.read(run.folder / "metrics.jsonl") if "saved" in row]
    assert [row["step"] for row in found if row["step"] != 20] == [8, 10, 16, 24]
    assert found[-1]["seconds"] >= found[-1]["seconds_behind"]
    *kept, last = trial.checkpoints(run.folder)
    best = json.loads((last / "state.json").read_text())["state"]["best_step"]
    assert last.name == checkpoint.name_of(24)
    assert checkpoint.name_of(best) in [path.name for path in (*kept, last)]
    assert len(kept) <= 2


def test_its_bytes_are_those_of_a_run_that_waits(short: Workshop, tmp_path: Path) -> None:
    run = run_of(tmp_path, short.recipe, "beside")

    for _ in events(run):
        pass

    assert trial.digests(run.folder) == short.expected
    assert trial.losses(run.folder) == short.losses


@contextmanager
def held_back(below: Path) -> Generator[Callable[[], None]]:
    """Inside, nothing below a folder is put on the disk until the value is called."""
    real, free = os.fsync, threading.Event()

    def slow(handle: int) -> None:
        if str(below) in str(Path(f"/proc/self/fd/{handle}").readlink()):
            free.wait(20)
        real(handle)

    os.fsync = slow
    try:
        yield free.set
    finally:
        free.set()
        os.fsync = real


@contextmanager
def limited(most_bytes: int) -> Generator[Callable[[], None]]:
    """After the value is called, and to the end, no file can grow beyond so many bytes."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        signal.signal(signal.SIGXFSZ, before)


def until(true: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "the moment never came"
        time.sleep(0.001)
