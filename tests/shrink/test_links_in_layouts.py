"""Links that train in the layout of the run with which their chain begins."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import zafu
from zafu import tensors
from zafu.artifact import MODEL
from zafu.compress.words import chain
from zafu.recipe import Recipe
from zafu.run import Run
from zafu.session import Note
from zafu.shrink.chain import Shrunk, compress

RECIPE = {
    "task": "classification",
    "data": "digits",
    "model": {"kind": "mlp", "width": 32, "layers": 2},
    "fit": {"epochs": 1, "threads": 1, "optimizer": "adamw", "trackers": [], "save_every": 2},
    "evaluate": {"baselines": []},
}
HOW = "prune:0.5 > distil:1epochs"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return zafu.train(Recipe.parse(RECIPE), out=tmp_path_factory.mktemp("laid") / "digits-0")


def in_layout(source: Run, **degrees: int) -> None:
    """The run as if it had been trained in a layout, which is no part of what it is."""
    recipe = source.recipe
    for axis, degree in degrees.items():
        recipe = recipe.at(f"layout.{axis}", degree)
    Run(source.folder, recipe).begin()


def carried(source: Run, runs: Path, how: str = HOW) -> tuple[Run, list[str]]:
    """The last link's run, and what was said."""
    *events, last = compress(source.folder, chain(how), runs=runs)
    assert isinstance(last, Shrunk)
    return Run.open(last.folder), [event.text for event in events if isinstance(event, Note)]


def test_replicas_and_shards_train_what_one_process_does(source: Run, tmp_path: Path) -> None:
    alone, _ = carried(source, tmp_path / "one")

    for name, degrees in {"replicas": {"data": 2}, "shards": {"shard": 2}}.items():
        in_layout(source, **degrees)
        try:
            found, said = carried(source, tmp_path / name)
        finally:
            in_layout(source)

        assert f"2 processes train {found.name}" in said
        assert found.recipe.layout.world == 2
        expected, weights = (tensors.read(run.model / MODEL) for run in (alone, found))
        assert expected.keys() == weights.keys()
        for key, tensor in expected.items():
            assert (tensor - weights[key]).abs().max() < 1e-5, key


def test_what_cannot_be_cut_is_trained_by_one_process_and_that_is_said(
    source: Run, tmp_path: Path
) -> None:
    in_layout(source, tensor=2)
    try:
        found, said = carried(source, tmp_path / "cut")
    finally:
        in_layout(source)

    assert any(text.startswith("one process trains this link: layout") for text in said)
    assert found.recipe.layout.world == 1
    assert found.finished


def test_a_chain_that_is_stopped_in_its_processes_goes_on_to_the_same_bytes(
    source: Run, tmp_path: Path
) -> None:
    how = "prune:0.5 > tune:6epochs"
    in_layout(source, data=2)
    try:
        whole, _ = carried(source, tmp_path / "whole", how)
        words = ["compress", str(source.folder), "--how", how, "--runs", str(tmp_path / "stopped")]
        process = subprocess.Popen(
            [sys.executable, "-m", "zafu", *words], stderr=subprocess.PIPE, start_new_session=True
        )
        until = time.monotonic() + 100
        while not list(tmp_path.glob("stopped/*-tune-*/checkpoints/step-*")):
            assert time.monotonic() < until, "no checkpoint was written"
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=100)
        assert process.returncode == 75, said
        again, _ = carried(source, tmp_path / "stopped", how)
    finally:
        in_layout(source)

    assert again.name == whole.name
    assert (again.model / MODEL).read_bytes() == (whole.model / MODEL).read_bytes()
