"""Slow down a random rank of a training on two processes, and see whether it is named.

    python benchmarks/reliability/straggler.py --slow 20 --clean 10 --write

A rank is stopped and continued by signals, 100 times a second, so that its work takes half as long
again; it must be named in the run's metrics within 50 steps, and in clean runs nobody may be.
Layouts take turns. In `pipeline` the ranks do different work: there the first round is left alone.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import ranks
import trial
from kill import machine

HERE = Path(__file__).parent
LAYOUTS = ("layout.data=2", "layout.shard=2", "layout.tensor=2", "layout.pipeline=2")
RUNS, STANDS = 0.010, 0.005  # seconds of work, and of none after it
STEPS = 300
RECIPE = (
    ranks.RECIPE.replace("width: 32, layers: 2, heads: 2", "width: 128, layers: 6, heads: 4")
    .replace("steps: 120", f"steps: {STEPS}")
    .replace("save_every: 8", "save_every: 100")
    .replace("evaluate_every: 20", "evaluate_every: 1000")
)


def rows(run: Path) -> list[dict[str, Any]]:
    """What the run recorded so far."""
    file = run / "metrics.jsonl"
    return (
        [json.loads(line) for line in file.read_bytes().split(b"\n")[:-1]] if file.exists() else []
    )


def named(run: Path) -> list[tuple[int, int, float]]:
    """Step, rank and slowness of each process that was named."""
    return [
        (row["step"], there["rank"], there["times"])
        for row in rows(run)
        for there in row.get("slow", ())
    ]


class Tired:
    """Inside, a process gets no more than a share of its time."""

    def __init__(self, process: int) -> None:
        self._process, self._over = process, threading.Event()
        self._thread = threading.Thread(target=self._hinder)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _hinder(self) -> None:
        try:
            while not self._over.wait(RUNS):
                os.kill(self._process, signal.SIGSTOP)
                time.sleep(STANDS)
                os.kill(self._process, signal.SIGCONT)
        except ProcessLookupError:
            return


def slowed(recipe: Path, out: Path, layout: str, rank: int, after: int) -> dict[str, Any]:
    """One training of which a rank is slowed down after a step: who was named, and when."""
    process = ranks.start(recipe, out, layout)
    while process.poll() is None and trial.reached(out) < after:
        time.sleep(0.02)
    if process.poll() is not None:
        raise SystemExit(f"it ended too early:\n{process.communicate()[0]}")
    begun = trial.reached(out)
    with Tired(ranks.ranks(process)[rank]):
        while process.poll() is None and not named(out):
            time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate()
    found = named(out)
    step, who, times = found[0] if found else (None, None, None)
    # a round that began before is not all slow: it names nobody, or it does so in time as well
    late = None if step is None else step - begun
    return {"layout": layout, "rank": rank, "named": who, "times": times, "after_steps": late}


def clean(recipe: Path, out: Path, layout: str) -> dict[str, Any]:
    """One undisturbed training: who was named."""
    process = ranks.start(recipe, out, layout)
    text = process.communicate()[0]
    if process.returncode:
        raise SystemExit(f"an undisturbed run failed:\n{text}")
    seconds = [row["seconds"] / row["steps"] for row in rows(out) if "loss" in row]
    return {"layout": layout, "named": named(out), "step_seconds": sum(seconds) / len(seconds)}


def main() -> int:
    """Slow down, look on, and say what came of it; exit code 1 if a name was wrong or missing."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--slow", type=int, default=20)
    parser.add_argument("--clean", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="write straggler.json")
    chosen = parser.parse_args()
    chance = random.Random(chosen.seed)  # noqa: S311
    slow: list[dict[str, Any]] = []
    quiet: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        recipe = trial.write(folder, RECIPE)
        for number in range(chosen.clean):
            layout = LAYOUTS[number % len(LAYOUTS)]
            quiet.append(clean(recipe, folder / f"clean-{number}", layout))
            print(json.dumps(quiet[-1]), flush=True)
        for number in range(chosen.slow):
            layout = LAYOUTS[number % len(LAYOUTS)]
            after = chance.randint(45, 120) if "pipeline" in layout else chance.randint(1, 80)
            out = folder / f"slow-{number}"
            slow.append(slowed(recipe, out, layout, chance.randrange(2), after))
            print(json.dumps(slow[-1]), flush=True)
    steps = sorted(one["after_steps"] for one in slow if one["named"] == one["rank"])
    result = {
        "slowed": len(slow),
        "named_rightly": len(steps),
        "named_wrongly": sum(one["named"] not in (one["rank"], None) for one in slow),
        "within_50_steps": sum(step <= 50 for step in steps),
        "steps_median_and_most": [steps[len(steps) // 2], steps[-1]] if steps else None,
        "clean_runs": len(quiet),
        "named_in_clean_runs": sum(len(one["named"]) for one in quiet),
    }
    print(json.dumps(result, indent=1))
    if chosen.write:
        text = json.dumps({**result, "slow": slow, "clean": quiet, "machine": machine()}, indent=1)
        (HERE / "straggler.json").write_text(text + "\n", encoding="utf-8")
    right = result["named_rightly"] == len(slow) and not result["named_in_clean_runs"]
    return 0 if right else 1


if __name__ == "__main__":
    raise SystemExit(main())
