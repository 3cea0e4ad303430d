"""A preparation that is killed or stopped goes on, and ends with the same bytes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zafu import run
from zafu.recipe import Recipe
from zafu.work import Inline

KILLS = 10
MIXTURE = [{"files": [f"stdlib:**/{x}*.py"]} for x in "bcdht"]
RECIPE = {
    "task": "language-modeling",
    "data": {
        "kind": "text",
        "mixture": MIXTURE,
        "clean": ["unicode", "control", "gopher"],
        "duplicates": {"near": {"threshold": 0.8}},
        "tokenizer": {"kind": "bpe", "vocab": 400},
        "context": 64,
        "unreadable": "drop",
    },
    "model": {"kind": "decoder", "width": 16, "layers": 1, "heads": 2},
    "fit": {"steps": 1},
}


def command(folder: Path, *more: str) -> list[str]:
    file = folder / "corpus.yaml"
    file.write_text(json.dumps(RECIPE))
    out = ["--runs", str(folder / "runs"), "--workers", "2", *more]
    return [sys.executable, "-m", "zafu", "prepare", str(file), *out]


def digests(folder: Path) -> dict[str, str]:
    (card,) = folder.glob("runs/data/*/card.json")
    return json.loads(card.read_text())["files"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], float]:
    folder = tmp_path_factory.mktemp("undisturbed")
    begun = time.monotonic()
    subprocess.run(command(folder), check=True, capture_output=True)
    return digests(folder), time.monotonic() - begun


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_at_ten_moments_it_ends_with_the_same_bytes(
    undisturbed: tuple[dict[str, str], float], tmp_path: Path
) -> None:
    expected, seconds = undisturbed
    moments = random.Random(0)  # noqa: S311

    for _ in range(KILLS):
        child = subprocess.Popen(
            command(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(moments.uniform(0.1, 0.9) * seconds)
        child.kill()
        child.wait()
        finished = [p.parent for p in tmp_path.glob("runs/data/*/card.json")]
        assert all(not p.name.endswith(".part") for p in finished)
    subprocess.run(command(tmp_path), check=True, capture_output=True)

    assert digests(tmp_path) == expected
    assert not list(tmp_path.glob("runs/data/.*.work"))


def test_a_signal_ends_it_with_75_and_what_is_done_is_kept(
    undisturbed: tuple[dict[str, str], float], tmp_path: Path
) -> None:
    expected, _ = undisturbed
    child = subprocess.Popen(command(tmp_path), stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob("runs/data/.*.work/clean-*")) and child.poll() is None:
        time.sleep(0.05)

    child.send_signal(signal.SIGINT)
    said = child.communicate()[1]
    kept = list(tmp_path.glob("runs/data/.*.work/clean-*"))
    subprocess.run(command(tmp_path), check=True, capture_output=True)

    assert child.returncode == 75, said
    assert "pieces are done and kept; run the same command again to go on" in said
    assert kept
    assert digests(tmp_path) == expected


def test_one_byte_one_setting_or_the_code_makes_it_anew_and_else_it_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("decimal", "datetime", "calendar"):
        source = Path(os.__file__).with_name(f"{name}.py")
        (tmp_path / f"{name}.py").write_bytes(source.read_bytes())
    plain = {**RECIPE["data"], "mixture": [], "files": [f"{tmp_path}/*.py"], "clean": []}
    plain |= {"split": {"validation": 0, "test": 0}, "tokenizer": {"kind": "bpe", "vocab": 300}}
    recipe = Recipe.parse({**RECIPE, "data": plain})

    def made(of: Recipe) -> str:
        return run.prepared(of, tmp_path / "runs", engine=Inline()).name

    first = made(recipe)
    assert made(recipe.at("fit.steps", 2)) == first
    assert made(recipe.at("data.context", 32)) != first
    monkeypatch.setattr(run, "_code", lambda: {"zafu": "changed"})
    assert made(recipe) != first
    monkeypatch.undo()
    with (tmp_path / "calendar.py").open("a") as file:
        file.write("#")
    assert made(recipe) != first
