"""Ranks that save while they train: one checkpoint of one moment, or none and an error."""

import importlib.util
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from zafu import checkpoint, saves, saving
from zafu.artifact import verify
from zafu.checkpoint import State
from zafu.errors import DiskFull, NonFinite
from zafu.layout import Layout
from zafu.loop import Objective, Progress
from zafu.parallel.world import World, connected
from zafu.recipe import Recipe
from zafu.run import Run
from zafu.saving import Saving
from zafu.session import Session
from zafu.signals import Stop
from zafu.track.metrics import Metrics

TIMES = 50
RECIPE: dict[str, Any] = {
    "task": "language-modeling",
    "data": {"kind": "text", "files": ["stdlib:asyncio/*.py"], "context": 8},
    "model": {"kind": "decoder", "width": 12, "layers": 5, "heads": 2},
    "fit": {"optimizer": "adamw", "batch": 8, "steps": 4, "threads": 1, "trackers": []},
}
FOLDER = Path(__file__).parent


def _parts(world: World) -> Any:
    spec = importlib.util.spec_from_file_location("reshard", FOLDER / "test_reshard.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model, update, spread = module.spread_over(world, "adamw")
    module.moved(update, spread, model)
    return model, update, spread


def begun(behind: Saving, folder: Path, moment: checkpoint.Moment) -> None:
    count = len(moment.weights)
    copies = behind.copied([*moment.weights, *moment.others])
    copied = moment._replace(weights=copies[:count], others=copies[count:])

    def write() -> None:
        checkpoint.publish(folder, copied, behind.world, recipe="r")

    behind.begin(moment.state.progress.step, write, stood=0.0, waited=0.0)


def trained_beside(rank: int, folder: str) -> dict[str, Any]:
    """Save again and again while weights change and ranks speak of other things."""
    world = World(Layout(shard=2), rank)
    world.connect()
    model, update, spread = _parts(world)
    behind = Saving(world.beside(timedelta(seconds=60)))
    live = [p.own.detach() for p in spread.parts] + [*update.tensors().values()]
    before = [t.clone() for t in live]
    errors: list[str] = []
    spoken = 0
    for step in range(1, TIMES + 1):
        state = State(progress=Progress(step=step, samples=8), data="x")
        begun(behind, Path(folder) / "behind", checkpoint.moment(model, update, state, spread))
        torch._foreach_mul_(live, 2.0)  # pyright: ignore[reportPrivateImportUsage]
        while spread.any(not behind.written):
            spoken += 1
        error = behind.end()
        errors += [str(error)] if error else []
        torch._foreach_copy_(live, before)  # pyright: ignore[reportPrivateImportUsage]
    state = State(progress=Progress(step=TIMES, samples=8), data="x")
    checkpoint.save(Path(folder) / "here", model, update, state, spread, recipe="r")
    return {"errors": errors, "spoken": spoken > TIMES}


def test_what_two_ranks_save_is_of_one_moment_whatever_they_do_then(
    worlds: Callable[[int], Any], tmp_path: Path
) -> None:
    found = worlds(2)(trained_beside, folder=str(tmp_path))

    assert found == [{"errors": [], "spoken": True}] * 2
    (expected,) = checkpoint.complete(tmp_path / "here")
    tensors = [f.name for f in expected.iterdir() if f.name not in ("card.json", "state.json")]
    assert len(tensors) == 6
    behind = checkpoint.complete(tmp_path / "behind")
    assert len(behind) == TIMES
    for path in behind:
        verify(path)
        assert all((path / n).read_bytes() == (expected / n).read_bytes() for n in tensors)
    names = [f.name for f in expected.iterdir()]
    assert all((behind[-1] / n).read_bytes() == (expected / n).read_bytes() for n in names)


def broken_beside(rank: int, folder: str) -> str:
    world = World(Layout(shard=2), rank)
    world.connect()
    model, update, spread = _parts(world)
    if rank == 1:
        spread.parts[0].own.detach().fill_(float("nan"))
    behind = Saving(world.beside(timedelta(seconds=60)))
    state = State(progress=Progress(step=1, samples=8))
    begun(behind, Path(folder), checkpoint.moment(model, update, state, spread))
    dist.barrier()
    error = behind.end()
    assert isinstance(error, NonFinite)
    return str(error)


def test_if_one_rank_cannot_write_both_hear_why_and_nothing_is_there(
    worlds: Callable[[int], Any], tmp_path: Path
) -> None:
    found = worlds(2)(broken_beside, folder=str(tmp_path))

    assert all("model.embed_tokens.weight is not finite" in text for text in found)
    assert not list(tmp_path.iterdir())


def deaf(rank: int, folder: str) -> list[str]:
    """Save where the second rank cannot put its record on the disk; where the first cannot tidy."""
    found: list[str] = []
    for fault in ("sync", "prune"):
        with connected(Layout(shard=2), rank) as world, pytest.MonkeyPatch.context() as patch:
            session = _session(world, Path(folder) / fault)
            if fault == "sync" and rank == 1:
                patch.setattr(session.metrics, "sync", _full)
            if fault == "prune" and rank == 0:
                patch.setattr(checkpoint, "prune", _full)
            saves.save(session)
            with pytest.raises(DiskFull) as caught:
                _wait(session)
            found.append(str(caught.value))
            session.metrics.file.close()
    return found


def _wait(session: Session) -> None:
    while session.saving.under_way:
        saves.saved(session)


def _full(*_: object, **__: object) -> None:
    raise DiskFull("no room for this")


def test_what_fails_beside_the_checkpoint_in_one_rank_is_heard_by_both(
    worlds: Callable[[int], Any], tmp_path: Path
) -> None:
    first, second = worlds(2)(deaf, folder=str(tmp_path))

    assert [first[0], second[1]] == ["no room for this (process 1)", "no room for this (process 0)"]
    assert [first[1], second[0]] == ["no room for this"] * 2


def _session(world: World, folder: Path) -> Session:
    """A session of which a state was trained, whose saves are not small."""
    recipe = Recipe.parse({**RECIPE, "layout": {"shard": 2}})
    model, update, spread = _parts(world)
    split: Any = range(64)  # all that is asked of it is its length
    objective = Objective(model, recipe.task, split, recipe.fit, 0, None, spread)
    state = State(progress=Progress(step=1))
    saving.SMALL = 0
    run = Run(folder / "run", recipe)
    run.folder.mkdir(parents=True, exist_ok=True)
    metrics = Metrics(folder / f"{world.rank}.jsonl")
    session = Session(run, objective, update, state, metrics, Stop(), split)
    session.saving = Saving(world.beside(timedelta(seconds=60)))
    return session


def waits(rank: int, folder: str, short: bool) -> list[object]:
    """Save by `saves.save` where, on request, the second rank alone has no memory for a copy."""
    with connected(Layout(shard=2), rank) as world, pytest.MonkeyPatch.context() as patch:
        session = _session(world, Path(folder))
        if short and rank == 1:
            patch.setattr(saving, "MEMORY", Path(folder) / "meminfo")
        saves.save(session)
        begun = session.saving.under_way is not None
        _wait(session)
        agreed = session.objective.spread.firsts(7.0)  # they still speak of the same
        session.metrics.close()
    return [begun, agreed, [note.text[:9] for note in session.notes]]


@pytest.mark.parametrize("short", [False, True])
def test_ranks_wait_alike_where_one_has_no_memory_for_a_copy(
    worlds: Callable[[int], Any], tmp_path: Path, short: bool
) -> None:
    (tmp_path / "meminfo").write_text("MemAvailable:  1 kB\n")

    found = worlds(2)(waits, folder=str(tmp_path), short=short)

    assert found == [[not short, 7.0, ["no memory"] * short]] * 2
    assert len(checkpoint.complete(tmp_path / "run" / "checkpoints")) == 1
