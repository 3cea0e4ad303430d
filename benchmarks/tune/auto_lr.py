"""`lr: auto` beside Adam with its learning rate tuned: five small tasks, three seeds each.

`python benchmarks/tune/auto_lr.py` prints Markdown; `auto_lr.md` keeps what it printed. The peer is
Adam at the best of six learning rates, constant or along a cosine: of these twelve the one with the
best mean on the validation split over the seeds. Both are shown on the test split, which chose
nothing. A seed is one of weights, order and split, the same for all.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from zafu.recipe import Recipe
from zafu.run import prepared
from zafu.trial import Trial, outcome

GRID = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
STARTS = (1e-4, 1e-3, 1e-2)
SEEDS = (0, 1, 2)
NEAR = 0.5  # points of accuracy
SPLIT = {"validation": 0.2, "test": 0.4}
TASKS: dict[str, dict[str, Any]] = {
    "digits, mlp": {
        "task": "classification",
        "data": {"kind": "digits", "split": SPLIT},
        "model": {"kind": "mlp", "width": 64, "layers": 2},
        "fit": {"epochs": 15, "batch": 32},
    },
    "digits, convnet": {
        "task": "classification",
        "data": {"kind": "digits", "split": SPLIT},
        "model": {"kind": "convnet", "width": 8, "stages": 2, "blocks": 1},
        "fit": {"epochs": 12, "batch": 32},
    },
    "breast cancer, mlp": {
        "task": "classification",
        "data": {
            "kind": "table",
            "files": ["sklearn:breast_cancer"],
            "target": "target",
            "split": SPLIT,
        },
        "model": {"kind": "mlp", "width": 32, "layers": 2},
        "fit": {"epochs": 20, "batch": 32},
    },
    "wine, mlp": {
        "task": "classification",
        "data": {"kind": "table", "files": ["sklearn:wine"], "target": "target", "split": SPLIT},
        "model": {"kind": "mlp", "width": 32, "layers": 2},
        "fit": {"epochs": 30, "batch": 16},
    },
    "Python text, decoder": {
        "task": "language-modeling",
        "data": {
            "kind": "text",
            "files": ["stdlib:json/*.py", "stdlib:logging/*.py"],
            "tokenizer": {"kind": "bpe", "vocab": 512},
            "context": 32,
            "split": SPLIT,
        },
        "model": {"kind": "decoder", "width": 32, "layers": 1, "heads": 4},
        "fit": {"epochs": 10, "batch": 16},
    },
}
Settings = dict[str, Any]


def recipe_of(task: str, settings: Settings, seed: int) -> Recipe:
    """The recipe of a task with these settings of `fit`."""
    plain = TASKS[task]
    fit = {**plain["fit"], **settings, "trackers": [], "threads": 1, "device": "cpu"}
    return Recipe.parse({**plain, "fit": fit, "seed": seed})


def scores(task: str, settings: Settings, runs: Path) -> tuple[list[float], list[float]]:
    """Accuracies in points on the validation and on the test split, one a seed; nan: diverged."""
    found: tuple[list[float], list[float]] = [], []
    for seed in SEEDS:
        recipe = recipe_of(task, settings, seed)
        trial = Trial(recipe, prepared(recipe, runs), judged=("validation", "test"))
        said = outcome(trial)
        for name, column in zip(("validation", "test"), found, strict=True):
            column.append(100 * said.score(trial, name, "accuracy"))
    return found


def adam(lr: Any, schedule: str = "constant") -> Settings:
    """Adam at a learning rate."""
    return {"optimizer": {"kind": "adam", "lr": lr}, "schedule": schedule}


def tuned(task: str, runs: Path) -> tuple[Settings, list[float]]:
    """The best of the grid by the validation split, and its test accuracies."""
    tried: list[tuple[float, Settings, list[float]]] = []
    for lr in GRID:
        for schedule in ("constant", "cosine"):
            settings = adam(lr, schedule)
            validation, test = scores(task, settings, runs)
            tried.append((mean(validation), settings, test))
    best = max(tried, key=lambda found: (found[0] == found[0], found[0]))
    return best[1], best[2]


def rows(task: str, runs: Path, rates: tuple[float, ...]) -> Iterator[str]:
    """The lines of a task, as they become known."""
    settings, best = tuned(task, runs)
    lr, schedule = settings["optimizer"]["lr"], settings["schedule"]
    for rate in rates:
        cells = [f"{task}", f"{mean(best):.1f} ± {stdev(best):.1f} (lr {lr:g}, {schedule})"]
        for start in STARTS:
            auto = adam({"kind": "auto", "start": start, "rate": rate})
            _, test = scores(task, auto, runs)
            gap = mean(test) - mean(best)
            mark = "" if gap >= -NEAR else " **short**"
            cells.append(f"{mean(test):.1f} ± {stdev(test):.1f} ({gap:+.1f}){mark}")
        yield "| " + " | ".join([*cells, f"{rate:g}"]) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.1])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    begin = time.process_time()
    where = f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}, one thread"
    print(f"# `lr: auto` beside tuned Adam\n\n{time.strftime('%d %B %Y')}, {where}.\n")
    print("Test accuracy in points, mean ± standard deviation over three seeds; in brackets the")
    print(f"gap to tuned Adam. **short**: more than {NEAR} points below it.\n")
    print("| task | tuned Adam | auto from 1e-4 | from 1e-3 | from 1e-2 | rate |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for task in chosen.tasks:
            for row in rows(task, Path(folder), tuple(chosen.rates)):
                print(row, flush=True)
    print(f"\n{time.process_time() - begin:.0f} seconds of CPU.")


if __name__ == "__main__":
    main()
