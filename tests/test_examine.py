"""A finished model on files of one's own: rows, pictures and text, alone and against another."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

import zafu
from zafu.artifact import read_json
from zafu.cli import main
from zafu.deploy.bundle import predict
from zafu.errors import DataError, RecipeError, Refused
from zafu.examine import Asked, examine
from zafu.pipeline import load_model
from zafu.recipe import Recipe
from zafu.report.folder import read
from zafu.report.judged_page import page

FIT: dict[str, Any] = {"epochs": 3, "threads": 1, "device": "cpu", "trackers": []}
FIT["optimizer"] = {"kind": "adamw", "lr": 3e-3}
MLP = {"kind": "mlp", "width": 16, "layers": 1}


def write(file: Path, columns: dict[str, Any]) -> Path:
    rows = [columns, *zip(*columns.values(), strict=True)]
    text = "\n".join(",".join(map(str, row)) for row in rows)
    file.write_text(text + "\n", encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of two real tables, each cut in those to learn from and those to judge by."""
    folder = tmp_path_factory.mktemp("examine")
    inputs, classes = load_breast_cancer(return_X_y=True)
    names = np.array(["malignant", "benign"])[classes]
    columns = {f"x{i}": inputs[:, i] for i in range(4)} | {"grade": names}
    columns["hospital"] = np.where(np.arange(569) % 3 == 0, "north", "south")
    write(folder / "train.csv", {k: v[:400] for k, v in columns.items()})
    write(folder / "test.csv", {k: v[400:] for k, v in columns.items()})
    inputs, numbers = load_diabetes(return_X_y=True)
    columns = {f"x{i}": inputs[:, i] for i in range(10)} | {"sugar": numbers}
    write(folder / "sugar.csv", {k: v[:350] for k, v in columns.items()})
    write(folder / "more.csv", {k: v[350:] for k, v in columns.items()})
    return folder


def trained(place: Path, recipe: dict[str, Any], **fit: Any) -> Path:
    return zafu.train(Recipe.parse({**recipe, "fit": {**FIT, **fit}}), runs=place / "runs").folder


@pytest.fixture(scope="module")
def grades(place: Path) -> dict[str, Any]:
    data = {"kind": "table", "files": [str(place / "train.csv")], "target": "grade"}
    data["ignore"] = ["hospital"]
    evaluate = {"slices": ["hospital", "x0"], "metrics": ["matthews_corrcoef"]}
    return {"task": "classification", "data": data, "model": MLP, "evaluate": evaluate}


@pytest.fixture(scope="module")
def graded(place: Path, grades: dict[str, Any]) -> Path:
    return trained(place, grades)


@pytest.fixture(scope="module")
def sugar(place: Path) -> Path:
    data = {"kind": "table", "files": [str(place / "sugar.csv")], "target": "sugar"}
    evaluate = {"slices": ["x1"], "metrics": ["max_error"]}
    return trained(place, {"task": "regression", "data": data, "model": MLP, "evaluate": evaluate})


def test_the_run_itself_is_judged_by_all_that_its_recipe_asks_for(graded: Path) -> None:
    found = read_json(graded / "evaluation.json")

    assert {"accuracy", "brier", "ece", "matthews_corrcoef"} <= found["scores"].keys()
    assert set(found["slices"]) == {"class", "hospital", "x0"}
    assert [part["name"] for part in found["slices"]["hospital"]["parts"]] == ["north", "south"]
    assert [curve["label"] for curve in found["curves"]] == ["malignant"]
    fitted = read_json(graded / "model" / "calibration.json")
    assert found["calibration"]["temperature"] == fitted["temperature"]
    assert fitted["split"] == "validation"
    html = (graded / "report.html").read_text(encoding="utf-8")
    for heading in ("Which samples fare worse", "How sure it is", "What a threshold trades"):
        assert heading in html


def test_a_file_of_rows_is_judged_as_its_predictions_say(place: Path, graded: Path) -> None:
    file = place / "test.csv"

    found = examine(graded, Asked(file))

    predicted = [row["predicted"] for row in predict(graded, file)]
    true = [line.split(",")[4] for line in file.read_text().splitlines()[1:]]
    right = np.mean([p == t for p, t in zip(predicted, true, strict=True)])
    assert found["scores"]["accuracy"]["value"] == pytest.approx(right)
    assert found["samples"] == len(true) == 169
    first = found["mistakes"][0]
    row = int(first["name"].rpartition(" ")[2]) - 1
    assert (first["true"], first["predicted"]) == (true[row], predicted[row])


def test_predictions_carry_calibrated_probabilities(place: Path, graded: Path) -> None:
    module, recipe, _ = load_model(graded / "model")
    batch, _ = recipe.data.encode(graded / "model", place / "test.csv")
    degree = read_json(graded / "model" / "calibration.json")["temperature"]

    found = predict(graded, place / "test.csv")

    expected = (module(*batch.inputs).detach() / degree).softmax(-1).amax(-1)
    assert [row["probability"] for row in found] == pytest.approx(expected.tolist(), abs=1e-6)
    assert degree != 1


