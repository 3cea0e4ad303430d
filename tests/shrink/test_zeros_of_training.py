"""Zeros that training makes, in a run and in a chain; early weights that come back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import zafu
from zafu import tensors
from zafu.artifact import read_json
from zafu.build import build, load_model
from zafu.compress.words import chain
from zafu.errors import RecipeError, Refused
from zafu.nets.sparse import thin, whole
from zafu.pipeline import evaluate
from zafu.recipe import Recipe
from zafu.shrink.chain import compress
from zafu.shrink.links import folder_of, made, placed
from zafu.signature import Signature
from zafu.trial import Trial, outcome

RECIPE = """\
task: {kind: classification}
data: {kind: digits, split: {seed: 0}}
model: {kind: mlp, width: 32, layers: 2}
fit: {epochs: 2, threads: 1, save_every: 2, optimizer: {kind: adamw, lr: 3e-3}, trackers: []}
evaluate: {baselines: []}
"""
SIZES = {"layers.0.linear": 64 * 32, "layers.1.linear": 32 * 32}
SPARSE = ("fit.sparsity.amount=0.9", "fit.sparsity.every=4")
MAGNITUDE = "{kind: sparsify, amount: 0.5, score: magnitude}"
MORE = "{kind: sparsify, amount: 0.8, score: magnitude}"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zeros")
    (folder / "digits.yaml").write_text(RECIPE, encoding="utf-8")
    zafu.train(folder / "digits.yaml", out=folder / "runs" / "digits-0")
    zafu.train(folder / "digits.yaml", *SPARSE, out=folder / "runs" / "thin-0")
    return folder


def carried(place: Path, how: str, run: str = "digits-0", runs: Path | None = None) -> list[Path]:
    """The folders of a chain's links, without the table of what they cost."""
    links, where = chain(how), placed(place / "runs" / run, runs)
    for count in range(1, len(links) + 1):
        for _ in made(where, links[:count]):
            pass
    return [folder_of(where, links[:count]) for count in range(1, len(links) + 1)]


def left(folder: Path) -> dict[str, int]:
    module, *_ = load_model(folder / "model")
    return {name: layer.values.numel() for name, layer in thin(module).items()}


def digest(folder: Path) -> str:
    return read_json(folder / "model" / "card.json")["files"]["model.safetensors"]


def size(folder: Path) -> int:
    return (folder / "model" / "model.safetensors").stat().st_size


def test_a_run_with_zeros_is_stored_by_what_is_left_and_judged_as_it_is(place: Path) -> None:
    run = place / "runs" / "thin-0"

    scores = evaluate(run)

    assert left(run) == {name: many - round(0.9 * many) for name, many in SIZES.items()}
    assert size(run) < size(place / "runs" / "digits-0") / 3
    told = read_json(run / "evaluation.json")["scores"]
    assert scores["accuracy"].dump() == told["accuracy"]
    assert scores["loss"].value == pytest.approx(told["loss"]["value"], rel=1e-6)


def test_its_identity_is_another(place: Path) -> None:
    plain = Recipe.load(place / "digits.yaml")

    assert Recipe.load(place / "digits.yaml", SPARSE).identity() != plain.identity()


def test_what_follows_a_run_with_zeros_is_checked_as_behind_a_link(place: Path) -> None:
    with pytest.raises(RecipeError, match="prune before"):
        next(compress(place / "runs" / "thin-0", chain("prune")))
    with pytest.raises(RecipeError, match="prune before"):
        Recipe.load(place / "digits.yaml", (*SPARSE, "compress=prune"))


def test_too_few_steps_are_refused_before_the_first(place: Path, tmp_path: Path) -> None:
    changes = (*SPARSE, "fit.epochs=null", "fit.steps=3")

    with pytest.raises(RecipeError, match=r"fit\.sparsity\.end: expected at most 0\.666667"):
        zafu.train(place / "digits.yaml", *changes, out=tmp_path / "run")

    assert not [*(tmp_path / "run" / "checkpoints").glob("step-*")]


@pytest.mark.parametrize("score", ["magnitude", "movement"])
def test_a_training_that_stops_and_goes_on_is_one_that_does_not(place: Path, score: str) -> None:
    changes = (*SPARSE, f"fit.sparsity.score={score}", "fit.average=ema")
    recipe = Recipe.load(place / "digits.yaml", changes)
    (data,) = (p for p in (place / "runs" / "data").iterdir() if p.is_dir())
    straight = outcome(Trial(recipe, data))

    half = outcome(Trial(recipe, data, until=0.4))
    rest = outcome(Trial(recipe, data, begin=half.state))

    assert rest.weights.keys() == straight.weights.keys()
    assert all(torch.equal(t, straight.weights[n]) for n, t in rest.weights.items())
    zeros = {name: int((straight.weights[f"{name}.weight"] == 0).sum()) for name in SIZES}
    assert zeros == {name: round(0.9 * many) for name, many in SIZES.items()}


