"""The command line as a user meets it: real runs, in one process, on real data."""

import csv
import json
from pathlib import Path

import pytest

import zafu
from zafu.cli import main
from zafu.cli.entry import VERBS
from zafu.data.files import find

RECIPE = """\
task: {kind: classification}
data: {kind: digits}
model: {kind: mlp, width: 32, layers: 1}
fit: {epochs: 2, threads: 1, optimizer: {kind: adamw, lr: 3e-3}}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    (folder / "digits.yaml").write_text(RECIPE, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    out = place / "runs" / "first"
    recipe = place / "digits.yaml"
    assert main(["train", str(recipe), "--out", str(out), "--quiet"]) == 0
    return out


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_each_verb_shows_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([verb, "--help"])

    assert end.value.code == 0
    said = capsys.readouterr().out
    assert "example:" in said
    assert f"zafu {verb}" in said.partition("example:")[2]


def test_a_finished_run_holds_all_that_it_promises(run: Path) -> None:
    for name in ("recipe.yaml", "environment.json", "status.json", "metrics.jsonl", "report.html"):
        assert (run / name).is_file()
    assert json.loads((run / "status.json").read_text())["state"] == "finished"
    card = json.loads((run / "model" / "card.json").read_text())
    assert card["parameters"] == 64 * 32 + 32 + 32 * 10 + 10
    assert {"recipe", "data", "environment", "files"} <= card.keys()


def test_the_same_command_again_says_that_it_is_finished(
    place: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["train", str(place / "digits.yaml"), "--out", str(run)])

    assert code == 0
    assert "is finished" in capsys.readouterr().err


def test_another_recipe_in_the_same_folder_is_refused(
    place: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["train", str(place / "digits.yaml"), "fit.epochs=3", "--out", str(run)])

    assert code == 2
    assert "fit.epochs" in capsys.readouterr().err


def test_a_wrong_recipe_ends_with_2_and_every_fault(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = str(place / "digits.yaml")

    code = main(["check", recipe, "fit.epochs=0", "model.widht=3", "evaluate.metric=r2"])

    said = capsys.readouterr().err
    assert code == 2
    assert "3 faults" in said
    assert all(path in said for path in ("fit.epochs", "model.widht", "evaluate.metric"))
    assert "command line" in said


def test_a_folder_that_cannot_be_written_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "file").write_text("in the way")

    code = main(["check", str(place / "digits.yaml"), "--out", str(place / "file" / "run")])

    assert code == 2
    assert "an output folder that can be written" in capsys.readouterr().err


def test_evaluate_prints_each_metric_with_its_interval(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(run), "--json"]) == 0

    scores = json.loads(capsys.readouterr().out)["scores"]
    stored = json.loads((run / "evaluation.json").read_text())["scores"]
    assert scores == stored
    assert scores["accuracy"]["low"] < scores["accuracy"]["value"] < scores["accuracy"]["high"]


def test_a_run_that_goes_on_elsewhere_says_so(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", str(place / "digits.yaml"), "fit.epochs=1", "--out", str(place / "moved")]
    assert main(words) == 0
    for name in ("status.json", "environment.json"):
        file = place / "moved" / name
        data = json.loads(file.read_text()) | {"state": "interrupted", "torch": "2.12.0"}
        file.write_text(json.dumps(data))
    capsys.readouterr()

    assert main(words) == 0

    said = " ".join(capsys.readouterr().err.split())
    assert "torch 2.12.0 became" in said
    assert "threads" not in said


def test_python_gives_the_same_as_the_command_line(place: Path, run: Path) -> None:
    again = zafu.train(place / "digits.yaml", runs=place / "python")

    ours, theirs = (
        json.loads((folder / "model" / "card.json").read_text())["files"]["model.safetensors"]
        for folder in (again.folder, run)
    )
    assert ours == theirs
    assert zafu.evaluate(again.folder) == zafu.evaluate(run)


def test_generate_refuses_a_model_that_is_not_of_language(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", str(run)]) == 2
    assert "language model" in capsys.readouterr().err


def test_a_language_model_is_trained_and_continues_a_prompt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [str(path) for _, path in find(["stdlib:a*.py"])]
    recipe = tmp_path / "python.yaml"
    recipe.write_text(
        "task: language-modeling\n"
        f"data: {{kind: text, files: {json.dumps(names)}, context: 16, "
        "tokenizer: {kind: bpe, vocab: 300}, "
        "split: {validation: 0.2, test: 0.2}}\n"
        "model: {kind: decoder, width: 32, layers: 1, heads: 2}\n"
        "fit: {steps: 4, batch: 4, threads: 1}\n"
        "evaluate: {prompts: ['def ']}\n"
    )
    assert main(["train", str(recipe), "--out", str(tmp_path / "run"), "--quiet"]) == 0
    assert "gzip" in capsys.readouterr().out

    words = ["generate", str(tmp_path / "run"), "--prompt", "def ", "--length", "20", "--seed", "1"]
    texts = []
    for _ in range(2):
        assert main(words) == 0
        texts.append(capsys.readouterr().out)

    assert texts[0].startswith("def ")
    assert texts[0] == texts[1]


def test_a_table_is_trained_and_answers_for_new_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "weather.yaml"
    assert main(["init", "weather", "--to", str(recipe)]) == 0
    out = tmp_path / "run"
    small = ["fit.epochs=0.2", "model.width=16", "evaluate.baselines=[constant]", "fit.threads=1"]
    assert main(["train", str(recipe), *small, "--out", str(out), "--quiet"]) == 0
    rows = tmp_path / "rows.csv"
    rows.write_text(
        "origin,year,month,day,hour,humid,wind_dir,wind_speed,wind_gust,precip,pressure,visib\n"
        "EWR,2013,7,1,14,50,270,10,NA,0,1012,10\n"
        "JFK,2013,1,9,3,70,NA,5,NA,0,1020,10\n"
    )
    capsys.readouterr()

    assert main(["predict", str(out), str(rows)]) == 0

    answers = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert len(answers) == 2
    assert all(0 < float(row["temp"]) < 110 for row in answers)  # degrees Fahrenheit, not z-scores
    assert float(answers[0]["temp"]) > float(answers[1]["temp"])


def test_init_never_replaces_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "digits.yaml"
    assert main(["init", "digits", "--to", str(target)]) == 0
    target.write_text("mine")

    assert main(["init", "digits", "--to", str(target)]) == 2

    assert target.read_text() == "mine"
    assert "--to" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["trian"], ["list", "optimizer"], ["list", "optimizers", "adamv"], ["init", "digit"]],
)
def test_a_misspelt_word_is_answered_with_what_was_meant(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert "did you mean" in capsys.readouterr().err


def test_the_schema_is_printed_and_describes_the_whole_recipe(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["schema"]) == 0

    schema = json.loads(capsys.readouterr().out)
    assert {
        "task",
        "data",
        "model",
        "fit",
        "layout",
        "evaluate",
        "seed",
        "compress",
        "export",
        "plugins",
    } == set(schema["properties"])
    assert "Muon" in schema["$defs"]
