"""What rounding costs each layer of a finished run, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import zafu
from zafu.cli import main

RECIPE = """\
task: {kind: classification}
data: {kind: digits, split: {seed: 0}}
model: {kind: mlp, width: 32, layers: 2}
fit: {epochs: 1, threads: 1, optimizer: {kind: adamw, lr: 3e-3}, trackers: []}
evaluate: {baselines: []}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sensitivity")
    (folder / "digits.yaml").write_text(RECIPE, encoding="utf-8")
    zafu.train(folder / "digits.yaml", out=folder / "runs" / "digits-0")
    return folder / "runs" / "digits-0"


def test_each_layer_has_its_loss_in_8_and_in_4_bits_and_nothing_is_made(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(run.parent.iterdir())

    assert main(["compress", str(run), "--sensitivity", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)

    assert found["split"] == "validation"
    assert set(found["layers"]) == {"layers.0.linear", "layers.1.linear", "head"}
    for row in found["layers"].values():
        assert row["8"]["low"] <= row["8"]["loss"] <= row["8"]["high"]
        assert 0 <= row["8"]["moved"] < row["4"]["moved"]
    assert sorted(run.parent.iterdir()) == before


def test_the_table_names_each_layer(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compress", str(run), "--sensitivity"]) == 0

    said = capsys.readouterr().out
    assert "layers.0.linear" in said
    assert "each layer alone, on the validation split, paired bootstrap over" in said


def test_what_says_what_to_make_is_refused_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--how", "int8", "--target", "size", "--runs", "x"]

    assert main(["compress", "runs/none", "--sensitivity", *asked]) == 2
    said = capsys.readouterr().err
    assert all(f"--{name} beside it" in said for name in ("how", "target", "runs"))