def test_a_link_takes_weights_while_it_trains_and_the_bytes_fall(place: Path) -> None:
    how = "{kind: gradual, amount: 0.8, score: movement, every: 4} > tune > int8"
    folders = carried(place, how)

    expected = {name: many - round(0.8 * many) for name, many in SIZES.items()}
    for folder in folders:
        assert left(folder) == expected
        told = read_json(folder / "evaluation.json")["scores"]
        assert evaluate(folder)["accuracy"].dump() == told["accuracy"]
    assert size(folders[0]) < size(place / "runs" / "digits-0") / 2
    assert Recipe.stored(folders[1] / "recipe.yaml").fit.sparsity is None


def first_weights(recipe: Recipe, place: Path) -> dict[str, torch.Tensor]:
    (data,) = (p for p in (place / "runs" / "data").iterdir() if p.is_dir())
    module, *_ = build(recipe, Signature.parse(read_json(data / "signature.json")))
    return tensors.of_module(module)


def begun(folder: Path) -> dict[str, torch.Tensor]:
    """The weights with which a link began, whole."""
    module, *_ = load_model(folder / "start" / "model")
    found = {f"{n}.weight": whole(layer).weight.detach() for n, layer in thin(module).items()}
    rest = tensors.of_module(module)
    return found | {n: t for n, t in rest.items() if not n.endswith((".values", ".mask"))}


def test_what_is_left_gets_the_weights_that_the_run_began_with(place: Path) -> None:
    recipe = Recipe.load(place / "digits.yaml")
    first = first_weights(recipe, place)

    folders = carried(place, f"{MAGNITUDE} > rewind > {MORE} > rewind")

    for folder, amount in ((folders[1], 0.5), (folders[3], 0.8)):
        start = begun(folder)
        assert start.keys() == first.keys()
        for name, tensor in start.items():
            gone = tensor == 0
            share = amount if name.removesuffix(".weight") in SIZES else 0
            assert not share or int(gone.sum()) == round(share * tensor.numel())
            assert torch.equal(tensor, first[name].masked_fill(gone, 0))
        fit = Recipe.stored(folder / "recipe.yaml").fit
        assert (fit.goal(), fit.optimizer) == (recipe.fit.goal(), recipe.fit.optimizer)


def test_or_those_that_it_had_after_a_share_of_its_training(place: Path) -> None:
    recipe = Recipe.load(place / "digits.yaml")
    (data,) = (p for p in (place / "runs" / "data").iterdir() if p.is_dir())
    early = outcome(Trial(recipe, data, judged=(), until=0.25)).weights

    folder = carried(place, f"{MAGNITUDE} > rewind:0.25:4steps")[-1]

    for name, tensor in begun(folder).items():
        assert torch.equal(tensor, early[name].masked_fill(tensor == 0, 0))


def test_rewinding_everything_that_stays_is_the_first_training_again(place: Path) -> None:
    """With no weight gone the rewound training is the run's own, bit for bit."""
    folder = carried(place, "{kind: gradual, amount: 0, budget: 5steps} > rewind")[-1]

    assert digest(folder) == digest(place / "runs" / "digits-0")


def test_links_have_no_early_weights(place: Path) -> None:
    (link,) = carried(place, MAGNITUDE)

    with pytest.raises(Refused, match="rewind: expected a run that was trained, found a link"):
        next(compress(link, chain(f"{MORE} > rewind")))


KILLED = "{kind: gradual, amount: 0.8, score: movement, budget: 3epochs} > rewind:0.2"
SCRIPT = """\
import importlib.util, pathlib, sys
spec = importlib.util.spec_from_file_location("chains", sys.argv[1])
chains = importlib.util.module_from_spec(spec)
spec.loader.exec_module(chains)
chains.carried(pathlib.Path(sys.argv[2]), chains.KILLED, runs=pathlib.Path(sys.argv[3]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="kills processes at moments seen in folders")
def test_killed_while_weights_go_it_ends_with_the_same_bytes(place: Path, tmp_path: Path) -> None:
    undisturbed, runs = carried(place, KILLED), tmp_path / "runs"
    command = [sys.executable, "-c", SCRIPT, __file__, str(place), str(runs)]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    for pattern in ("*gradual*/checkpoints/step-00000002*", "*rewind*/checkpoints/step-00000001*"):
        child = subprocess.Popen(command, **quiet)
        while not [*runs.glob(pattern)] and child.poll() is None:
            time.sleep(0.002)
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    for folder in undisturbed:
        assert digest(runs / folder.name) == digest(folder)