def test_numbers_are_judged_and_shown_in_the_unit_of_their_column(place: Path, sugar: Path) -> None:
    found = examine(sugar, Asked(place / "more.csv"))

    true = [float(line.split(",")[10]) for line in (place / "more.csv").read_text().split()[1:]]
    assert found["numbers"]["true"] == pytest.approx(true, rel=1e-5)
    assert found["slices"]["x1"]["metric"] == "rmse"  # what is explained of a part says little
    assert "max_error" in found["scores"]
    html = page(read(sugar), found)
    assert "How numbers are missed" in html


def test_two_runs_are_compared_on_the_same_rows(
    place: Path, grades: dict[str, Any], graded: Path
) -> None:
    untrained = trained(place, grades, epochs=1, optimizer={"kind": "sgd", "lr": 1e-9})

    better = examine(graded, Asked(place / "test.csv"), untrained)
    split = examine(graded, Asked(), untrained)

    rows = {row["metric"]: row for row in better["against"]["rows"]}
    assert rows["loss"]["verdict"] == "better"
    assert "McNemar" in rows["accuracy"]["difference"]["how"]
    assert split["against"]["rows"]
    assert "Against" in page(read(graded), better)


def test_another_seed_on_the_same_split_is_compared_on_it(
    place: Path, grades: dict[str, Any], graded: Path
) -> None:
    data = {**grades["data"], "split": {"seed": 0}}

    there = trained(place, {**grades, "data": data, "seed": 1}, epochs=1)

    assert examine(graded, Asked(), there)["against"]["rows"]


def test_a_run_on_another_split_is_not_compared_on_this_one(
    place: Path, grades: dict[str, Any], graded: Path, sugar: Path
) -> None:
    other = zafu.train(
        Recipe.parse({**grades, "fit": {**FIT, "epochs": 1}, "seed": 1}), runs=place / "runs"
    ).folder

    with pytest.raises(Refused, match="may have learned"):
        examine(graded, Asked(), other)
    with pytest.raises(Refused, match="same task and classes"):
        examine(graded, Asked(place / "test.csv"), sugar)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace("benign", "bening", 1), "did you mean benign?"),
        (lambda text: text.replace(",grade,", ",Grade,", 1), "did you mean Grade?"),
        (lambda text: text.replace(",benign,", ",,", 2), "found nothing and 1 more"),
        (lambda text: text.replace("x1,", "y1,", 1), 'found "x1"'),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_row_and_column(
    place: Path, graded: Path, change: Any, says: str
) -> None:
    file = place / "wrong.csv"
    file.write_text(change((place / "test.csv").read_text()), encoding="utf-8")

    with pytest.raises(DataError) as error:
        examine(graded, Asked(file))

    assert says in str(error.value)
    assert "wrong.csv" in str(error.value)


def test_what_cannot_be_asked_is_refused(place: Path, graded: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean roc_auc_score"):
        examine(graded, Asked(place / "test.csv", metrics=("roc_auc_scor",)))
    with pytest.raises(RecipeError, match="did you mean hospital"):
        examine(graded, Asked(place / "test.csv", slices=("hospitl",)))
    with pytest.raises(Refused, match="nothing there"):
        examine(graded, Asked(place / "none.csv"))


def test_pictures_of_a_folder_a_class_are_judged(place: Path) -> None:
    run = trained(place, {"task": "classification", "data": "digits", "model": MLP})
    shown, classes = load_digits(return_X_y=True)
    for index in range(60):
        (place / "drawn" / str(classes[index])).mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray((shown[index].reshape(8, 8) * 255 / 16).astype(np.uint8))
        picture.save(place / "drawn" / str(classes[index]) / f"{index}.png")

    found = examine(run, Asked(place / "drawn"))

    assert found["samples"] == 60
    assert found["scores"]["accuracy"]["value"] > 0.5
    assert all(m["name"].split("/")[0] == m["true"] for m in found["mistakes"])
    (place / "drawn" / "seven").mkdir()
    picture.save(place / "drawn" / "seven" / "7.png")
    with pytest.raises(DataError, match="expected one of the classes 0, 1"):
        examine(run, Asked(place / "drawn"))


def test_text_is_judged_by_the_bytes_of_the_file(place: Path) -> None:
    data = {"kind": "text", "files": ["stdlib:asyncio/*.py"], "context": 16}
    data["tokenizer"] = {"kind": "bpe", "vocab": 300}
    model = {"kind": "decoder", "width": 16, "layers": 1, "heads": 2}
    recipe = {"task": "language-modeling", "data": data, "model": model}
    run = trained(place, recipe, steps=10, epochs=None)
    file = place / "own.txt"
    file.write_text("def run(self):\n    return 'é'\n" * 40, encoding="utf-8")

    found = examine(run, Asked(file))

    assert found["scores"]["bits_per_byte"]["n"] == file.stat().st_size
    assert found["scores"]["perplexity"]["low"] > 1
    assert "slices" not in found


def test_the_verb_prints_writes_its_page_and_speaks_json(
    place: Path, graded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(graded), "--data", str(place / "test.csv"), "--slices", "x1"]

    assert main(words) == 0
    said = capsys.readouterr().out
    assert main([*words, "--json", "--report", str(place / "own.html")]) == 0

    found = json.loads(capsys.readouterr().out)
    assert "shown to be worse" in said
    assert "with the temperature" in said
    assert (graded / "evaluation-test.html").is_file()
    assert set(found["slices"]) == {"class", "hospital", "x0", "x1"}
    assert "default-src &#x27;none&#x27;" in (place / "own.html").read_text(encoding="utf-8")
