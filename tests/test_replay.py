"""A step of a finished run is computed again with the same bits; other numbers are not believed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from zafu.artifact import digest_file
from zafu.errors import Refused
from zafu.pipeline import train
from zafu.replay import here, planned
from zafu.run import Run

RECIPE = """\
task: classification
data: digits
model: {kind: mlp, width: 16, dropout: 0.1}
fit: {optimizer: adamw, batch: 64, steps: 60, evaluate_every: 25, save_every: 10, keep: 3,
      threads: 1}
evaluate: {baselines: []}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("replayed")
    (folder / "digits.yaml").write_text(RECIPE)
    return train(folder / "digits.yaml", runs=folder / "runs", out=folder / "runs/run")


def told(run: Run, step: int, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "zafu", "replay", str(run.folder), "--step", str(step), *more],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@pytest.mark.parametrize(("step", "source"), [(60, "step-000000050"), (43, "step-000000040")])
def test_a_step_comes_out_bit_for_bit(run: Run, step: int, source: str) -> None:
    plan = planned(run, step)

    found = here(run, plan)

    assert plan.source
    assert plan.source.name == source
    assert {name: plan.row[name] for name in ("loss", "grad_norm", "lr")} == found


def test_so_does_one_from_the_seed(run: Run) -> None:
    plan = planned(run, 3, from_start=True)

    assert here(run, plan)["loss"] == plan.row["loss"]


def test_a_step_without_a_checkpoint_before_it_is_refused_with_those_that_have_one(
    run: Run,
) -> None:
    with pytest.raises(Refused, match=r"41 to 60, from step-000000040\n  51 to 60"):
        planned(run, 7)
    with pytest.raises(Refused, match="found step 61; 60 are logged"):
        planned(run, 61)


def test_the_command_says_both_values_and_writes_nothing(run: Run) -> None:
    log = run.folder / "metrics.jsonl"
    rows = log.read_text().splitlines(keepends=True)
    where = next(i for i, row in enumerate(rows) if '"step":55,' in row and "grad_norm" in row)
    loss = json.loads(rows[where])["loss"]
    before = {f: digest_file(f) for f in run.folder.rglob("*") if f.is_file()}

    same = told(run, 55)
    after = {f: digest_file(f) for f in run.folder.rglob("*") if f.is_file()}
    wrong = rows[where].replace(repr(loss), repr(loss * (1 + 1e-15)))
    log.write_text("".join([*rows[:where], wrong, *rows[where + 1 :]]))
    other = told(run, 55)
    log.write_text("".join(rows))

    assert same.returncode == 0, same.stderr
    assert same.stdout.count("the same bits") == 2
    assert before == after
    assert other.returncode == 1, other.stderr
    assert repr(loss) in other.stdout
    assert "off by" in other.stdout


def test_another_recipe_is_refused(run: Run) -> None:
    found = told(run, 55, "fit.optimizer.lr=1")

    assert found.returncode == 2
    assert "fit.optimizer.lr: expected layout." in found.stderr


def test_a_run_of_a_layout_is_replayed_by_it_and_another_differs_by_rounding(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "digits.yaml").write_text(RECIPE)
    words = ["train", "digits.yaml", "layout.data=2", "--out", "runs/two", "--quiet"]
    subprocess.run([sys.executable, "-m", "zafu", *words], cwd=tmp_path, check=True, timeout=200)
    spread = Run.open(tmp_path / "runs/two")

    same = told(spread, 55)
    other = told(spread, 55, "layout.data=1")

    assert same.returncode == 0, same.stdout + same.stderr
    assert other.returncode in (0, 1), other.stderr
    assert "computed again from step-000000050" in other.stdout
