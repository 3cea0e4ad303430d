"""The page of the search benchmarks: each part keeps its figures in a file of its own."""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from zafu.run import environment

HERE = Path(__file__).parent
PEERS = ("scikit-learn", "optuna", "lightning", "keras", "keras-tuner")
NAMES = {
    "zafu": "**zafu**, stacked",
    "sklearn": "`GridSearchCV(MLPClassifier)`, `n_jobs=1`",
    "torch": "a plain torch loop",
    "optuna": "Optuna with the torch loop",
    "lightning": "Optuna with Lightning",
    "keras-tuner": "keras-tuner (Keras on torch)",
}
MARKS = {"sklearn": 3, "torch": 5, "lightning": 10, "keras-tuner": 25}


ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


def on_one_thread() -> None:
    """Start this script anew where libraries would take more threads, which wait for each other."""
    wanted = ONE_THREAD | {"KERAS_BACKEND": "torch"}
    if not wanted.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | wanted)  # noqa: S606


def where() -> str:
    """Date, machine and versions, in a line."""
    facts = environment()
    names = [f"{key} {facts[key]}" for key in ("zafu", "torch", "python")]
    for package in PEERS:
        try:
            names.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    cores = f"{os.cpu_count()} cores, 1 thread"
    return f"{facts['time'][:10]}, {facts['cpu']}, {cores}; {', '.join(names)}"


def write(part: str, results: dict[str, Any], *, keep: bool) -> None:
    """Print a part; with `keep`, write its file and the page of all parts that there are."""
    if keep:
        (HERE / f"{part}.json").write_text(json.dumps(results, indent=1) + "\n")
        (HERE / "results.md").write_text(page())
    print(PARTS[part](results))


def page() -> str:
    """All parts that were measured."""
    parts = ["# Searching beside its peers\n"]
    for part, shown in PARTS.items():
        file = HERE / f"{part}.json"
        if file.is_file():
            parts.append(shown(json.loads(file.read_text())))
    return "\n".join(parts)


def headline(results: dict[str, Any]) -> str:
    """Five folds of 20 settings."""
    rows = results["contestants"]
    trainings = results["settings"] * results["folds"]
    lines = [
        f"## {results['settings']} settings on {results['folds']} folds of the digits",
        "",
        f"{results['made']}. Written by `python benchmarks/tune/headline.py`.",
        "",
        f"{trainings} trainings of 64-64-64-10 for {results['epochs']} epochs, batches of 32;",
        f"{results['rounds']} rounds, a process each. Seconds are medians. Times zafu: seconds",
        "over zafu's in the same round, median (least to most), of CPU after imports, of CPU of",
        "the whole process, and of the clock. Peers with fewer trainings are counted by the",
        "training.",
        "",
        "| | trainings | imports, CPU s | search, CPU s | times zafu | whole process, CPU s "
        "| times zafu | wall s | times zafu | mark | accuracy |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, found in rows.items():
        cells = [NAMES[name], str(found["trainings"]), f"{found['imports']:.1f}"]
        for key in ("search", "process", "wall"):
            median, least, most = found["ratios"][key]
            cells += [f"{found['seconds'][key]:.1f}", f"{median:.1f} ({least:.1f} to {most:.1f})"]
        cells.append(f"≥ {MARKS[name]}" if name in MARKS else "")
        cells.append(f"{found['accuracy']:.4f} ± {found['accuracy_spread']:.4f}")
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "Accuracy: mean over all settings and folds, ± its standard deviation over rounds; of",
        "fewer settings where there were fewer trainings; scikit-learn has L2 in place of decay.",
        "",
    ]
    return "\n".join(lines)


def quality(results: dict[str, Any]) -> str:
    """Test accuracy of what each method found."""
    budgets = results["budgets"]
    lines = [
        "## What a search finds, by epochs spent",
        "",
        f"{results['made']}. Written by `python benchmarks/tune/search_quality.py`.",
        "",
        "Digits, 400 to train, 600 to choose and 797 to judge; lr, width, dropout and weight decay",
        f"of an MLP; {results['repeats']} repeats, each with a split and seeds of its own. Test",
        f"accuracy, mean (standard deviation over repeats) over {results['seeds']} fresh seeds, of",
        "the search's own first after so many epochs, and of zafu's winner after confirming. The",
        "optimism is what the search said of its first less what fresh seeds say, on validation.",
        "",
        "| search | "
        + " | ".join(f"{b} epochs, first | {b}, confirmed" for b in budgets)
        + f" | epochs of confirming at {budgets[-1]} | optimism at {budgets[-1]} |",
        f"|---|{'--:|' * (2 * len(budgets) + 2)}",
    ]
    for name, found in results["methods"].items():
        cells = [name]
        for budget in budgets:
            cells += [_of(found, budget, "first"), _of(found, budget, "winner")]
        cells += [_of(found, budgets[-1], "confirming", ".0f"), _of(found, budgets[-1], "optimism")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def overhead(results: dict[str, Any]) -> str:
    """CPU milliseconds of a trial that costs nothing."""
    lines = [
        "## What a search itself costs",
        "",
        f"{results['made']}. Written by `python benchmarks/tune/overhead.py`.",
        "",
        f"CPU milliseconds a trial, over {results['trials']} trials of four settings whose value",
        f"is a formula, with the ledger; median (least to most) of {results['rounds']} studies, in",
        "one process in random order.",
        "",
        "| search | ledger | CPU ms a trial |",
        "|---|---|--:|",
    ]
    for name, found in results["searches"].items():
        median, least, most = found["milliseconds"]
        cells = [name, found["ledger"], f"{median:.2f} ({least:.2f} to {most:.2f})"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _of(found: dict[str, Any], budget: int, key: str, form: str = ".3f") -> str:
    values = found.get(str(budget), {}).get(key)
    if not values:
        return ""
    mean = sum(values) / len(values)
    spread = (sum((v - mean) ** 2 for v in values) / max(len(values) - 1, 1)) ** 0.5
    return f"{mean:{form}} ({spread:{form}})"


PARTS = {"headline": headline, "quality": quality, "overhead": overhead}
