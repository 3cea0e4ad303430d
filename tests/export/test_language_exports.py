"""A language model goes on writing in other runtimes what it would have written in torch."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import zafu
from zafu.cli import main
from zafu.deploy.bundle import opened, writer
from zafu.deploy.gate import export
from zafu.errors import Refused
from zafu.export.contract import Source
from zafu.export.gguf import Gguf
from zafu.export.hub import Hub
from zafu.export.onnx import Onnx
from zafu.export.runtime import gguf_file
from zafu.nets.decoder import Decoder, Shape
from zafu.nets.sampling import Choice
from zafu.recipe import Recipe
from zafu.run import Run
from zafu.signature import Signature

GREEDY = Choice(temperature=0)
CONTEXT = 16
RECIPE: dict[str, Any] = {
    "task": "language-modeling",
    "data": {
        "kind": "text",
        "files": ["stdlib:asyncio/*.py"],
        "context": CONTEXT,
        "tokenizer": {"kind": "bpe", "vocab": 300},
    },
    "model": {
        "kind": "decoder",
        "width": 32,
        "layers": 2,
        "heads": 2,
        "kv_heads": 1,
        "attend": "document",
    },
    "fit": {"optimizer": "adamw", "batch": 8, "steps": 40, "threads": 1, "trackers": []},
    "evaluate": {"baselines": [], "during": 64},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return zafu.train(Recipe.parse(RECIPE), runs=tmp_path_factory.mktemp("runs"))


def said(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    arguments = ["generate", str(folder), "--prompt", "def ", "--length", "40"]
    assert main([*arguments, "--temperature", "0"]) == 0
    return capsys.readouterr().out


def source(run: Run, module: nn.Module) -> Source:
    signature = Signature.parse(json.loads((run.model / "signature.json").read_text()))
    return Source(module.eval(), run.recipe, signature, run.model, (), print)


def test_a_graph_with_a_past_writes_the_same_tokens(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """More of them than a window has, of a model whose attention ends where a document begins."""
    found = export(run, Onnx(), tmp_path / "onnx").found

    assert found["written"] == {"tokens": 64, "equal": 64}
    assert said(tmp_path / "onnx", capsys) == said(run.folder, capsys)
    speaker, end = opened(tmp_path / "onnx").speaker, 0
    assert speaker is not None
    tokens = np.array([5, 9, end, 7, 30, 31])
    speaker.read(tokens[:4])
    whole = opened(run.folder).answers(tokens[None])[0, -1]
    np.testing.assert_allclose(speaker.read(tokens[4:]), whole, rtol=1e-4, atol=1e-5)


def test_llama_cpp_writes_the_same_tokens(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("gguf")
    pytest.importorskip("xllamacpp")

    found = export(run, Gguf(weights="f32"), tmp_path / "gguf").found

    assert found["written"] == {"tokens": 64, "equal": 64}
    assert found["difference"] <= 1e-5
    assert said(tmp_path / "gguf", capsys) == said(run.folder, capsys)


@pytest.mark.parametrize(
    ("weights", "most"),  # nats a token; random weights lose more than trained ones do
    [("f32", 1e-5), ("bf16", 0.02), ("q8_0", 0.05), ("q4_0", 0.5)],
)
@pytest.mark.parametrize("more", [{"tied": True, "kv_heads": 4}, {"qk_norm": True}], ids=str)
def test_llama_cpp_holds_tokens_for_as_likely(
    run: Run, tmp_path: Path, more: dict[str, Any], weights: str, most: float
) -> None:
    """A Llama and a Qwen3; what is rounded is near in Kullback-Leibler divergence."""
    pytest.importorskip("gguf")
    pytest.importorskip("xllamacpp")
    torch.manual_seed(0)
    sizes = {"width": 64, "layers": 2, "heads": 4, "kv_heads": 2, "hidden": 96}
    module = Decoder(Shape(**{"vocab": 300, "context": CONTEXT, **sizes, **more}))
    with torch.no_grad():
        for weight in module.parameters():
            weight.mul_(6) if weight.dim() > 1 else weight.mul_(1 + torch.rand_like(weight))
    tokens = torch.randint(1, 300, (2, CONTEXT))
    how = Gguf.parse({"kind": "gguf", "weights": weights})

    how.write(source(run, module), tmp_path)
    found = torch.from_numpy(how.open(tmp_path, threads=1)(tokens.numpy()))[:, 0]

    with torch.no_grad():
        expected = module(tokens)[:, -1].log_softmax(-1)
    assert (expected.exp() * (expected - found)).sum(1).abs().max() <= most
    same = torch.allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert same == (weights == "f32")


def test_rows_of_a_head_change_places_by_pairs() -> None:
    """Turning neighbours afterwards is turning halves before, up to the order of the dims."""
    weight = np.arange(2 * 6 * 3, dtype=np.float32).reshape(12, 3)

    found = gguf_file.neighbours(weight, 6)

    assert (found[:6] == weight[[0, 3, 1, 4, 2, 5]]).all()
    assert (found[6:] == weight[[6, 9, 7, 10, 8, 11]]).all()


def test_what_llama_cpp_does_not_know_is_refused_by_name(run: Run) -> None:
    sizes = {"vocab": 300, "context": CONTEXT, "layers": 1, "heads": 1, "kv_heads": 1}
    module = Decoder(Shape(**sizes, width=20, hidden=48))
    layer = module.model.layers[0]
    layer.mlp.up_proj = nn.Sequential(nn.Identity())

    found = [str(fault) for fault in gguf_file.faults(source(run, module), "q8_0")]

    assert any("layers.0.mlp.up_proj.0: expected a plain layer, found Identity" in f for f in found)
    assert any("layers.0.mlp.down_proj: expected rows of a multiple of 32" in f for f in found)
    assert [str(f) for f in gguf_file.faults(source(run, nn.Linear(2, 2)), "f32")]


def test_an_export_that_keeps_nothing_writes_no_text(run: Run, tmp_path: Path) -> None:
    plain = Recipe.parse({**RECIPE, "model": {**RECIPE["model"], "attend": "window"}})
    export(zafu.train(plain, runs=tmp_path / "runs"), Hub(), tmp_path / "hub")

    with pytest.raises(Refused, match="found one as hub, which keeps no past"):
        writer(tmp_path / "hub")


def test_a_draft_writes_ahead(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone = said(run.folder, capsys)
    arguments = ["generate", str(run.folder), "--prompt", "def ", "--length", "40"]

    assert main([*arguments, "--temperature", "0", "--draft", str(run.folder)]) == 0

    found = capsys.readouterr()
    assert found.out == alone
    assert "drafted tokens stayed" in found.err
    other = {**RECIPE, "data": {**RECIPE["data"], "tokenizer": {"kind": "bpe", "vocab": 310}}}
    another = zafu.train(Recipe.parse(other), runs=tmp_path / "runs")
    assert main([*arguments, "--draft", str(another.folder)]) == 2
    assert "expected a model with the tokenizer of" in capsys.readouterr().err
