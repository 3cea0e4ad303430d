"""A run becomes a folder that `transformers` loads, or nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import zafu
from zafu.artifact import read_json, verify
from zafu.cli import main
from zafu.deploy.gate import export
from zafu.errors import Mismatch, Refused
from zafu.export.hub import Hub
from zafu.pipeline import load_model
from zafu.recipe import Recipe
from zafu.run import Run
from zafu.tokenizers import encoder

RECIPE: dict[str, Any] = {
    "task": "language-modeling",
    "data": {
        "kind": "text",
        "files": ["stdlib:asyncio/*.py"],
        "context": 16,
        "tokenizer": {"kind": "bpe", "vocab": 300},
    },
    "model": {"kind": "decoder", "width": 16, "layers": 2, "heads": 2, "tied": True},
    "fit": {
        "optimizer": "adamw",
        "average": {"kind": "ema", "decay": 0.9},
        "batch": 8,
        "steps": 20,
        "save_every": 10,
        "threads": 1,
        "device": "cpu",
        "trackers": [],
    },
    "evaluate": {"baselines": [], "during": 64},
}
TEXT = "def run(self):\n    return 1\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs")
    return zafu.train(Recipe.parse(RECIPE), runs=folder)


def logits(folder: Path) -> torch.Tensor:
    """What `transformers` alone makes of a text."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    with torch.no_grad():
        return model(**tokenizer(TEXT, return_tensors="pt", return_token_type_ids=False)).logits


def ours(run: Run) -> torch.Tensor:
    tokens = encoder.load(run.model).encode([TEXT])[0].astype("int64")
    with torch.no_grad():
        return load_model(run.model)[0](torch.tensor(tokens)[None])


def test_transformers_answers_as_the_model_does(run: Run, tmp_path: Path) -> None:
    found = export(run, Hub(), tmp_path / "hub")

    verify(tmp_path / "hub")
    assert found.found["difference"] <= 1e-6
    torch.testing.assert_close(logits(tmp_path / "hub"), ours(run), rtol=1e-5, atol=1e-5)
    assert "bits_per_byte" in (tmp_path / "hub" / "README.md").read_text()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "hub")
    config = read_json(tmp_path / "hub" / "config.json")
    assert config["eos_token_id"] == tokenizer.eos_token_id == encoder.load(run.model).end


@pytest.mark.parametrize("more", [{"tied": True}, {"tied": False, "qk_norm": True}], ids=str)
def test_a_model_with_the_settings_of_a_narrow_one_is_an_ordinary_llama(
    tmp_path: Path, more: dict[str, bool]
) -> None:
    """What follows the width is in the weights, and nothing in the forward pass."""
    model = {**RECIPE["model"], **more, "transfer": {"width": 4}}
    wide = zafu.train(Recipe.parse({**RECIPE, "model": model}), runs=tmp_path)

    assert export(wide, Hub(), tmp_path / "hub").found["difference"] <= 1e-6


def test_weights_are_cut_into_files_of_a_limited_size(run: Run, tmp_path: Path) -> None:
    export(run, Hub(largest=10_000), tmp_path / "hub")

    files = sorted((tmp_path / "hub").glob("*.safetensors"))
    assert len(files) > 2
    assert all(file.stat().st_size <= 20_500 for file in files)  # of one tensor, or of less
    torch.testing.assert_close(logits(tmp_path / "hub"), ours(run), rtol=1e-5, atol=1e-5)


def test_the_last_checkpoint_gives_what_was_shipped(run: Run, tmp_path: Path) -> None:
    """With the average of the weights: those of the last step are others."""
    export(run, Hub(), tmp_path / "last", step=20)
    export(run, Hub(), tmp_path / "before", step=10)

    torch.testing.assert_close(logits(tmp_path / "last"), ours(run), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(logits(tmp_path / "before"), ours(run), rtol=1e-2, atol=1e-2)


def test_other_answers_are_not_published(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if a config did not say what the model does: places are turned by other angles."""
    real = type(run.recipe.model).hub_config
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": 9.0}}
    wrong = lambda self, signature: real(self, signature) | rope  # noqa: E731
    monkeypatch.setattr(type(run.recipe.model), "hub_config", wrong)

    with pytest.raises(Mismatch, match=r"of the largest, found .*nothing was published"):
        export(run, Hub(), tmp_path / "hub")

    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    table = {
        "task": "classification",
        "data": "digits",
        "model": "mlp",
        "fit": {"optimizer": "sgd", "batch": 64, "steps": 1, "trackers": []},
        "evaluate": {"baselines": []},
    }

    with pytest.raises(Refused, match=r"--step: expected one of 10, 20, found 7"):
        export(run, Hub(), tmp_path / "hub", step=7)
    with pytest.raises(Refused, match="expected a folder that zafu wrote or none"):
        export(run, Hub(), tmp_path / "mine")
    with pytest.raises(Refused, match=r"a model of kind decoder or hub, found mlp"):
        export(zafu.train(Recipe.parse(table), runs=tmp_path / "runs"), Hub(), tmp_path / "hub")
    with pytest.raises(Refused, match="expected a finished run; it has no step"):
        export(Run(run.folder.parent / "new", run.recipe), Hub(), tmp_path / "hub")

    assert not (tmp_path / "hub").exists()
    assert not list((tmp_path / "mine").iterdir())


def test_the_command_says_where_it_is_and_how_it_differs(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["export", str(run.folder), "--kind", "hub"])

    assert code == 0
    assert "opened and compared" in capsys.readouterr().out
    assert (run.folder / "export" / "hub" / "config.json").is_file()
