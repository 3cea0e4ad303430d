"""Chains on a real run: links are made once, shared, and survive being killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import zafu
from zafu.artifact import read_json
from zafu.build import load_model
from zafu.compress.words import chain
from zafu.errors import RecipeError, Refused
from zafu.pipeline import evaluate
from zafu.recipe import Recipe
from zafu.shrink.chain import NAME, Shrunk, compress
from zafu.source import parse_yaml

RECIPE = """\
task: {kind: classification}
data: {kind: digits, split: {seed: 0}}
model: {kind: mlp, width: 32, layers: 2}
fit: {epochs: 2, threads: 1, save_every: 2, optimizer: {kind: adamw, lr: 3e-3}, trackers: []}
evaluate: {baselines: []}
"""
pytestmark = pytest.mark.slow  # the chain that all of them share is made in ten
HOW = "prune:0.5 > distil:4epochs > int8"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shrink")
    (folder / "digits.yaml").write_text(RECIPE, encoding="utf-8")
    zafu.train(folder / "digits.yaml", out=folder / "runs" / "digits-0")
    return folder


def shrunk(place: Path, how: str, run: str = "digits-0") -> Shrunk:
    *_, last = compress(place / "runs" / run, chain(how))
    assert isinstance(last, Shrunk)
    return last


@pytest.fixture(scope="module")
def whole(place: Path) -> Shrunk:
    return shrunk(place, HOW)


def weights(folder: Path) -> str:
    return read_json(folder / "model" / "card.json")["files"]["model.safetensors"]


def folders(place: Path) -> dict[str, int]:
    """The links that are there, with the time at which each was made."""
    found = (place / "runs").glob("*/model/card.json")
    return {path.parent.parent.name: path.stat().st_mtime_ns for path in found}


def test_a_chain_ends_in_a_run_like_any_other(whole: Shrunk) -> None:
    scores = evaluate(whole.folder)

    last = whole.found["rows"][-1]
    assert whole.new
    assert scores["accuracy"].dump() == last["scores"]["accuracy"]
    assert [row["name"] for row in whole.found["rows"]] == [
        "before", "1 prune", "2 distil", "3 int8",
    ]  # fmt: skip
    assert last["bytes"] < whole.found["rows"][0]["bytes"] / 3
    assert [bool(row["sensitivity"]) for row in whole.found["rows"]] == [False, False, False, True]
    assert set(last["sensitivity"]) == {"layers.0.linear", "layers.1.linear", "head"}
    assert (whole.folder / "report.html").is_file()


def test_the_same_chain_again_makes_nothing(whole: Shrunk, place: Path) -> None:
    before = folders(place)

    again = shrunk(place, HOW)

    assert not again.new
    assert again.found == whole.found
    assert folders(place) == before


def test_chains_that_begin_alike_share_what_they_begin_with(whole: Shrunk, place: Path) -> None:
    before = folders(place)

    other = shrunk(place, "prune:0.5 > bf16")

    after = folders(place)
    assert after.keys() - before.keys() == {other.folder.name}
    assert {name: after[name] for name in before} == before


def test_a_link_that_trains_names_its_start_wherever_it_is_read(whole: Shrunk) -> None:
    fit = Recipe.stored(whole.folder / "model" / "recipe.yaml").fit

    assert fit.start
    assert Path(fit.start).is_absolute()
    assert fit.distil
    assert Path(fit.distil.teacher).is_absolute()


def test_a_refusal_names_the_layer_and_leaves_nothing(place: Path) -> None:
    how = "{kind: prune, amount: 0.2, multiple: 1} > {kind: sparsify, pattern: '2:4'}"

    with pytest.raises(Refused, match=r"sparsify: .* layers\.1\.linear reads 26"):
        shrunk(place, how)

    assert not [*(place / "runs").glob("*sparsify*")]


def test_what_was_rounded_before_is_not_pruned(whole: Shrunk, place: Path) -> None:
    with pytest.raises(RecipeError, match="prune before int8"):
        shrunk(place, "prune", whole.folder.name)


def edited_recipe(**fit: Any) -> Recipe:
    recipe = Recipe.parse(parse_yaml(RECIPE).data)
    return recipe.model_copy(update={"fit": recipe.fit.model_copy(update=fit)})


def test_identity_is_of_the_weights_of_the_start_and_not_of_their_place(
    whole: Shrunk, place: Path, tmp_path: Path
) -> None:
    first = place / "runs" / "digits-0"
    copy = tmp_path / "elsewhere"
    copy.symlink_to(first)

    one, moved, other, none = (
        edited_recipe(start=None if folder is None else str(folder)).identity()
        for folder in (first, copy, whole.folder, None)
    )

    assert one == moved
    assert len({one, other, none}) == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("fit.start={}", r"fit\.start: .*layers\.0\.linear"),
        ("fit.distil={{teacher: {}}}", None),
        ("fit.start={}/nowhere", r"fit\.start: expected a finished run"),
        ("fit.distil={{teacher: {}/nowhere}}", r"fit\.distil\.teacher: expected a finished run"),
    ],
)
def test_a_start_must_fit_and_a_teacher_may_be_of_any_shape(
    change: str, said: str | None, place: Path, tmp_path: Path
) -> None:
    changes = (change.format(place / "runs" / "digits-0"), "model.width=8", "fit.epochs=1")

    def train() -> None:
        zafu.train(place / "digits.yaml", *changes, out=tmp_path / "run")

    if said is None:
        train()
        assert (tmp_path / "run" / "model" / "card.json").is_file()
    else:
        with pytest.raises(Refused, match=said):
            train()


def command(place: Path, runs: Path) -> list[str]:
    words = ["compress", str(place / "runs" / "digits-0"), "--how", HOW, "--runs", str(runs)]
    return [sys.executable, "-m", "zafu", *words, "--json"]


def killed_when(place: Path, runs: Path, ready: Callable[[], object]) -> None:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    child = subprocess.Popen(command(place, runs), **quiet)  # pyright: ignore
    while not ready() and child.poll() is None:
        time.sleep(0.002)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="kills processes at moments seen in folders")
def test_killed_in_links_of_both_kinds_it_ends_with_the_same_bytes(
    whole: Shrunk, place: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    for pattern in ("*prune*", "*distil*/checkpoints/step-00000000[2-9]*", "*int8*"):
        killed_when(place, runs, lambda pattern=pattern: [*runs.glob(pattern)])
    done = subprocess.run(command(place, runs), capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    (last,) = runs.glob("*-int8-*")
    assert last.name == whole.folder.name
    assert weights(last) == weights(whole.folder)
    assert (last / NAME).is_file()
    assert torch.equal(*(next(load_model(f / "model")[0].buffers()) for f in (last, whole.folder)))
