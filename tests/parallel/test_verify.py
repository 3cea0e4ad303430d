"""`zafu verify-layout` reports a layout that computes something else, and where."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RECIPE = """\
task: language-modeling
data: {kind: text, files: ["stdlib:asyncio/*.py"], context: 8, tokenizer: {kind: bpe, vocab: 270}}
model: {kind: decoder, width: 16, layers: 1, heads: 2, tied: true}
fit: {optimizer: adamw, batch: 5, steps: 60, threads: 1}
plugins: [fault.py]
"""
NORMS = {
    "model.layers.0.input_layernorm.weight",
    "model.layers.0.post_attention_layernorm.weight",
    "model.norm.weight",
}
TIED = "model.embed_tokens.weight"
MATRICES = {
    TIED,
    *(f"model.layers.0.self_attn.{name}_proj.weight" for name in "qkvo"),
    *(f"model.layers.0.mlp.{name}_proj.weight" for name in ("gate", "up", "down")),
}
UNHEARD = """
from zafu.parallel import tensor

tensor.finish = lambda *_: None
"""
UNEQUAL = """
from zafu.loop import Objective


def of_each_rank(self, request, targets, progress):
    _, of = self.spread.dealt
    return [1 / (of * self.split.count(part.request.ids)) for part in self.parts(request)]


Objective.factors = of_each_rank
"""
UNTIED = """
from zafu.parallel.pipeline import Pipeline

Pipeline.tie = lambda _: None
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where data is prepared once."""
    return tmp_path_factory.mktemp("verified")


@pytest.mark.parametrize(
    ("fault", "settings", "wrong"),
    [
        (UNHEARD, ["layout.tensor=2"], NORMS),  # each process has a part of the tokens
        (UNEQUAL, ["layout.data=2"], {*NORMS, *MATRICES}),  # which have 2 and 3 samples
        (
            UNTIED,
            ["layout.pipeline=2", "fit.batch=8", "model.layers=2"],
            {"model.embed_tokens.weight"},
        ),
    ],
    ids=["norms of a share of tokens", "means of unequal ranks", "ends that are not tied"],
)
def test_a_wrong_layout_is_reported_with_the_tensors_that_are_wrong(
    folder: Path, fault: str, settings: list[str], wrong: set[str]
) -> None:
    (folder / "small.yaml").write_text(RECIPE)
    (folder / "fault.py").write_text(fault)
    command: list[Any] = [sys.executable, "-m", "zafu", "verify-layout", "small.yaml", *settings]

    found = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=250, check=False
    )

    assert found.returncode == 1, found.stderr
    assert "differ by more than rounding" in found.stdout
    last = found.stdout.splitlines()[-1]
    assert set(last.partition("from step 1 on, gradients of ")[2].split(", ")) == wrong, last
