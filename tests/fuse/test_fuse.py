"""Fusing real runs: what comes out is a model like any other, and what cannot be is refused."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import zafu
from zafu import artifact, tensors
from zafu.cli import main
from zafu.errors import Refused
from zafu.fuse.fusion import LOCK, Fused, fuse
from zafu.fuse.soup import average
from zafu.pipeline import evaluate, load_model
from zafu.run import Run

RECIPE = """\
task: {kind: classification}
data: {kind: digits, split: {seed: 0}}
model: {kind: mlp, width: 16, layers: 1}
fit: {epochs: 2, threads: 1, optimizer: {kind: adamw, lr: 3e-3}, trackers: []}
evaluate: {baselines: [constant]}
"""
HOUSES = """\
task: regression
data: {kind: table, files: [houses.csv], target: price, split: {seed: 0}}
model: {kind: mlp, width: 16}
fit: {epochs: 5, threads: 1, optimizer: {kind: adamw, lr: 1e-2}, trackers: []}
evaluate: {baselines: []}
"""
TEXT = """\
task: language-modeling
data: {kind: text, files: ['FOLDER/*.txt'], context: 16, tokenizer: {kind: bpe, vocab: 300},
       split: {seed: 0, validation: 0.2, test: 0.2}}
model: {kind: decoder, width: 16, layers: 1, heads: 2}
fit: {steps: 5, batch: 4, threads: 1, trackers: []}
evaluate: {baselines: [], prompts: [the]}
"""
OTHERS = {
    "convnet": ["model={kind: convnet, width: 8, stages: 1, blocks: 1}"],
    "split": ["data.split.seed=1"],
    "cyclic": ["fit.schedule={kind: cyclic, cycles: 3}", "fit.epochs=3", "fit.keep=1"],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of digits: three seeds, another architecture, another split, one in cycles."""
    folder = tmp_path_factory.mktemp("fuse")
    recipe = folder / "digits.yaml"
    recipe.write_text(RECIPE, encoding="utf-8")
    for seed in range(3):
        zafu.train(recipe, f"seed={seed}", out=folder / "runs" / f"digits-{seed}")
    for name, changes in OTHERS.items():
        zafu.train(recipe, *changes, out=folder / "runs" / name)
    return folder / "runs"


@pytest.fixture(scope="module")
def three(place: Path) -> list[Path]:
    return [place / f"digits-{seed}" for seed in range(3)]


@pytest.fixture(scope="module")
def vote(three: list[Path]) -> Fused:
    return fuse(three, "vote")


