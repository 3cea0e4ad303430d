"""R9: killed anywhere and resumed by other readers on other ranks, each sample comes exactly once.

The stream of samples is the same for any number of ranks, and the bytes of a batch are the same
whoever reads it and however often the reading was cut off.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
import trial
from conftest import Workshop
from forks import Child
from hypothesis import given, settings
from hypothesis import strategies as st
from inside import recipe_of

from zafu import reading
from zafu.artifact import write_text
from zafu.batch import Batch, Portion
from zafu.loading.contract import Loader, Request, Source
from zafu.loading.inline import Inline
from zafu.loading.order import Order, share
from zafu.loading.processes import Processes
from zafu.loading.threads import Threads
from zafu.run import prepared
from zafu.source import to_yaml

RECIPES = {
    "digits": """\
task: classification
data: digits
model: {kind: mlp}
fit: {steps: 1, device: cpu, augment: [{kind: rotation}, {kind: erasing}]}
""",
    "text": """\
task: language-modeling
data:
  kind: text
  files: [FOLDER/words.txt]
  delimiter: "\\n"
  tokenizer: {kind: bpe, vocab: 270}
  context: 16
model: {kind: decoder, width: 32, layers: 1, heads: 2}
fit: {steps: 1, device: cpu}
""",
    "mixture": """\
task: language-modeling
data:
  kind: text
  mixture:
    - {files: [FOLDER/words.txt], delimiter: "\\n", weight: 1.0}
    - {files: [FOLDER/others.txt], delimiter: "\\n", weight: 0.5}
  tokenizer: {kind: bpe, vocab: 270}
  context: 16
model: {kind: decoder, width: 32, layers: 1, heads: 2}
fit: {steps: 1, device: cpu, augment: [{kind: token-masking}]}
""",
}
WORLDS = (1, 2, 3, 4, 6, 8)
NEAR: tuple[Loader, ...] = (
    Inline(),
    *(Threads(workers=w, depth=d) for w, d in ((1, 1), (1, 3), (2, 4), (4, 4))),
)
BATCH, EPOCHS, KILLS = 100, 2, 100


@dataclass
class Prepared:
    """A training split, and the digest of each sample of its stream as it was read undisturbed."""

    source: Source
    n: int
    portions: tuple[Portion, ...]
    expected: list[tuple[int, str]]

    def order(self) -> Order:
        """The order of the samples, from the start."""
        return Order(self.n, 0, self.portions)


@pytest.fixture(scope="module", params=RECIPES)
def data(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The training split of a recipe."""
    folder = tmp_path_factory.mktemp(request.param)
    words = "\n".join(f"{i} times {i} is {i * i}, and {i} more is {i * i + i}" for i in range(300))
    (folder / "words.txt").write_text(words)
    (folder / "others.txt").write_text(words.replace("times", "by").replace("more", "besides"))
    recipe = recipe_of(RECIPES[request.param].replace("FOLDER", str(folder)))
    write_text(folder / "recipe.yaml", to_yaml(recipe.dump()))
    ready = prepared(recipe, folder)
    split = recipe.data.open(ready, "train")
    cpu = torch.device("cpu")
    source = reading.training(recipe, folder / "recipe.yaml", ready, device=cpu).source
    found = Prepared(source, len(split), split.portions, [])
    order = found.order()
    every = (Request(*order.seen(p, 1)) for p in range(EPOCHS * found.n))
    found.expected += [_digests(source.read(one))[0] for one in every]
    return found


def _digests(batch: Batch) -> list[tuple[int, str]]:
    """Each sample's id, and a digest of all its bytes."""
    found: list[tuple[int, str]] = []
    for row, name in enumerate(batch.ids.tolist()):
        tensors = (*batch.inputs, batch.targets)
        content = b"".join(t[row].contiguous().numpy().tobytes() for t in tensors)
        found.append((name, hashlib.sha256(content).hexdigest()))
    return found


def _read(data: Prepared, start: int, steps: int, world: int, loader: Loader) -> list[Batch]:
    """What all ranks read in so many steps from a position on, in the order of the stream.

    Readers are ahead of what is taken when they are cut off, as after a kill.
    """
    total = EPOCHS * data.n
    batches: list[list[Batch]] = []
    for rank in range(world):
        order = data.order()
        begins = range(start, total, BATCH)
        shares = (share(b, min(BATCH, total - b), rank=rank, world=world) for b in begins)
        requests = (Request(*order.seen(begin, count)) for begin, count in shares)
        with loader.open(data.source, requests) as given:
            batches.append(list(islice(given, steps)))
    return [batch for step in zip(*batches, strict=True) for batch in step]


