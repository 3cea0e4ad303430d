"""R3: a damaged checkpoint is noticed before the first step, named, and an older one is taken."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import trial
from conftest import Workshop
from inside import before_training, carried, notes, run_of

from zafu.run import Run

FILES = ("model.safetensors", "optimizer.safetensors", "state.json", "card.json")
Harm = Callable[[Path], None]


def _flip(number: int) -> Harm:
    def harm(file: Path) -> None:
        chance = random.Random(f"{file.name} {number}")  # noqa: S311
        data = bytearray(file.read_bytes())
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        file.write_bytes(data)

    return harm


HARMS: dict[str, Harm] = {
    "half of it": lambda file: os.truncate(file, file.stat().st_size // 2),
    "its last bytes": lambda file: os.truncate(file, file.stat().st_size - 2),
    "all bytes": lambda file: os.truncate(file, 0),
    "itself": lambda file: file.unlink(),
    **{f"bit {number}": _flip(number) for number in range(4)},
}


@pytest.fixture(scope="module")
def stopped(short: Workshop) -> Run:
    """A run with checkpoints at 10, the best, and at 16."""
    run = run_of(short.folder, short.recipe, "stopped")
    carried(run, to=19)
    assert [p.name[-2:] for p in trial.checkpoints(run.folder)] == ["10", "16"]
    return run


def _copy(stopped: Run, name: str) -> Run:
    folder = stopped.folder.with_name(name.replace(" ", "-"))
    shutil.copytree(stopped.folder, folder)
    return Run(folder, stopped.recipe)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("harm", HARMS)
def test_the_newest_checkpoint_lost(harm: str, file: str, stopped: Run, short: Workshop) -> None:
    run = _copy(stopped, f"harmed {file} {harm}")
    HARMS[harm](run.checkpoints / "step-000000016" / file)

    said = before_training(run)

    aside = [text for text in said if "step-000000016 cannot be used and is set aside" in text]
    assert len(aside) == 1
    assert file in aside[0] or "card.json" in aside[0] or "safetensors" in aside[0]
    assert "goes on from step-000000010" in said
    assert trial.reached(run.folder) == 10
    if harm in ("itself", "bit 0"):  # what follows is the same for all
        notes(run)
        assert trial.digests(run.folder) == short.expected
        assert trial.losses(run.folder) == short.losses


def test_the_reason_names_the_file_and_both_digests(stopped: Run) -> None:
    run = _copy(stopped, "reason")
    HARMS["bit 0"](run.checkpoints / "step-000000016" / "optimizer.safetensors")

    said, _ = notes(run)

    assert any("optimizer.safetensors: expected SHA-256" in text for text in said)


def test_all_checkpoints_damaged_starts_again_and_ends_alike(stopped: Run, short: Workshop) -> None:
    run = _copy(stopped, "all damaged")
    for checkpoint in trial.checkpoints(run.folder):
        HARMS["bit 1"](checkpoint / "model.safetensors")

    said, _ = notes(run)

    assert sum("set aside" in text for text in said) == 2
    assert not any("goes on" in text for text in said)
    assert trial.digests(run.folder) == short.expected


def test_the_best_weights_damaged_are_found_again(stopped: Run, short: Workshop) -> None:
    """The newest checkpoint is whole, but its best weights, which may be shipped, are not."""
    run = _copy(stopped, "best damaged")
    HARMS["bit 2"](run.checkpoints / "step-000000010" / "model.safetensors")

    said, _ = notes(run)

    assert any("step-000000016 cannot be used" in t and "step-000000010" in t for t in said)
    assert trial.digests(run.folder) == short.expected


@pytest.mark.parametrize("file", ["status.json", "environment.json", "prepare.json", "lock"])
def test_a_damaged_file_beside_the_checkpoints_stops_nothing(
    file: str, stopped: Run, short: Workshop
) -> None:
    run = _copy(stopped, f"beside {file}")
    (run.folder / file).write_bytes(b"\x00{[")

    said, _ = notes(run)

    assert "goes on from step-000000016" in said
    assert trial.digests(run.folder) == short.expected


def test_a_torn_last_line_of_the_metrics_is_dropped(stopped: Run, short: Workshop) -> None:
    run = _copy(stopped, "torn metrics")
    with (run.folder / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step":19,"lo')

    notes(run)

    assert trial.losses(run.folder) == short.losses


def test_damaged_data_is_prepared_again(stopped: Run, short: Workshop) -> None:
    run = _copy(stopped, "data damaged")
    array = next(run.folder.parent.glob("data/*/train/numbers.npy"))
    _flip(7)(array)

    notes(run)

    assert trial.digests(run.folder) == short.expected
