"""Stacks that learn out of fold: what they learn from, and what cannot stand for a member."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import zafu
from zafu.artifact import read_json, write_json
from zafu.cli import main
from zafu.crossval import Crossval, carried, out_of_fold
from zafu.data import pool
from zafu.errors import Refused
from zafu.fuse.fusion import Asked, Fused, fuse
from zafu.fuse.members import read as read_members
from zafu.fuse.out_of_fold import read
from zafu.fuse.weights import stacked
from zafu.pipeline import evaluate, load_model
from zafu.recipe import Recipe
from zafu.run import Run, prepared
from zafu.signals import Stop
from zafu.task import Classification

RECIPE = """\
task: {kind: classification}
data: {kind: digits, split: {seed: 0}}
model: {kind: mlp, width: 16, layers: 1}
fit: {epochs: 1, threads: 1, optimizer: {kind: adamw, lr: 1e-2}, trackers: []}
evaluate: {baselines: []}
"""
SMALL = {"wide": {"model.width": 24}, "narrow": {"model.width": 8}}


def ids_of(data: Path, split: str) -> np.ndarray:
    """The places in the pool of a split's samples."""
    found = pool.ids(data, split)
    assert found is not None
    return np.array(found)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two widths; of each a cross-validation with other seeds and shares."""
    folder = tmp_path_factory.mktemp("out-of-fold")
    file = folder / "digits.yaml"
    file.write_text(RECIPE, encoding="utf-8")
    for name, changes in SMALL.items():
        words = [f"{path}={value}" for path, value in changes.items()]
        zafu.train(file, *words, out=folder / "runs" / name)
        dealt = Recipe.load(file, [*words, "seed=5", "data.split={validation: 0, stratify: true}"])
        found = Crossval(dealt, folder / "runs" / f"{name}-folds", folder / "runs", folds=3)
        carried(found.on("sequential"))
    return folder / "runs"


@pytest.fixture(scope="module")
def members(place: Path) -> list[Path]:
    return [place / name for name in SMALL]


@pytest.fixture(scope="module")
def folds(place: Path) -> list[Path]:
    return [place / f"{name}-folds" for name in SMALL]


@pytest.fixture(scope="module")
def stack(members: list[Path], folds: list[Path]) -> Fused:
    return fuse(members, "stack", out_of_fold=folds[::-1])


def test_a_stack_learns_from_all_answers_but_those_that_judge(
    stack: Fused, members: list[Path], folds: list[Path]
) -> None:
    """What is stored is what the reference, computed from the folders' tables, comes to."""
    tables = [np.load(folder / "oof.npy") for folder in folds]
    data = prepared(Run.open(members[0]).recipe, members[0].parent)
    tables = [np.sort(table, order="id") for table in tables]
    kept = [table[~np.isin(table["id"], ids_of(data, "test"))] for table in tables]
    logs = [torch.from_numpy(Classification.probabilities(t["answers"])).log() for t in kept]
    true = torch.from_numpy(kept[0]["answers"][:, 2].astype(np.int64))

    weight, bias, _ = stacked(torch.stack(logs), true)

    own = load_model(stack.folder / "model")[0].get_submodule("stack")
    torch.testing.assert_close(own.get_parameter("weight"), weight.float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(own.get_parameter("bias"), bias.float(), rtol=1e-4, atol=1e-5)
    assert len(true) == 1797 - len(ids_of(data, "test"))
    assert stack.found["out_of_fold"] == len(true)
    assert f"{len(true):,} out-of-fold answers of each member" in stack.found["notes"][0]
    assert "samples of the test split are not among them" in stack.found["notes"][2]


def test_the_fused_model_has_the_finished_runs_as_members(
    stack: Fused, members: list[Path], folds: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = torch.randn(5, 1, 8, 8)
    fused = load_model(stack.folder / "model")[0]

    with torch.inference_mode():
        for index, path in enumerate(members):
            alone = load_model(path / "model")[0](inputs)
            own = fused.get_submodule(f"members.{index}")(inputs)
            torch.testing.assert_close(own, alone)

    words = [*map(str, members), "--how", "stack"]
    said = evaluate(stack.folder)["accuracy"].dump()
    assert said == stack.found["fused"]["scores"]["accuracy"]
    assert main(["fuse", *words, "--out-of-fold", *map(str, folds)]) == 0
    assert "is finished" in " ".join(capsys.readouterr().out.split())
    assert Asked(read_members(members), "stack", None).digest not in stack.folder.name


def test_of_several_repeats_the_first_is_read(place: Path, members: list[Path]) -> None:
    recipe = Run.open(place / "wide").recipe
    twice = Crossval(recipe, place / "twice", place, folds=3, repeats=2).on("sequential")
    carried(twice)

    found = read(read_members(members), [place / "twice", place / "narrow-folds"], Stop())

    first = out_of_fold(recipe, folds=3, runs=place, name="wide")
    kept = ~np.isin(first.ids, ids_of(prepared(recipe, place), "test"))
    logs = torch.from_numpy(Classification.probabilities(first.answers[kept])).log()
    torch.testing.assert_close(found.answers[0], logs, rtol=1e-4, atol=1e-5)  # another engine
    assert "of the first repeat" in found.notes[0]


def test_what_cannot_stand_for_a_member_is_refused_at_once(
    place: Path, members: list[Path], folds: list[Path], tmp_path: Path
) -> None:
    unfinished = tmp_path / "unfinished"
    shutil.copytree(folds[0], unfinished)
    status = read_json(unfinished / "status.json")
    write_json(unfinished / "status.json", status | {"state": "interrupted"})
    other = tmp_path / "other"
    shutil.copytree(folds[0], other)
    text = (other / "recipe.yaml").read_text()
    (other / "recipe.yaml").write_text(text.replace("width: 24", "width: 20"))
    before = sorted(place.iterdir())

    with pytest.raises(Refused) as caught:
        fuse(members, "stack", out_of_fold=[unfinished, other, place / "wide", tmp_path / "no"])

    said = str(caught.value)
    for text in (
        "unfinished: expected a finished cross-validation, found one that is interrupted",
        "wide: expected a cross-validation, found a run",
        "no: expected a run folder",
        "wide: expected a cross-validation of its recipe, found none; other differs:",
        "model.width: expected 24, found 20",
        "narrow: expected a cross-validation of its recipe, found none",
        "model.width: expected 8, found 20",
    ):
        assert text in said
    assert "seed" not in said
    assert "data.split" not in said
    assert sorted(place.iterdir()) == before


def test_samples_that_do_not_match_are_refused(
    place: Path, members: list[Path], folds: list[Path], tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(folds[0], runs / "fewer")
    said = read_json(runs / "fewer" / "folds.json")
    said["parts"] = said["parts"][1:]
    write_json(runs / "fewer" / "folds.json", said)
    name = said["parts"][0]["data"]
    shutil.copytree(place / "data" / name, runs / "data" / name)
    names = pool.names(runs / "data" / name)
    pool.write(runs / "data" / name, {}, ["unknown", *names[1:]])

    with pytest.raises(Refused) as caught:
        fuse(members, "stack", out_of_fold=[runs / "fewer", folds[1]])

    text = str(caught.value)
    assert "expected the 1,797 samples of wide, found 1,797, 1 of them unknown" in text
    assert "599 are in one of them alone" in text


def test_two_seeds_need_two_cross_validations(
    place: Path, members: list[Path], folds: list[Path]
) -> None:
    zafu.train(place.parent / "digits.yaml", "model.width=24", "seed=1", out=place / "wide-1")

    with pytest.raises(Refused, match=r"wide-folds is taken by another: each has its own"):
        fuse([*members, place / "wide-1"], "stack", out_of_fold=folds)


def test_a_cross_validation_is_no_member_and_the_option_is_named(
    members: list[Path], folds: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Refused, match=r"found a cross-validation; name it after .*--out-of-fold"):
        fuse([members[0], folds[1]], "stack")
    with pytest.raises(Refused, match="expected --how stack, found --how vote"):
        fuse(members, "vote", out_of_fold=folds)

    words = ["fuse", *map(str, members), "--how", "vote", "--out-of-fold", *map(str, folds)]
    assert main(words) == 2
    assert "expected --how stack" in capsys.readouterr().err


HOUSES = """\
task: regression
data: {kind: table, files: [FILE], target: price, split: {seed: 0, validation: 0.0}}
model: {kind: mlp, width: 8}
fit: {epochs: 3, threads: 1, optimizer: {kind: adamw, lr: 1e-2}, trackers: []}
evaluate: {baselines: []}
"""


def test_numbers_are_brought_to_the_scale_of_the_members(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = random.uniform(1, 9, (200, 2))
    lines = [f"{a:.3f},{b:.3f},{900 * a - b * b + random.normal():.3f}" for a, b in rows]
    (tmp_path / "houses.csv").write_text("\n".join(["rooms,area,price", *lines]) + "\n")
    text = HOUSES.replace("FILE", str(tmp_path / "houses.csv"))
    (tmp_path / "houses.yaml").write_text(text)
    runs, paths, folders = tmp_path / "runs", list[Path](), list[Path]()
    recipe = Recipe.load(tmp_path / "houses.yaml")
    for seed in range(2):
        paths.append(runs / f"houses-{seed}")
        zafu.train(tmp_path / "houses.yaml", f"seed={seed}", out=paths[-1])
        folders.append(runs / f"folds-{seed}")
        named = Crossval(recipe.at("seed", seed), folders[-1], runs, folds=3)
        carried(named.on("sequential"))

    found = read(read_members(paths), folders, Stop())
    fused = fuse(paths, "stack", out_of_fold=folders)

    data = prepared(recipe, runs)
    ids = ids_of(data, "train")
    where = np.isin(np.setdiff1d(np.arange(200), ids_of(data, "test")), ids)
    targets = recipe.data.open(data, "train").batch(np.argsort(ids)).targets.double()
    own = found.targets[torch.from_numpy(where)]
    torch.testing.assert_close(own, targets, rtol=1e-5, atol=1e-6)
    assert [one.folder.name for one in found.folds] == ["folds-0", "folds-1"]
    assert json.loads((fused.folder / "fusion.json").read_text())["out_of_fold"] == len(where)