def test_a_fused_model_is_evaluated_predicted_and_reported_as_any_other(
    vote: Fused, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = evaluate(vote.folder)

    said = json.loads((vote.folder / "evaluation.json").read_text())["scores"]
    assert scores["accuracy"].dump() == said["accuracy"]
    assert Run.open(vote.folder).finished
    assert main(["report", str(vote.folder)]) == 0
    page = (vote.folder / "report.html").read_text()
    assert "digits-2" in page
    assert "Disagreement" in page
    assert f"{vote.folder.name}.part" not in page
    assert main(["export", str(vote.folder), "--kind", "hub"]) == 2
    assert "a model of kind decoder or hub, found ensemble" in capsys.readouterr().err


def test_a_vote_says_the_mean_of_what_its_members_say(vote: Fused, three: list[Path]) -> None:
    pictures = torch.randn(7, 1, 8, 8)
    fused = load_model(vote.folder / "model")[0]
    members = [load_model(path / "model")[0] for path in three]

    with torch.inference_mode():
        found = fused(pictures).exp()
        mean = torch.stack([member(pictures).softmax(-1) for member in members]).mean(0)

    torch.testing.assert_close(found, mean, rtol=1e-5, atol=1e-7)


def test_the_card_names_its_parents_by_their_digests(vote: Fused, three: list[Path]) -> None:
    digests = [artifact.card(path / "model")["sha256"] for path in three]

    for card in (artifact.verify(vote.folder), artifact.verify(vote.folder / "model")):
        assert [parent["sha256"] for parent in card["members"]] == digests


def test_the_same_fusion_again_is_finished(
    vote: Fused, three: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    again = fuse(three, "vote")

    assert again.folder == vote.folder
    assert again.found == vote.found
    assert not again.new
    assert main(["fuse", *map(str, three), "--how", "vote"]) == 0
    assert "is finished" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("way", ["hard", "weighted", "stack"])
def test_members_of_any_architecture_are_joined(way: str, three: list[Path], place: Path) -> None:
    found = fuse([three[0], place / "convnet"], way).found  # pyright: ignore

    assert [row["kind"] for row in found["members"]] == ["mlp", "convnet"]
    assert found["verdict"] in ("better", "worse", "not shown")
    assert "validation split, on which members may have been chosen" in found["notes"][0]
    for row in (*found["members"], found["fused"]):
        assert {"parameters", "bytes", "latency"} == row["cost"].keys()
        for latency in row["cost"]["latency"].values():
            assert latency["low"] <= latency["value"] <= latency["high"]


def test_a_soup_has_the_mean_of_the_weights_and_its_members_recipe(three: list[Path]) -> None:
    fused = fuse(three, "uniform")

    states = [tensors.read(path / "model" / "model.safetensors") for path in three]
    own = tensors.read(fused.folder / "model" / "model.safetensors")
    for name, mean in average(states).items():
        assert torch.equal(own[name], mean)
    assert Run.open(fused.folder).recipe.model == Run.open(three[0]).recipe.model


def test_a_greedy_soup_is_not_below_the_best_member_on_validation(three: list[Path]) -> None:
    fused = fuse(three, "soup")

    best = max(evaluate(path, "validation")["accuracy"].value for path in three)
    assert evaluate(fused.folder, "validation")["accuracy"].value >= best


def test_a_fused_model_can_be_fused_again(vote: Fused, place: Path) -> None:
    again = fuse([vote.folder, place / "convnet"], "vote")

    assert again.folder.name.startswith("digits-fused-")
    assert "accuracy" in evaluate(again.folder)


def test_the_ends_of_cycles_are_kept_and_fused(place: Path) -> None:
    run = place / "cyclic"
    steps = [path.name for path in sorted((run / "checkpoints").iterdir())]

    found = fuse([run], "vote").found

    assert len(steps) == 3
    assert [row["name"] for row in found["members"]] == [f"cyclic/{step}" for step in steps]
    last = found["members"][-1]["scores"]["accuracy"]["value"]
    assert last == evaluate(run)["accuracy"].value


def test_members_that_cannot_be_fused_are_refused_with_all_faults(
    place: Path, three: list[Path], tmp_path: Path
) -> None:
    unfinished = place / "unfinished"
    unfinished.mkdir()
    (unfinished / "recipe.yaml").write_text((three[0] / "recipe.yaml").read_text())
    before = sorted(place.iterdir())

    with pytest.raises(Refused) as caught:
        fuse([three[0], three[0], unfinished, tmp_path / "nothing", place / "split"], "vote")

    said = str(caught.value)
    for text in (
        "digits-0",
        "unfinished: expected a finished run",
        "nothing: expected a run folder",
        "split: expected prepared data",
        "data.split.seed",
    ):
        assert text in said
    assert sorted(place.iterdir()) == before


def test_a_soup_of_two_architectures_is_refused_by_name(place: Path, three: list[Path]) -> None:
    with pytest.raises(Refused, match=r"convnet: model\.kind: expected mlp, found convnet"):
        fuse([three[0], place / "convnet"], "soup")


def test_one_run_with_one_checkpoint_has_nothing_to_fuse(three: list[Path]) -> None:
    with pytest.raises(Refused, match="two runs or more, or one with two checkpoints"):
        fuse([three[0]], "vote")


def test_another_folder_is_not_overwritten(three: list[Path], tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("kept")

    with pytest.raises(Refused, match="something else"):
        fuse(three, "vote", out=tmp_path)

    assert (tmp_path / "mine").read_text() == "kept"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_what_was_killed_in_the_middle_is_not_there(
    number: signal.Signals, place: Path, three: list[Path]
) -> None:
    out = place / f"killed-{number.name}"
    words = ["fuse", *map(str, three), "--how", "stack", "--out", str(out)]
    command = [sys.executable, "-m", "zafu", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while process.poll() is None and not _held(place / LOCK):
        time.sleep(0.01)

    os.kill(process.pid, number)
    process.communicate()

    part = out.with_name(out.name + ".part")
    assert process.returncode == (75 if number == signal.SIGINT else -number)
    assert not out.exists()
    assert number == signal.SIGKILL or not part.exists()
    assert main(words) == 0
    assert "accuracy" in evaluate(out)
    assert not part.exists()


def _held(lock: Path) -> bool:
    """Whether a fusion is under way."""
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, random = tmp_path_factory.mktemp("houses"), np.random.default_rng(0)
    rows = random.uniform(1, 9, (300, 2))
    lines = [f"{a:.3f},{b:.3f},{9 * a - b * b + random.normal():.3f}" for a, b in rows]
    (folder / "houses.csv").write_text("\n".join(["rooms,area,price", *lines]) + "\n")
    (folder / "houses.yaml").write_text(HOUSES.replace("houses.csv", str(folder / "houses.csv")))
    paths = [folder / "runs" / f"houses-{seed}" for seed in range(2)]
    for seed, path in enumerate(paths):
        zafu.train(folder / "houses.yaml", f"seed={seed}", out=path)
    return paths


@pytest.mark.parametrize("way", ["vote", "weighted", "stack"])
def test_numbers_are_averaged_and_stacked(way: str, houses: list[Path]) -> None:
    found = fuse(houses, way)  # pyright: ignore

    model = Run.open(found.folder).recipe.dump()["model"]
    assert model["join"] == ("linear" if way == "stack" else "mean")
    assert found.found["diversity"]["measure"] == "correlation of errors"
    assert found.found["effect"]["size"]["how"].startswith("bootstrap")
    assert "r2" in evaluate(found.folder)


def test_numbers_have_no_majority(houses: list[Path]) -> None:
    with pytest.raises(Refused, match="expected classification, found regression"):
        fuse(houses, "hard")


@pytest.fixture(scope="module")
def poems(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("poems")
    for poem in range(20):
        verses = [f"the {i} ravens sat upon the {i * poem % 50} walls\n" for i in range(20)]
        (folder / f"{poem}.txt").write_text("".join(verses), encoding="utf-8")
    (folder / "poems.yaml").write_text(TEXT.replace("FOLDER", str(folder)))
    paths = [folder / "runs" / f"poems-{seed}" for seed in range(2)]
    for seed, path in enumerate(paths):
        zafu.train(folder / "poems.yaml", f"seed={seed}", out=path)
    return paths


def test_language_models_vote_and_continue_a_text(
    poems: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    fused = fuse(poems, "weighted")

    assert "bits_per_byte" in evaluate(fused.folder)
    assert main(["generate", str(fused.folder), "--prompt", "the", "--length", "5"]) == 0
    assert capsys.readouterr().out.startswith("the")
    with pytest.raises(Refused, match="expected classes or numbers"):
        fuse(poems, "stack")
    with pytest.raises(Refused, match="found language-modeling") as caught:
        fuse(poems, "stack", out_of_fold=poems)
    assert "expected data that numbers its samples" in str(caught.value)


@pytest.mark.slow
def test_a_soup_of_decoders_is_exported_to_the_hub(poems: list[Path]) -> None:
    fused = fuse(poems, "uniform")

    assert main(["export", str(fused.folder), "--kind", "hub"]) == 0
    assert (fused.folder / "export" / "hub" / "config.json").is_file()
