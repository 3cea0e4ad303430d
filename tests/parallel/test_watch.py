"""A process that is frozen is named; one that is slow, or has said good-bye, is not."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch.distributed as dist

from zafu.parallel import watch
from zafu.parallel.watch import Watch

TRAIN = """
import sys
from pathlib import Path
from zafu.parallel import local
sys.exit(local.run(2, sys.argv[1:], logs=Path("out/ranks"), restarts=0))
"""
RECIPE = """\
task: language-modeling
data: {kind: text, files: ["stdlib:asyncio/*.py"], context: 16, tokenizer: {kind: bpe, vocab: 300}}
model: {kind: decoder, width: 16, layers: 1, heads: 2}
fit: {optimizer: sgd, batch: 8, steps: 100000, evaluate_every: 100000, save_every: 10, threads: 1}
"""


def started(folder: Path) -> subprocess.Popen[str]:
    """A training on two processes."""
    folder.mkdir()
    (folder / "small.yaml").write_text(RECIPE)
    words = ["train", "small.yaml", "layout.data=2", "--out", "out", "--quiet"]
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN, *words],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def saved(folder: Path, process: subprocess.Popen[str]) -> list[str]:
    """The ranks of a training, once it has saved."""
    while process.poll() is None and not [*folder.glob("out/checkpoints/step-0000000[1-9]0")]:
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()[0]
    return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes under /proc")
def test_a_frozen_rank_is_named_within_30_seconds_and_ends_the_others(tmp_path: Path) -> None:
    """Of two trainings the first rank, and the second; at once, since most of it is silence."""
    folders = [tmp_path / str(frozen) for frozen in range(2)]
    trainings = [started(folder) for folder in folders]
    ranks = [saved(*both) for both in zip(folders, trainings, strict=True)]
    begun = time.monotonic()

    for frozen, there in enumerate(ranks):
        os.kill(int(there[frozen]), signal.SIGSTOP)
    texts = [process.communicate(timeout=100)[0] for process in trainings]

    assert time.monotonic() - begun < 30
    for frozen, text in enumerate(texts):
        assert trainings[frozen].returncode == 69, text
        assert f"rank {frozen} is frozen: nothing was heard for 20 s" in text
        assert "Traceback" not in text
        assert not any(Path(f"/proc/{rank}").exists() for rank in ranks[frozen])
        stacks = (folders[frozen] / f"out/ranks/{1 - frozen}.stacks").read_text()
        assert "in steps" in stacks  # the training loop, where the other one waited


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Watch, Watch]:
    """Two ranks in one process."""
    store = dist.FileStore(str(tmp_path / "store"), 2)
    return tuple(Watch(store, rank, 2, tmp_path / f"{rank}.stacks") for rank in (0, 1))  # pyright: ignore[reportReturnType]


def until(true: Callable[[], bool]) -> bool:
    end = time.monotonic() + 10
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


def test_a_rank_whose_connection_broke_hears_from_another_why_it_failed(
    pair: tuple[Watch, Watch],
) -> None:
    first, second = pair

    second.leave("DataError: no such column")
    found = first.why()

    assert found == "rank 1 failed: DataError: no such column"


def test_ranks_that_have_left_are_not_missed(
    pair: tuple[Watch, Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "FROZEN", 1.0)
    first, second = pair

    second.leave("")
    heard = until(lambda: first._heard[1].word == "done")
    time.sleep(2)
    first.leave("")
    for one in pair:
        one.close()

    assert heard
    assert not first._verdict
    assert not any(thread.is_alive() for one in pair for thread in one._threads)


def test_threads_that_compute_are_not_taken_for_frozen(
    pair: tuple[Watch, Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A beat needs a turn of the interpreter: work that never waits still leaves it some."""
    monkeypatch.setattr(watch, "FROZEN", 3.0)
    first, second = pair

    end = time.monotonic() + 5
    while time.monotonic() < end:
        sum(i * i for i in range(10_000))
    first.leave("")
    second.leave("")

    assert not first._verdict
    assert not second._verdict
