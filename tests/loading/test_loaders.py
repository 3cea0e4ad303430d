"""All loaders give the bytes of `inline` in order, errors at their place, and end when left."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from zafu import reading
from zafu.artifact import write_text
from zafu.batch import Batch
from zafu.data.arrays import Rows
from zafu.errors import RecipeError, Refused, ZafuError
from zafu.loading import auto
from zafu.loading.auto import Auto
from zafu.loading.contract import Choice, Loader, Request, Source
from zafu.loading.inline import Inline
from zafu.loading.order import Order
from zafu.loading.processes import Processes
from zafu.loading.requests import in_order, pieces, steps
from zafu.loading.threads import Threads
from zafu.recipe import Recipe
from zafu.run import prepared
from zafu.source import parse_yaml, to_yaml

RECIPE = """\
task: classification
data: digits
model: {kind: mlp}
fit: {batch: 32, steps: 20, device: cpu, augment: [{kind: rotation}]}
"""
N = 1400  # samples of the training split, or fewer: those that are dropped may become more
THREADS = [Threads(workers=1, depth=1), Threads(workers=2, depth=2), Threads(workers=4, depth=9)]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """The augmented digits, which another process can read too."""
    folder = tmp_path_factory.mktemp("digits")
    recipe = Recipe.parse(parse_yaml(RECIPE).data)
    write_text(folder / "recipe.yaml", to_yaml(recipe.dump()))
    data = prepared(recipe, folder)
    cpu = torch.device("cpu")
    return reading.training(recipe, folder / "recipe.yaml", data, device=cpu).source


def _requests(count: int, size: int = 32) -> Iterator[Request]:
    return steps(Order(N, 0), 500, size, 500 + count * size)


def _same(a: Batch, b: Batch) -> bool:
    pairs = zip((*a.inputs, a.targets), (*b.inputs, b.targets), strict=True)
    return all(map(torch.equal, *zip(*pairs, strict=True))) and np.array_equal(a.ids, b.ids)


def _all(loader: Loader, source: Source, requests: Iterator[Request]) -> list[Batch]:
    with loader.open(source, requests) as batches:
        return list(batches)


@pytest.mark.parametrize("loader", [*THREADS, Auto()], ids=repr)
def test_the_batches_are_those_of_inline_in_order(loader: Loader, digits: Source) -> None:
    expected = _all(Inline(), digits, _requests(60))

    found = _all(loader, digits, _requests(60))

    assert len(found) == 60
    assert all(map(_same, expected, found))
    assert not _same(expected[0], expected[1])


@pytest.mark.parametrize("loader", [Inline(), *THREADS[:2], Processes(workers=1), Auto()], ids=repr)
def test_reading_draws_no_random_numbers_of_the_training(loader: Loader, digits: Source) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()

    found = _all(loader, digits, _requests(4))

    assert len(found) == 4
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "depth"), [(1, 1), (3, 4)])
def test_processes_give_them_too_also_to_who_keeps_and_changes_them(
    workers: int, depth: int, digits: Source
) -> None:
    """More batches are kept than there are slots, of sizes that grow."""
    sizes = [1, 32, 7, 700, 32, N, *[32] * 20]
    starts = np.cumsum([0, *sizes])
    order = Order(N, 0)

    def requests() -> Iterator[Request]:
        for start, size in zip(starts.tolist(), sizes, strict=False):
            yield Request(*order.seen(start, size))

    expected = _all(Inline(), digits, requests())

    kept: list[Batch] = []
    with Processes(workers=workers, depth=depth).open(digits, requests()) as batches:
        for batch in batches:
            kept.append(batch)
            if len(kept) % 3 == 0:
                batch.inputs[0].mul_(0)  # it is ours: no other batch changes

    assert not _children()
    assert len(kept) == len(sizes)
    assert all(
        _same(e, k) for i, (e, k) in enumerate(zip(expected, kept, strict=True)) if i % 3 != 2
    )
    assert all(not kept[i].inputs[0].any() for i in range(2, len(kept), 3))


def _fails_at(bad: int) -> Source:
    def read(request: Request) -> Batch:
        if bad in request.ids:
            raise KeyError(bad)
        return Batch((), torch.from_numpy(request.ids), request.ids)

    return Source(read)


@pytest.mark.parametrize("loader", [Inline(), *THREADS, Auto()], ids=repr)
def test_an_error_is_raised_where_its_batch_would_have_come(loader: Loader) -> None:
    came: list[int] = []

    with (
        loader.open(_fails_at(57), in_order(100, 1)) as batches,
        pytest.raises(KeyError, match="57"),
    ):
        came.extend(int(batch.ids[0]) for batch in batches)

    assert came == list(range(57))
    assert not _readers()


@pytest.mark.slow
def test_an_error_in_another_process_is_raised_there_too(digits: Source) -> None:
    """With the trace of where it was raised."""
    came: list[Batch] = []

    with (
        Processes(workers=2, depth=4).open(digits, in_order(1700, 100)) as batches,
        pytest.raises(IndexError, match="out of bounds") as caught,
    ):
        came.extend(batches)

    assert len(came) == 14  # the fifteenth asks for samples 1400 to 1499
    assert "Traceback" in "".join(caught.value.__notes__)
    assert not _children()


@pytest.mark.slow
def test_a_reading_process_that_was_killed_is_told_of(digits: Source) -> None:
    with Processes(workers=1, depth=1).open(digits, _requests(100)) as batches:
        next(batches)
        os.kill(_children()[0], signal.SIGKILL)
        with pytest.raises(ZafuError, match="has ended with signal 9"):
            list(batches)

    assert not _children()


def _shared() -> set[Path]:
    """Blocks of shared memory; other processes' semaphores come and go."""
    return {path for path in Path("/dev/shm").iterdir() if not path.name.startswith("sem.")}


