"""Nets for pictures and rows in every form that zafu exports: the time of one sample and of 32.

```
python benchmarks/deploy/forms.py            # a few minutes on two cores; writes forms.md
python benchmarks/deploy/forms.py --quick    # a smoke test; writes nothing
```
One thread each, all forms of a net in turns in one process; ratios are those of torch, eager, to a
form, median (least to most) of the turns. Each form has passed its gate: it answers what the net
answers. A form whose package is not here is named at the end. Pictures are scikit-learn's digits
at 32 x 32, rows are those of scikit-learn's wines.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

import zafu
from zafu.deploy.bundle import opened
from zafu.deploy.gate import arrays, export
from zafu.errors import ZafuError
from zafu.export.contract import Export
from zafu.recipe import Recipe
from zafu.run import Run, environment, prepared

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "compress"))
from pictures import drawn, recipe  # noqa: E402  (the same pictures as there)

RESNET = {
    "model_type": "resnet",
    "embedding_size": 32,
    "hidden_sizes": [32, 64, 128, 256],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
}
NETS = {
    "convnet of 32 channels": {"kind": "convnet", "width": 32},
    "ResNet of `transformers`": {"kind": "hub", "config": RESNET},
    "vit of width 128": {"kind": "vit", "width": 128, "layers": 4, "heads": 4, "patch": 4},
}
SIZES = (1, 32)
Call = Callable[[], object]


def runs(place: Path, *, quick: bool) -> dict[str, Run]:
    """Briefly trained nets: what is timed does not depend on how good they are."""
    drawn(place / "pictures", 400 if quick else None)
    base = recipe(place / "pictures", 8, 1)
    found = {n: base.at("model", m).at("fit.threads", 1) for n, m in NETS.items()}
    rows = {
        "task": "classification",
        "data": {"kind": "table", "files": ["sklearn:wine"], "target": "target"},
        "model": {"kind": "mlp", "width": 64},
        "fit": {"optimizer": "adamw", "epochs": 1, "threads": 1, "trackers": []},
        "evaluate": {"baselines": []},
    }
    found["mlp on rows"] = Recipe.parse(rows)
    return {name: zafu.train(one, runs=place / "runs") for name, one in found.items()}


def forms(run: Run, place: Path, lacking: dict[str, str]) -> dict[str, Path]:
    """The folders of all forms that can be had here; why others cannot goes into `lacking`."""
    found = {"torch, eager": run.folder}
    for how in map(Export.parse, Export.kinds()):
        if any(how.suits(run.recipe.model)):
            continue
        try:
            found[how.kind] = export(run, how, place / how.kind).folder
        except ZafuError as error:
            lacking[f"`{how.kind}` of {run.recipe.model.kind}"] = str(error).splitlines()[-1]
    return found


def turns(calls: Mapping[str, Call], rounds: int) -> dict[str, list[float]]:
    """The ratio of the first call's time to each, turn by turn."""
    took: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            begun = time.perf_counter()
            for _ in range(5):
                call()
            if turn:
                took[name].append(time.perf_counter() - begun)
    first = took[next(iter(calls))]
    return {n: sorted(a / b for a, b in zip(first, own, strict=True)) for n, own in took.items()}


def rows_of(name: str, run: Run, place: Path, lacking: dict[str, str], rounds: int) -> list[str]:
    """The lines of one net's table."""
    split = run.recipe.data.open(prepared(run.recipe, run.folder.parent), "test")
    at = {n: opened(folder, threads=1) for n, folder in forms(run, place, lacking).items()}
    torch.set_num_threads(1)
    cells: dict[str, list[str]] = {n: [] for n in at}
    for size in SIZES:
        given = arrays(split.batch(np.arange(size) % len(split)).inputs)
        for n, ratios in turns(
            {n: partial(b.answers, *given) for n, b in at.items()}, rounds
        ).items():
            cells[n].append(f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    return [f"| {name} | {n} | {' | '.join(of)} |" for n, of in cells.items()]


def main() -> None:
    """Train, export, measure, print, and write the page."""
    parser = argparse.ArgumentParser(description="every form of a net, timed")
    parser.add_argument("--quick", action="store_true", help="a smoke test; writes nothing")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    lacking, lines = dict[str, str](), list[str]()
    with tempfile.TemporaryDirectory() as folder:
        for name, run in runs(Path(folder), quick=given.quick).items():
            place = Path(folder) / "forms" / run.name
            lines += rows_of(name, run, place, lacking, 3 if given.quick else 60)
    facts: dict[str, Any] = environment(1)
    page = [
        "# Every form that zafu exports, timed",
        "",
        f"{facts['time'][:10]}, {facts['cpu']}, one thread; zafu {facts['zafu']}, torch "
        f"{facts['torch']}. Written by `python benchmarks/deploy/forms.py`.",
        "",
        "Times of torch, eager, over a form's, median (least to most) of turns: more is faster.",
        "",
        "| net | form | 1 sample | 32 samples |",
        "|---|---|--:|--:|",
        *lines,
        "",
        *(f"Not here: {form}: {why}." for form, why in lacking.items()),
        "",
    ]
    text = "\n".join(page)
    if not given.quick:
        (HERE / "forms.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
