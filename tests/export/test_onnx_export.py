"""A run becomes a graph for ONNX Runtime that answers raw samples as the model does, or nothing."""

from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import pytest
from torch import nn

import zafu
from zafu.deploy.bundle import opened
from zafu.deploy.gate import export
from zafu.errors import Mismatch
from zafu.export.contract import Answers, Export, Source
from zafu.export.onnx import Onnx
from zafu.export.runtime import onnx
from zafu.recipe import Recipe
from zafu.run import Run

RECIPE: dict[str, Any] = {
    "task": "classification",
    "data": "digits",
    "model": {"kind": "convnet", "width": 8},
    "fit": {"optimizer": "adamw", "batch": 64, "epochs": 1, "threads": 1, "trackers": []},
    "evaluate": {"baselines": []},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return zafu.train(Recipe.parse(RECIPE), runs=tmp_path_factory.mktemp("runs"))


@final
class Broken(Export):
    """Another model's graph under this one's name."""

    kind: Literal["broken"] = "broken"

    def write(self, source: Source, part: Path) -> None:
        nn.init.zeros_(source.module.get_parameter("head.bias"))
        source.module.get_parameter("head.weight")[0].neg_()
        onnx.write(source, part)
        source.module.get_parameter("head.weight")[0].neg_()

    def open(self, folder: Path, *, threads: int) -> Answers:
        return onnx.opened(folder, threads)


def test_the_runtime_answers_as_the_model_does(run: Run, tmp_path: Path) -> None:
    found = export(run, Onnx(), tmp_path / "onnx").found

    assert found["difference"] < 1e-5
    own, other = opened(run.folder), opened(tmp_path / "onnx")
    pixels = np.random.default_rng(0).standard_normal((5, 1, 8, 8), np.float32)
    np.testing.assert_allclose(other.answers(pixels), own.answers(pixels), rtol=1e-4, atol=1e-5)
    assert other.signature == own.signature
    assert (other.fitted / "calibration.json").is_file()


def test_a_broken_graph_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(Mismatch, match=r"of the largest, found .*nothing was published"):
        export(run, Broken(), tmp_path / "broken")

    assert list(tmp_path.iterdir()) == []
