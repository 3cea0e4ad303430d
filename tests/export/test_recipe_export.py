"""`export:` in a recipe: what is published when a model is trained, and what is refused before."""

from __future__ import annotations

from pathlib import Path

import pytest

from zafu.artifact import read_json
from zafu.cli.entry import main
from zafu.errors import RecipeError
from zafu.recipe import Recipe

RECIPE = """\
task: classification
data: digits
model: {kind: mlp, width: 16, layers: 1}
fit: {epochs: 1, threads: 1, optimizer: adamw, trackers: []}
evaluate: {baselines: []}
"""


def recipe(**more: object) -> Recipe:
    plain = {
        "task": "classification",
        "data": "digits",
        "model": "mlp",
        "fit": {"epochs": 1, "optimizer": "adamw"},
    }
    return Recipe.parse(plain | more)


def test_forms_are_read_in_words_in_mappings_and_alone() -> None:
    plain = {"kind": "openvino", "weights": "f16"}

    several = recipe(export=["onnx", "openvino:f16"]).export
    alone = recipe(export="openvino:f16").export

    assert [how.kind for how in several] == ["onnx", "openvino"]
    assert several[1] == alone[0] == recipe(export=[plain]).export[0]
    assert recipe(export="onnx").identity() == recipe().identity()


def test_every_form_that_cannot_be_is_named_before_any_training() -> None:
    with pytest.raises(RecipeError, match=r"export\.1"):
        recipe(export=["onnx", "openvino:f12"])
    with pytest.raises(RecipeError) as caught:
        recipe(export=["onnx", "gguf:q8_0", "hub", "onnx"])

    said = {fault.path: fault.expected for fault in caught.value.faults}
    assert said["export.1"] == "a model of kind decoder"
    assert said["export.2"] == "a model of kind decoder or hub"
    assert "once" in said["export.3.kind"]


def test_a_package_that_is_missing_is_named_before_any_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("zafu.extras.find_spec", lambda name: None if name == "onnx" else name)

    with pytest.raises(RecipeError, match=r"export.0.*pip install 'zafu\[onnx\]'"):
        recipe(export="onnx")


@pytest.mark.slow
def test_training_publishes_the_last_link_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "digits.yaml"
    file.write_text(RECIPE + "compress: bf16\nexport: [onnx]\n", encoding="utf-8")

    assert main(["check", "digits.yaml"]) == 0
    assert "exported as onnx" in capsys.readouterr().out
    assert main(["train", "digits.yaml"]) == 0
    (folder,) = tmp_path.glob("runs/*-bf16-*/export/onnx")
    first = (folder / "card.json").stat().st_mtime_ns
    assert main(["train", "digits.yaml"]) == 0
    assert "export/onnx is there" in capsys.readouterr().err
    assert (folder / "card.json").stat().st_mtime_ns == first
    assert main(["train", "digits.yaml", "export=[{kind: onnx, within: 0.5}]"]) == 0

    assert (folder / "card.json").stat().st_mtime_ns > first
    assert read_json(folder / "export.json")["export"]["within"] == 0.5


@pytest.mark.slow
def test_a_form_that_fails_keeps_no_other_from_being_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "digits.yaml"
    file.write_text(RECIPE + "export: [onxx, onnx]\n", encoding="utf-8")
    assert main(["train", "digits.yaml"]) == 2
    assert "did you mean" in capsys.readouterr().err

    file.write_text(RECIPE + "export: [{kind: compiled, tolerance: 1.0e-30}, onnx]\n", "utf-8")
    assert main(["train", "digits.yaml"]) == 1

    (run,) = tmp_path.glob("runs/digits-*")
    assert "compiled: export:" in capsys.readouterr().err
    assert [path.name for path in (run / "export").iterdir()] == ["onnx"]
