"""Planted wrong labels: how well each way of doubting labels ranks them, on two tables.

`python benchmarks/tune/audit.py` prints Markdown; `audit.md` keeps what it printed. A share of all
labels is moved to another class at random, in training and validation alike: nothing trusted is
given. `suspected-labels` is the cleaning step of the same name, by its out-of-fold probability of
the label; the other two are `zafu audit`.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Literal

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.metrics import roc_auc_score

from zafu.audit import doubts
from zafu.clean.labels import probabilities
from zafu.data import pool
from zafu.recipe import Recipe
from zafu.run import prepared

SEEDS = (11, 12, 13)
SHARES = (0.2, 0.3)
WAYS: tuple[Literal["confidence", "weights"], ...] = ("confidence", "weights")


def table(data: Any, folder: Path, *, share: float, seed: int) -> tuple[Recipe, np.ndarray]:
    """A recipe for the samples as a table, and which of its rows have a wrong class."""
    classes, chance = int(data.target.max()) + 1, np.random.default_rng(seed)
    wrong = chance.random(len(data.target)) < share
    labels = data.target.copy()
    labels[wrong] = (labels[wrong] + chance.integers(1, classes, wrong.sum())) % classes
    file = folder / "table.csv"
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow([*(f"x{i}" for i in range(data.data.shape[1])), "y"])
        for numbers, label in zip(data.data, labels, strict=True):
            writer.writerow([*(repr(float(x)) for x in numbers), f"class {label}"])
    plain = {
        "task": "classification",
        "data": {"kind": "table", "files": [str(file)], "target": "y"},
        "model": {"kind": "mlp", "width": 32, "layers": 1},
        "fit": {"epochs": 8, "optimizer": {"kind": "adamw", "lr": 3e-3}, "trackers": []},
        "seed": seed,
    }
    return Recipe.parse(json.loads(json.dumps(plain))), wrong


def areas(data: Any, *, share: float, seed: int) -> dict[str, float]:
    """The area under the ROC curve of each way, on the training split."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe, wrong = table(data, folder, share=share, seed=seed)
        ready = prepared(recipe, folder)
        ids = pool.named(ready, "train")
        truth = wrong[[int(text.rsplit(":", 1)[-1]) - 1 for text in ids]]
        train = recipe.data.open(ready, "train").batch(np.arange(len(ids)))
        features, labels = train.inputs[0].numpy(), train.targets.numpy()
        chances = probabilities(features, labels, folds=5, seed=seed)
        found = {"suspected-labels": 1 - chances[np.arange(len(labels)), labels]}
        found |= {how: doubts(recipe, ready, how=how).scores for how in WAYS}
        return {how: float(roc_auc_score(truth, scores)) for how, scores in found.items()}


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    where = f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}, one thread"
    print(f"# Planted wrong labels\n\n{time.strftime('%d %B %Y')}, {where}.\n")
    print("Area under the ROC curve of the doubt, mean ± standard deviation of three plantings.\n")
    print("| samples | wrong | step `suspected-labels` | `audit --how confidence` | `weights` |")
    print("|---|---|---|---|---|")
    for name, load in {"digits": load_digits, "breast cancer": load_breast_cancer}.items():
        for share in SHARES:
            found = [areas(load(), share=share, seed=seed) for seed in SEEDS]
            columns = [[areas[how] for areas in found] for how in found[0]]
            cells = [f"{mean(column):.3f} ± {stdev(column):.3f}" for column in columns]
            print(f"| {name} | {share:.0%} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
