"""A whole comparison, small but real: digits, two arms, on the command line."""

import json
from pathlib import Path

import pytest

from zafu.cli import main
from zafu.compare import kept, page, words
from zafu.compare.arms import arms, varied
from zafu.compare.decide import Plan
from zafu.compare.protocol import Comparison, compare
from zafu.compare.result import Answer
from zafu.errors import Interrupted
from zafu.source import parse_yaml

RECIPE = """
task: classification
data: {kind: digits, split: {validation: 0.2, test: 0.2}}
model: {kind: mlp, width: 16}
fit: {optimizer: adamw, schedule: cosine, batch: 32, epochs: 0.5, threads: 1, device: cpu}
"""
PLAN = Plan(first=3, most=3)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answer]:
    runs = tmp_path_factory.mktemp("runs")
    return compare(comparison(), runs)


def comparison(*values: str) -> Comparison:
    kinds = values or ("adam", "sgd")
    found = arms(parse_yaml(RECIPE), varied([f"fit.optimizer.kind={','.join(kinds)}"]))
    return Comparison("digits", tuple(found), trials=4, plan=PLAN)


def test_the_answer_has_a_number_with_its_origin_for_each_column(
    compared: tuple[Path, Answer],
) -> None:
    _, answer = compared
    adam, sgd = answer.rows

    assert [row.trials for row in answer.rows] == [4, 4]
    assert adam.shown is None
    assert sgd.shown is not None
    assert sgd.final.n == sgd.shown.superiority.n == 3
    assert adam.reached.value > 0
    assert set(adam.to_target) == {"samples", "updates", "seconds"}
    assert adam.ratio.value == 1
    assert sgd.lr_width is not None
    assert len(adam.tried) == 4
    assert adam.spent["trainings"] == 4 + 2 * 3 + 3
    assert adam.curve.samples[-1] == adam.spent["samples"] / adam.spent["trainings"]


def test_seeds_are_paired_and_the_split_is_the_same(compared: tuple[Path, Answer]) -> None:
    folder, answer = compared

    assert len(list((folder.parent / "data").glob("[0-9a-f]*"))) == 1
    assert len(set(answer.base.values["test"])) > 1  # seeds differ


def test_the_same_comparison_trains_nothing_twice(compared: tuple[Path, Answer]) -> None:
    folder, answer = compared
    before = {file: file.stat().st_mtime_ns for file in (folder / "trials").iterdir()}

    again = compare(comparison(), folder.parent)[1]

    assert {file: file.stat().st_mtime_ns for file in (folder / "trials").iterdir()} == before
    same = {"seconds": answer.seconds, "notes": answer.notes}  # of what was trained this time
    assert again.model_copy(update=same) == answer


def test_what_was_trained_before_a_signal_is_kept(tmp_path: Path) -> None:
    done: list[str] = []

    def stopped() -> str:
        return "SIGINT" if len(done) > 4 else ""

    with pytest.raises(Interrupted, match="the same command goes on") as caught:
        compare(comparison(), tmp_path, say=done.append, stopped=stopped)

    (folder,) = tmp_path.glob("*-compare-*")
    files = len(list((folder / "trials").iterdir()))
    assert caught.value.exit_code == 75
    assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"
    assert files >= 1
    heard: list[str] = []
    compare(comparison(), tmp_path, say=heard.append)
    assert f"tuning: {files} of 8 trainings" in heard


def test_a_record_that_was_cut_is_trained_again(compared: tuple[Path, Answer]) -> None:
    folder, answer = compared
    file = next((folder / "trials").iterdir())
    whole = json.loads(file.read_text())
    file.write_text(file.read_text()[:40])

    again = compare(comparison(), folder.parent)[1]

    assert kept.Record.parse(json.loads(file.read_text())).values == whole["values"]
    assert [row.values for row in again.rows] == [row.values for row in answer.rows]


def test_an_arm_against_itself_differs_by_nothing_and_says_so(tmp_path: Path) -> None:
    one, _ = comparison().arms
    both = (one, one.__class__("again", one.recipe, one.space))

    answer = compare(Comparison("twice", both, trials=2, plan=PLAN), tmp_path)[1]

    assert answer.rows[1].shown is not None
    assert answer.rows[1].shown.difference.value == 0
    assert words.sentence(answer) == "On twice, no difference of again from adam is shown"


def test_the_page_is_whole_and_the_same_for_the_same_answer(compared: tuple[Path, Answer]) -> None:
    folder, answer = compare(comparison(), compared[0].parent)

    path = page.write(folder, answer)

    text = path.read_text(encoding="utf-8")
    assert text == page.page(answer, recipe=(folder / "recipe.yaml").read_text())
    assert "<script" not in text
    assert all(head in text for head in ("Which is better", "How fast", "against seconds", "adam"))
    stored = json.loads((folder / "comparison.json").read_text())
    assert stored["rows"] == answer.dump()["rows"]


def test_an_arm_that_always_diverges_is_worse_and_does_not_stop_the_others(tmp_path: Path) -> None:
    asked = varied(["fit.optimizer.lr=0.01,1e30"])
    found = arms(parse_yaml(RECIPE), asked, tuned=False)

    answer = compare(Comparison("wild", tuple(found), trials=0, plan=PLAN), tmp_path)[1]

    wild = answer.rows[1]
    assert wild.diverged.value == 1
    assert wild.curve.samples == ()
    page.page(answer)


def test_the_command_prints_the_sentence_and_where_the_page_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("digits.yaml").write_text(RECIPE)
    words = ["digits.yaml", "--vary", "model.width=8,16", "--trials", "0", "--seeds", "2"]

    code = main(["compare", *words])

    said = capsys.readouterr().out
    assert code == 0
    assert "On digits, " in said
    assert Path(said.split("report   ")[1].split()[0]).is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["compare"], "expected a recipe"),
        (["compare", "optimisers", "x.yaml"], "did you mean optimizers"),
        (["compare", "x.yaml"], "--vary or --arm"),
        (["compare", "claims", "x.yaml", "--arm", "a:"], "arms of its own"),
    ],
)
def test_a_request_that_cannot_be_is_refused(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err
