"""Sharded trials: where a recipe's layout has several processes, a trial is a run of its own.

It is started as a user would start it, lies in the study's folder, and goes on from its newest
checkpoint if it was stopped.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, sleep

from zafu.artifact import write_text
from zafu.errors import Interrupted
from zafu.pipeline import evaluate
from zafu.recipe import Recipe
from zafu.run import Run
from zafu.source import to_yaml
from zafu.study import Done

POLL = 0.2  # seconds


def ran(recipe: Recipe, folder: Path, judged: tuple[str, ...], stopped: Callable[[], str]) -> Done:
    """What a run of this recipe in this folder came to; raises Interrupted after a signal."""
    begun = perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "trial.yaml"
    write_text(file, to_yaml(recipe.dump()))
    words = ["train", str(file), "--out", str(folder / "run"), "--quiet"]
    code, said = _train(words, folder / "said.txt", stopped)
    run = Run(folder / "run", recipe)
    status = run.status()
    spent = Done(
        "failed",
        samples=_samples(run.folder),
        updates=int(status.get("step") or 0),
        seconds=float(status.get("seconds") or 0.0),
        wall=perf_counter() - begun,
        reason=said,
    )
    if code or not run.finished:
        return spent._replace(state="diverged" if "not finite" in said else "failed")
    metric = recipe.metric
    scores = {split: evaluate(run.folder, split)[metric].value for split in judged}
    return spent._replace(state="done", value=scores["validation"], scores=scores, reason="")


def _train(words: list[str], log: Path, stopped: Callable[[], str]) -> tuple[int, str]:
    """The exit code of `zafu WORDS`, and the end of what it said."""
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "zafu", *words], stdout=out, stderr=subprocess.STDOUT
        )
        asked = False
        while process.poll() is None:
            sleep(POLL)
            if stopped() and not asked:
                process.send_signal(signal.SIGTERM)
                asked = True
    if asked:
        raise Interrupted("a run of a trial was stopped, and is kept")
    return process.returncode, log.read_text(encoding="utf-8")[-500:].strip()


def _samples(folder: Path) -> int:
    """The samples that a run has seen, by its last logged step."""
    file = folder / "metrics.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    rows = [json.loads(line) for line in lines]
    return sum(int(row.get("samples") or 0) for row in rows if "loss" in row)