@pytest.mark.slow
def test_a_hundred_kills_with_other_workers_and_ranks_leave_the_stream_as_it_was(
    data: Prepared,
) -> None:
    """Up to three kills an epoch, each at a random step."""
    chance = np.random.default_rng(0)
    steps_of_epoch = data.n // BATCH
    kills = 0
    while kills < KILLS:
        position, found = 0, []
        total = EPOCHS * data.n
        while position < total:
            steps = int(chance.integers(steps_of_epoch // 3, steps_of_epoch))
            world, loader = int(chance.choice(WORLDS)), NEAR[chance.integers(len(NEAR))]
            for batch in _read(data, position, steps, world, loader):
                found += _digests(batch)
            position = min(position + steps * BATCH, total)
            kills += position < total

        assert found == data.expected
    assert _once_an_epoch(data)


def _once_an_epoch(data: Prepared) -> bool:
    """Whether each sample comes exactly once in each epoch of its portion."""
    ids = np.array([name for name, _ in data.expected])
    start = 0
    for portion in data.portions or (Portion(data.n, 1.0),):
        own = ids[(ids >= start) & (ids < start + portion.samples)] - start
        for begin in range(0, len(own), portion.samples):
            part = own[begin : begin + portion.samples]
            if len(set(part.tolist())) < len(part):
                return False
        start += portion.samples
    return start == data.n


@pytest.mark.slow
def test_processes_read_the_same_bytes(data: Prepared) -> None:
    position = 0
    for workers, world in ((1, 2), (4, 1)):
        loader = Processes(workers=workers, depth=4)

        found = [d for b in _read(data, position, 3, world, loader) for d in _digests(b)]

        assert found == data.expected[position : position + 3 * BATCH]
        position += 4 * BATCH + 11


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 10**7), st.integers(0, 10**12), st.integers(1, 500), st.sampled_from(WORLDS))
def test_any_number_of_ranks_reads_one_stream(n: int, start: int, count: int, world: int) -> None:
    whole = Order(n, 5).seen(start, count)

    parts = [Order(n, 5).seen(*share(start, count, rank=r, world=world)) for r in range(world)]

    assert np.array_equal(np.concatenate([p.ids for p in parts]), whole.ids)
    assert np.array_equal(np.concatenate([p.epochs for p in parts]), whole.epochs)


def test_going_to_any_place_of_a_million_million_samples_takes_no_time() -> None:
    begun = time.process_time()
    for start in range(10**13, 10**13 + 20 * 10**11, 10**11):
        Order(10**12, 1).seen(start, 32)

    assert time.process_time() - begun < 1  # twenty times; the mark is one second for one


@pytest.mark.slow
@pytest.mark.parametrize("first", ["processes", "threads"])
def test_a_training_that_is_killed_ends_alike_with_other_readers(
    first: str, workshop: Workshop
) -> None:
    """SIGKILL twice, then on with another loader: the bytes are those of an undisturbed run."""
    other = {"processes": "threads", "threads": "processes"}[first]
    out = workshop.folder / "runs" / f"read-by-{first}"

    for loader, steps in ((first, 20), (other, 50)):
        child = _start(workshop, out, loader)
        _wait_for(child, out, steps)
        readers = _readers(child.pid)
        child.send(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        assert len(readers) == (2 if loader == "processes" else 0)
        assert _all_gone(readers)
    last = _start(workshop, out, "inline")

    assert last.wait() == 0, last.said()
    assert trial.digests(out) == workshop.expected
    assert trial.losses(out) == workshop.losses


@pytest.mark.slow
def test_a_signal_ends_the_readers_with_the_training(workshop: Workshop) -> None:
    out = workshop.folder / "runs" / "signalled"
    child = _start(workshop, out, "processes")
    _wait_for(child, out, 20)
    readers = _readers(child.pid)
    for pid in readers:
        os.kill(pid, signal.SIGTERM)  # as a scheduler does that means all of a job

    child.send(signal.SIGTERM)

    assert child.wait() == 75, child.said()
    assert len(readers) == 2
    assert _all_gone(readers)
    last = _start(workshop, out, "processes")
    assert last.wait() == 0, last.said()
    assert trial.digests(out) == workshop.expected


def _start(workshop: Workshop, out: Path, loader: str) -> Child:
    words = ["train", workshop.recipe, "--out", out, f"fit.loader={loader}"]
    return workshop.forks.start(words, workshop.folder)


def _wait_for(child: Child, out: Path, step: int) -> None:
    while trial.reached(out) < step:
        assert child.poll() is None, child.said()
        time.sleep(0.001)


def _readers(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(c) for c in found if b"zafu.reading" in Path(f"/proc/{c}/cmdline").read_bytes()]


def _all_gone(pids: list[int]) -> bool:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if not any(_runs(pid) for pid in pids):
            return True
        time.sleep(0.01)
    return False


def _runs(pid: int) -> bool:
    """Whether a process is there and is more than an entry that nobody has asked for."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
