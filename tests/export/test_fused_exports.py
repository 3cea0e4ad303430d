"""A fused model is one graph in one file."""

from __future__ import annotations

from pathlib import Path

import pytest
from exported import FIT, MODELS

import zafu
from zafu import apart
from zafu.deploy.bundle import opened
from zafu.deploy.gate import export
from zafu.export.litert import Litert
from zafu.export.onnx import Onnx
from zafu.export.runtime import litert
from zafu.fuse.fusion import fuse
from zafu.fuse.ways import Way
from zafu.recipe import Recipe
from zafu.run import Run

WINE = {
    "task": "classification",
    "data": {"kind": "table", "files": ["sklearn:wine"], "target": "target", "split": {"seed": 0}},
    "model": {"kind": "mlp", "width": 16},
    "fit": {**FIT, "epochs": 5},
    "evaluate": {"baselines": []},
}
PICTURES = {**MODELS["mlp"], "data": {"kind": "digits", "split": {"seed": 0}}}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return members(PICTURES, tmp_path_factory.mktemp("digits"))


def members(recipe: dict[str, object], place: Path) -> list[Path]:
    """Two runs that differ in their seed, and one in its size."""
    small = Recipe.parse(recipe).at("model.width", 8)
    recipes = [Recipe.parse(recipe), Recipe.parse({**recipe, "seed": 1}), small]
    return [zafu.train(r, out=place / f"run-{i}").folder for i, r in enumerate(recipes)]


@pytest.mark.parametrize("way", ["vote", "hard", "stack"])
def test_digits(way: Way, digits: list[Path], tmp_path: Path) -> None:
    one_file(fuse(digits, way, out=tmp_path / "fused").folder, tmp_path)


def test_a_table(tmp_path: Path) -> None:
    runs = members(WINE, tmp_path / "runs")

    one_file(fuse(runs, "vote", out=tmp_path / "fused").folder, tmp_path)


@pytest.mark.skipif(
    not apart.place(litert.WRITER).is_dir(), reason="LiteRT's writer would fetch 830 MB"
)
def test_a_phone(digits: list[Path], tmp_path: Path) -> None:
    fused = fuse(digits, "hard", out=tmp_path / "fused").folder

    found = export(Run.open(fused), Litert(), tmp_path / "litert").found

    assert found["difference"] < 1e-5
    assert (tmp_path / "litert" / "model.tflite").is_file()


def one_file(folder: Path, place: Path) -> None:
    found = export(Run.open(folder), Onnx(), place / "onnx").found

    assert found["difference"] < 1e-5
    assert [file.suffix for file in (place / "onnx").glob("model*")] == [".onnx"]
    own, other = opened(folder), opened(place / "onnx")
    assert other.signature == own.signature
