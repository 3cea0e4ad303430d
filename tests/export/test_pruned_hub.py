"""A pruned decoder is an ordinary Llama where its layers are alike, and is refused where not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from exported import trained
from transformers import AutoModelForCausalLM

from zafu.artifact import read_json
from zafu.build import load_model
from zafu.compress.words import chain
from zafu.deploy.gate import export
from zafu.errors import Refused
from zafu.export.hub import Hub
from zafu.run import Run
from zafu.shrink.chain import compress


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained("decoder", tmp_path_factory.mktemp("runs"))


def smaller(run: Run, how: str) -> Run:
    """The run after a chain of links."""
    *_, last = compress(run.folder, chain(how))
    return Run.open(last.folder)


def test_transformers_loads_fewer_layers_and_narrower_ones(run: Run, tmp_path: Path) -> None:
    pruned = smaller(run, "layers:1 > prune:0.5")

    found = export(pruned, Hub(), tmp_path / "hub").found

    config = read_json(tmp_path / "hub" / "config.json")
    assert found["difference"] < 1e-5
    assert config["num_hidden_layers"] == 1
    assert config["intermediate_size"] < 96
    tokens = torch.arange(9)[None]
    with torch.no_grad():
        own = load_model(pruned.model)[0](tokens)
        other = AutoModelForCausalLM.from_pretrained(tmp_path / "hub", dtype="float32")(tokens)
    torch.testing.assert_close(other.logits, own, rtol=1e-4, atol=1e-5)


def test_zeros_stay_and_weights_may_have_16_bits(run: Run, tmp_path: Path) -> None:
    narrow = smaller(run, "sparsify:0.5 > bf16")

    found = export(narrow, Hub(), tmp_path / "hub").found

    assert found["rounded"]
    assert read_json(tmp_path / "hub" / "config.json")["dtype"] == "bfloat16"


def test_layers_that_a_config_has_no_word_for_are_named(run: Run, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"expected layers that a config has words for, found .*int8"):
        export(smaller(run, "int8"), Hub(), tmp_path / "hub")

    assert list(tmp_path.iterdir()) == []
