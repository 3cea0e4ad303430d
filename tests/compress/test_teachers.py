"""Who may teach: runs, fused and compressed ones, folders of transformers with our tokenizer."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

import zafu
from zafu import tensors
from zafu.artifact import read_json, write_json
from zafu.build import load_model
from zafu.compress.words import chain, link
from zafu.deploy.gate import export
from zafu.errors import RecipeError, Refused
from zafu.export.hub import Hub
from zafu.fuse.fusion import fuse
from zafu.recipe import Recipe
from zafu.run import Run, prepared
from zafu.shrink.links import folder_of, made, placed
from zafu.teaching import Taught, objective
from zafu.trial import Trial, outcome

FIT = {"optimizer": "adamw", "threads": 1, "device": "cpu", "trackers": []}
DIGITS: dict[str, Any] = {
    "task": "classification",
    "data": {"kind": "digits", "split": {"seed": 0}},
    "model": {"kind": "mlp", "width": 16},
    "fit": {**FIT, "epochs": 1},
    "evaluate": {"baselines": []},
}
TEXT: dict[str, Any] = {
    "task": "language-modeling",
    "data": {
        "kind": "text",
        "files": ["stdlib:json/*.py"],
        "context": 16,
        "tokenizer": {"kind": "bpe", "vocab": 300},
        "split": {"seed": 0, "validation": 0.2, "test": 0.2},
    },
    "model": {"kind": "decoder", "width": 16, "layers": 1, "heads": 2, "dropout": 0.1},
    "fit": {**FIT, "batch": 8, "steps": 6},
    "evaluate": {"baselines": [], "during": 64},
}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finished runs: two of digits by seed, and one of text."""
    folder = tmp_path_factory.mktemp("teachers")
    for seed in range(2):
        zafu.train(Recipe.parse({**DIGITS, "seed": seed}), out=folder / f"digits-{seed}")
    zafu.train(Recipe.parse(TEXT), out=folder / "text-0")
    return folder


@pytest.fixture(scope="module")
def exported(place: Path) -> Path:
    """The run of text as a folder of transformers."""
    export(Run.open(place / "text-0"), Hub(), place / "exported")
    return place / "exported"


def student(recipe: dict[str, Any], teacher: Path, **lesson: Any) -> Recipe:
    fit = {**recipe["fit"], "distil": {"teacher": str(teacher), **lesson}}
    return Recipe.parse({**recipe, "fit": fit, "seed": 5})


def taught(recipe: Recipe, place: Path) -> Taught:
    found = objective(recipe, prepared(recipe, place), CPU)
    assert isinstance(found, Taught)
    return found


def test_a_fused_run_teaches_what_its_members_say_together(place: Path) -> None:
    fused = fuse([place / f"digits-{seed}" for seed in range(2)], "vote").folder
    recipe = student(DIGITS, fused)
    pictures = torch.rand(5, 1, 8, 8)

    task = taught(recipe, place)
    found = outcome(Trial(recipe, prepared(recipe, place)))

    members = [load_model(place / f"digits-{seed}" / "model")[0] for seed in range(2)]
    with torch.no_grad():
        mean = torch.stack([member(pictures).softmax(-1) for member in members]).mean(0)
        torch.testing.assert_close(task.teacher(pictures).exp(), mean, rtol=1e-5, atol=1e-7)
    assert not found.diverged
    assert found.answers["validation"].size


def test_a_compressed_run_teaches(place: Path) -> None:
    whence, links = placed(place / "digits-0", None), chain("prune:0.5 > int8")
    for count in (1, 2):
        list(made(whence, links[:count]))
    folder = folder_of(whence, links)
    recipe = student(DIGITS, folder)

    task = taught(recipe, place)
    found = outcome(Trial(recipe, prepared(recipe, place)))

    pictures = torch.rand(5, 1, 8, 8)
    with torch.no_grad():
        expected = load_model(folder / "model")[0](pictures)
        assert torch.equal(task.teacher(pictures), expected)
    assert not found.diverged


def test_a_folder_of_transformers_teaches_as_the_run_of_which_it_is(
    place: Path, exported: Path
) -> None:
    tokens = torch.arange(32).view(2, 16)
    run, folder = (student(TEXT, at) for at in (place / "text-0", exported))

    ours, theirs = (taught(recipe, place).teacher(tokens) for recipe in (run, folder))

    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-5)
    assert run.identity() != folder.identity()


def test_one_that_transformers_wrote_teaches_too(place: Path, exported: Path) -> None:
    """Another architecture, with padding behind its vocabulary."""
    sizes: dict[str, Any] = {
        "vocab_size": 320,
        "n_positions": 16,
        "n_embd": 16,
        "n_layer": 1,
        "n_head": 2,
    }
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(**sizes))
    folder = place / "gpt2"
    model.save_pretrained(folder)
    shutil.copyfile(exported / "tokenizer.json", folder / "tokenizer.json")
    recipe = student(TEXT, folder)

    task, tokens = taught(recipe, place), torch.arange(32).view(2, 16)
    found = outcome(Trial(recipe, prepared(recipe, place)))

    with torch.no_grad():
        expected = model.eval()(tokens).logits[..., :300]
        torch.testing.assert_close(task.teacher(tokens), expected, rtol=1e-4, atol=1e-5)
    assert not found.diverged