@pytest.mark.slow
def test_leaving_in_the_middle_ends_processes_and_frees_their_memory(digits: Source) -> None:
    before = _shared(), len(list(Path("/proc/self/fd").iterdir()))

    with Processes(workers=2, depth=4).open(digits, _requests(1000)) as batches:
        next(batches)
        assert len(_children()) == 2

    assert not _children()
    after = _shared(), len(list(Path("/proc/self/fd").iterdir()))
    assert after == before


@pytest.mark.parametrize("loader", THREADS, ids=repr)
def test_leaving_in_the_middle_ends_threads(loader: Loader, digits: Source) -> None:
    with loader.open(digits, _requests(1000)) as batches:
        next(batches)
        assert _readers()

    assert not _readers()


@pytest.mark.parametrize("loader", THREADS, ids=repr)
def test_no_more_than_depth_and_the_wanted_batch_are_read_ahead(loader: Threads) -> None:
    begun: list[int] = []

    def read(request: Request) -> Batch:
        begun.append(int(request.ids[0]))
        return Batch((), torch.from_numpy(request.ids), request.ids)

    with loader.open(Source(read), in_order(100, 1)) as batches:
        for taken, _ in enumerate(batches, 1):
            assert len(begun) <= taken + loader.depth


def test_processes_need_data_that_can_be_opened_again() -> None:
    loader = Processes(workers=2, depth=2)

    with (
        pytest.raises(Refused, match="use threads"),
        loader.open(_fails_at(1), in_order(5, 1)) as b,
    ):
        next(b)

    assert loader.nearby() == Threads(workers=2, depth=2)


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_workers_without_work_are_a_fault(kind: str) -> None:
    with pytest.raises(RecipeError, match=r"depth: expected a number >= 5, the workers, found 4"):
        Loader.kinds()[kind].parse({"kind": kind, "workers": 5})


def _slept(seconds: float) -> Source:
    rows = Rows((np.arange(4000.0),), np.arange(4000))

    def read(request: Request) -> Batch:
        if seconds:
            time.sleep(seconds)
        return rows.batch(request.ids)

    return Source(read)


def _choices(source: Source, step: float) -> list[Choice]:
    said: list[Choice] = []
    with Auto().open(source, in_order(4000, 40), said.append) as batches:
        for _ in batches:
            time.sleep(step)
    return said


def test_reading_that_costs_little_beside_a_step_stays_inline() -> None:
    (choice,) = _choices(_slept(0), step=0.02)

    assert choice.loader == Inline()
    assert choice.why.endswith("data is read in the training thread")
    assert choice.seconds["read"] < auto.LITTLE * choice.seconds["step"]


def test_reading_that_waits_is_done_by_threads() -> None:
    (choice,) = _choices(_slept(0.004), step=0.004)

    assert isinstance(choice.loader, Threads)
    assert choice.seconds["with_threads"] < choice.seconds["read"] + choice.seconds["step"]


def test_reading_that_holds_the_lock_of_python_stays_inline_without_processes() -> None:
    def read(request: Request) -> Batch:
        end = time.thread_time() + 0.002
        while time.thread_time() < end:
            pass
        return Batch((), torch.from_numpy(request.ids), request.ids)

    def choice() -> Choice:
        with Auto().open(Source(read), in_order(4000, 40), said.append) as batches:
            for _ in batches:
                end = time.thread_time() + 0.002
                while time.thread_time() < end:
                    pass
        return said[-1]

    said: list[Choice] = []
    # A machine that was busy for the inline batches alone makes threads look faster.
    assert any(choice().loader == Inline() for _ in range(5))
    assert "with threads" in said[-1].why


@pytest.mark.slow
def test_processes_are_tried_when_as_much_time_was_lost(
    digits: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auto, "PATIENCE", 0.1)
    monkeypatch.setattr(auto, "HANDED_OVER", 0.0)
    said: list[Choice] = []
    expected = _all(Inline(), digits, _requests(300, 64))

    with Auto().open(digits, _requests(300, 64), said.append) as batches:
        found = list(batches)

    assert all(map(_same, expected, found))
    if said[0].loader == Inline():  # threads did not help
        assert "with_processes" in said[-1].seconds


def test_a_request_is_cut_in_order_and_ends_with_what_is_left() -> None:
    (request,) = steps(Order(50, 1), 0, 23, 23)

    parts = pieces(request, 10)

    assert [len(p.ids) for p in parts] == [10, 10, 3]
    assert np.array_equal(np.concatenate([p.ids for p in parts]), request.ids)
    assert pieces(request, None) == pieces(request, 23) == [request]


def test_steps_of_a_budget_add_up_to_it() -> None:
    sizes = [len(r.ids) for r in steps(Order(50, 1), 30, 23, 100)]

    assert sizes == [23, 23, 23, 1]


def _children() -> list[int]:
    file = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    found = [int(pid) for pid in file.read_text().split()]
    return [pid for pid in found if b"zafu.reading" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def _readers() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("zafu-reader")]
