"""Searching for a chain on a real run: what is chosen, what is left out, and going on."""

from __future__ import annotations

from pathlib import Path

import pytest

import zafu
from zafu import artifact
from zafu.artifact import read_json
from zafu.cli import main
from zafu.compress.bank import Asked
from zafu.errors import Refused
from zafu.run import Run
from zafu.shrink import rivals
from zafu.shrink.chain import Shrunk
from zafu.shrink.search import search

pytestmark = pytest.mark.slow  # memory is measured in processes of their own

RECIPE = """\
task: {kind: classification}
data: {kind: digits, split: {seed: 0}}
model: {kind: mlp, width: 16, layers: 2}
fit: {epochs: 1, threads: 1, optimizer: {kind: adamw, lr: 1e-2}, trackers: []}
evaluate: {baselines: []}
"""
CHAINS = ("int8", "layers:9", "low-rank:1 > int8", "prune:0.5 > distil:0.2epochs")


def searched(run: Path, asked: Asked, chains: tuple[str, ...] = CHAINS) -> Shrunk:
    return next(e for e in search(run, asked, chains=chains) if isinstance(e, Shrunk))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("search")
    recipe = folder / "digits.yaml"
    recipe.write_text(RECIPE, encoding="utf-8")
    return zafu.train(recipe, out=folder / "runs" / "digits-0").folder


@pytest.fixture(scope="module")
def first(source: Path) -> Shrunk:
    """A search that has no time, which makes nothing."""
    return searched(source, Asked(0.9, "size", seconds=-1.0))


@pytest.fixture(scope="module")
def found(source: Path, first: Shrunk) -> Shrunk:
    """The same search, which goes on with what there was no time for."""
    return searched(source, Asked(0.9, "size"))


def test_what_there_is_no_time_for_is_named_and_begun_the_next_time(
    first: Shrunk, found: Shrunk
) -> None:
    assert first.found["left"] == list(CHAINS)
    assert first.found["pick"] == "before"
    assert any("not begun for lack of time" in note for note in first.found["notes"])
    assert found.folder == first.folder
    assert found.new
    assert not found.found["left"]


def test_the_pick_is_the_smallest_of_those_near_enough(found: Shrunk) -> None:
    rows = found.found["rows"]
    (chosen,) = (row for row in rows if row["pick"])

    assert chosen["name"] == found.found["pick"]
    assert chosen["bytes"] == min(row["bytes"] for row in rows if row["within"])
    assert chosen["front"]


def test_the_test_split_is_looked_at_for_the_front_alone(found: Shrunk) -> None:
    for row in found.found["rows"]:
        seen = row["pick"] or row["front"] or row["name"] == "before"
        assert (row["test"] is not None) == seen


def test_what_a_model_refuses_is_left_out_with_the_reason(found: Shrunk) -> None:
    notes = found.found["notes"]

    assert any("layers:9: layers: expected 9 blocks" in note for note in notes)
    assert any("low-rank:1: it changes nothing" in note for note in notes)
    assert {row["name"] for row in found.found["rows"]} == {"before", CHAINS[0], CHAINS[3]}


def test_what_comes_out_is_a_finished_run(found: Shrunk) -> None:
    run = Run.open(found.folder)
    (chosen,) = (row for row in found.found["rows"] if row["pick"])

    assert run.finished
    artifact.verify(found.folder)
    accuracy = zafu.evaluate(found.folder)["accuracy"].value
    assert accuracy == pytest.approx(chosen["test"]["this"])
    assert read_json(found.folder / "evaluation.json")["scores"]["accuracy"]["value"] == accuracy
    assert "<h2>Compression</h2>" in (found.folder / "report.html").read_text(encoding="utf-8")


def test_the_same_search_again_measures_nothing(source: Path, found: Shrunk) -> None:
    again = searched(source, Asked(0.9, "size"))

    assert not again.new
    assert again.found == found.found


def test_where_nothing_is_near_enough_the_model_stays(source: Path, found: Shrunk) -> None:
    only = searched(source, Asked(0.0, "latency"), ("prune:0.9",))

    assert only.found["pick"] == "before"
    assert Run.open(only.folder).finished


def test_without_a_validation_split_there_is_nothing_to_choose_by(tmp_path: Path) -> None:
    file = tmp_path / "digits.yaml"
    file.write_text(RECIPE, encoding="utf-8")
    bare = zafu.train(file, "data.split.validation=0", "fit.epochs=0.1", runs=tmp_path / "runs")

    with pytest.raises(Refused, match="validation split, by which to choose"):
        searched(bare.folder, Asked(0.1, "size"))


def test_methods_stand_beside_each_other_at_equal_size(source: Path) -> None:
    events = rivals.compare(source, recover="0.2epochs", sizes=(0.5,))
    shrunk = next(e for e in events if isinstance(e, Shrunk))

    rows = {row["name"]: row for row in shrunk.found["rows"]}
    before = rows["before"]["cost"]["bytes"]
    for row in rows.values():
        if row["size"]:
            assert row["cost"]["bytes"] == pytest.approx(before / 2, rel=0.25)
    assert any(name.startswith("from scratch") for name in rows)
    assert {"before", "int8", "bf16"} < set(rows)
    assert "Compression" in (shrunk.folder / "report.html").read_text(encoding="utf-8")


def test_training_ends_with_the_chain_of_its_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "digits.yaml"
    file.write_text(RECIPE + "compress: prune:0.5 > int8\n", encoding="utf-8")
    words = ["train", str(file), "--runs", str(tmp_path / "runs"), "--quiet"]

    assert main(words) == 0
    assert main(words) == 0

    assert "2 int8" in capsys.readouterr().out
    assert list((tmp_path / "runs").glob("digits-int8-*/compression.json"))