def test_another_tokenizer_is_refused(place: Path, exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported, tmp_path / "other")
    plain = read_json(exported / "tokenizer.json")
    vocab = plain["model"]["vocab"]
    first, second = list(vocab)[260:262]
    vocab[first], vocab[second] = vocab[second], vocab[first]
    write_json(tmp_path / "other" / "tokenizer.json", plain)
    recipe = student(TEXT, tmp_path / "other")

    with pytest.raises(Refused, match=r"fit\.distil\.teacher: .*: 2 of 300 tokens have other"):
        taught(recipe, place)
    (tmp_path / "other" / "tokenizer.json").unlink()
    with pytest.raises(Refused, match=r"fit\.distil\.teacher: expected a tokenizer in .*other"):
        taught(recipe, place)


def test_too_short_a_teacher_and_one_of_another_task_are_refused(
    place: Path, exported: Path, tmp_path: Path
) -> None:
    shutil.copytree(exported, tmp_path / "short")
    config = read_json(exported / "config.json") | {"max_position_embeddings": 8}
    write_json(tmp_path / "short" / "config.json", config)

    with pytest.raises(
        Refused, match=r"fit\.distil\.teacher\.config: .*max_position_embeddings >= "
    ):
        taught(student(TEXT, tmp_path / "short"), place)
    with pytest.raises(Refused, match=r"expected a teacher of classification, found language"):
        taught(student(DIGITS, place / "text-0"), place)


def faults(recipe: dict[str, Any], teacher: Path, **lesson: Any) -> str:
    with pytest.raises(RecipeError) as error:
        student(recipe, teacher, **lesson)
    return str(error.value)


def test_what_cannot_be_taught_is_refused_with_all_faults(place: Path, exported: Path) -> None:
    teacher = place / "digits-0"

    digits = faults({**DIGITS, "fit": {**DIGITS["fit"], "compile": True}}, teacher, own=0.5)
    heads = faults(DIGITS, exported, attention=1.0)
    shards = faults({**TEXT, "layout": {"shard": 2}}, place / "text-0", own=0.5)
    stages = faults({**TEXT, "layout": {"tensor": 2}}, place / "text-0")

    assert "fit.compile: expected false with fit.distil.own" in digits
    assert "fit.distil.own: expected 0, as classification writes no text" in digits
    assert "fit.distil.attention: expected 0, as only decoder and vit" in heads
    assert "fit.distil.teacher: expected a finished run for classification" in heads
    assert "layout.shard: expected 1 with fit.distil.own" in shards
    assert "layout: expected data and shard alone" in stages


@pytest.mark.parametrize("lesson", ["features", "attention"])
def test_a_teacher_that_does_not_show_it_is_refused(
    lesson: str, place: Path, exported: Path
) -> None:
    with pytest.raises(Refused, match=rf"fit\.distil\.{lesson}: expected a teacher"):
        taught(student(TEXT, exported, **{lesson: 1.0}), place)


def weights(recipe: Recipe, place: Path, *, stops: tuple[float, ...]) -> dict[str, torch.Tensor]:
    """After a training that ends and goes on again at these shares of its budget."""
    trial = Trial(recipe, prepared(recipe, place), ())
    for until in stops:
        trial = trial._replace(begin=outcome(trial._replace(until=until)).state)
        assert trial.begin
    return outcome(trial).weights


def test_one_that_stopped_goes_on_to_the_same_bytes(place: Path) -> None:
    lesson = {"attention": 0.5, "features": 0.5, "own": 0.5}
    recipe = student(TEXT, place / "text-0", **lesson)

    whole = weights(recipe, place, stops=())
    stopped = weights(recipe, place, stops=(0.3, 0.7))
    without = weights(student(TEXT, place / "text-0"), place, stops=())

    assert all(torch.equal(weight, stopped[name]) for name, weight in whole.items())
    assert any(not torch.equal(weight, without[name]) for name, weight in whole.items())


def test_what_is_shipped_is_the_student_alone(place: Path, tmp_path: Path) -> None:
    recipe = student(TEXT, place / "text-0", attention=0.5, own=0.5)

    run = zafu.train(recipe, out=tmp_path / "run")

    plain = tensors.read(place / "text-0" / "model" / "model.safetensors")
    assert tensors.read(run.model / "model.safetensors").keys() == plain.keys()


def test_the_link_has_the_settings_of_the_recipe() -> None:
    one = link("{kind: distil, budget: 2epochs, temperature: 4, attention: 0.5, own: 0.2}")

    changed = one.changes({"optimizer": {"lr": 0.1}}, "start", "first")  # pyright: ignore

    assert changed["distil"] == {
        "teacher": "first", "share": 0.9, "temperature": 4.0, "divergence": "forward",
        "features": 0.0, "attention": 0.5, "own": 0.2,
    }  # fmt: skip
