"""Five folds of 20 settings of a small network: zafu's stacked engine beside its peers.

```
make bench-tune                                    # with the peers, in an environment of their own
python benchmarks/tune/headline.py --quick         # a smoke test of those that are installed
```
Each search is a process of its own with one thread; contestants take turns in random order, so
that what else the machine does meets all alike. Peers that take minutes do a part of the settings
in each round, and are counted by the training. Writes `headline.json` and, with the other two,
`results.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from page import HERE, ONE_THREAD, where, write
from sizes import EPOCHS, FOLDS, RATES

NEEDS = {
    "zafu": (),
    "sklearn": ("sklearn",),
    "torch": (),
    "optuna": ("optuna",),
    "lightning": ("optuna", "lightning"),
    "keras-tuner": ("keras", "keras_tuner"),
}
WHOLE = 20  # settings
PARTS = {"lightning": 5, "keras-tuner": 4}  # of them, for those that take minutes


def search(name: str, count: int, folder: Path) -> dict[str, Any]:
    """What one process says, and the CPU seconds of all of it."""
    folder.mkdir(parents=True)
    command = [sys.executable, str(HERE / "contestant.py"), name, str(count), str(folder)]
    log = folder / "log"
    with log.open("w") as errors:
        begun = time.perf_counter()
        child = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=os.environ | ONE_THREAD,
        )
        assert child.stdout
        said = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{name} ended with {child.returncode}:\n{log.read_text()[-3000:]}")
    found = json.loads(said.strip().splitlines()[-1])
    found["process"] = usage.ru_utime + usage.ru_stime
    found["process_wall"] = time.perf_counter() - begun
    found["trainings"] = count * FOLDS
    return found


def measured(names: list[str], rounds: int, counts: dict[str, int]) -> dict[str, Any]:
    """All rounds of all contestants."""
    chance = np.random.default_rng(0)
    turns: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(rounds):
            for name in chance.permutation(names).tolist():
                found = search(name, counts[name], Path(scratch) / f"{name}-{number}")
                turns[name].append(found)
                cpu, each = found["process"], 1e3 * found["search"] / found["trainings"]
                print(
                    f"round {number + 1} of {rounds}: {name}: {cpu:.1f} CPU s, {each:.0f} ms each",
                    file=sys.stderr,
                    flush=True,
                )
    return {name: figures(found, turns["zafu"]) for name, found in turns.items()}


def figures(turns: list[dict[str, Any]], ours: list[dict[str, Any]]) -> dict[str, Any]:
    """Seconds for all settings, and ratios to zafu in the same round: median, least, most.

    Of a part of the settings, what follows imports is taken to grow with the trainings.
    """
    whole = WHOLE * FOLDS
    scaled = [whole / turn["trainings"] for turn in turns]
    rows = {
        "search": [s * t["search"] for s, t in zip(scaled, turns, strict=True)],
        "process": [
            t["process"] + (s - 1) * t["search"] for s, t in zip(scaled, turns, strict=True)
        ],
        "wall": [
            t["process_wall"] + (s - 1) * t["wall"] for s, t in zip(scaled, turns, strict=True)
        ],
    }
    mine = {
        "search": [whole / t["trainings"] * t["search"] for t in ours],
        "process": [t["process"] + (whole / t["trainings"] - 1) * t["search"] for t in ours],
        "wall": [t["process_wall"] + (whole / t["trainings"] - 1) * t["wall"] for t in ours],
    }
    accuracies = np.mean([turn["accuracies"] for turn in turns], 0)
    spread = np.std([np.mean(turn["accuracies"]) for turn in turns])
    return {
        "trainings": turns[0]["trainings"],
        "imports": median(turn["imports"] for turn in turns),
        "seconds": {key: median(values) for key, values in rows.items()},
        "ratios": {
            key: _spread([a / b for a, b in zip(values, mine[key], strict=True)])
            for key, values in rows.items()
        },
        "accuracies": accuracies.tolist(),
        "accuracy": float(np.mean(accuracies)),
        "accuracy_spread": float(spread),
    }


def _spread(ratios: list[float]) -> list[float]:
    return [median(ratios), min(ratios), max(ratios)]


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description="zafu's stacked engine beside its peers")
    parser.add_argument("--quick", action="store_true", help="a few settings; writes nothing")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=NEEDS, default=list(NEEDS))
    arguments = parser.parse_args()
    missing = {name for name, needs in NEEDS.items() if not all(map(find_spec, needs))}
    names = [n for n in NEEDS if n not in missing and (n in arguments.only or n == "zafu")]
    if missing:
        print(f"without {', '.join(sorted(missing))}: not installed", file=sys.stderr)
    counts = {name: PARTS.get(name, WHOLE) for name in names}
    rounds = arguments.rounds
    if arguments.quick:
        counts, rounds = dict.fromkeys(names, 1), 1
    results = {
        "made": where(),
        "settings": WHOLE,
        "folds": FOLDS,
        "epochs": EPOCHS,
        "rates": RATES,
        "rounds": rounds,
        "contestants": measured(names, rounds, counts),
    }
    write("headline", results, keep=not arguments.quick)


if __name__ == "__main__":
    main()
