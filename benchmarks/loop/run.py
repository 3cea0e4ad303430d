"""Zafu's loop beside a bare torch loop, transformers.Trainer and Lightning, in one run.

Each loop is a process of its own; they take turns of a few dozen steps in random order, so that
what else the machine does meets all alike. Reported are ratios to the bare loop of the same turn.

```
make bench                                    # with the peers, in an environment of their own
python benchmarks/loop/run.py --quick         # a smoke test
```
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from contestant import LOOPS
from sizes import SIZES, THREADS, Size, recipe
from table import markdown

from zafu.recipe import Recipe
from zafu.run import environment, prepared

HERE = Path(__file__).parent
PEERS = {"transformers": ("transformers", "accelerate"), "lightning": ("lightning",)}
WARM = 2  # turns at the start that are not counted
ROUNDS = 3  # sets of fresh processes: where memory lies is a matter of luck, and of 10 %
STARTS = 5  # fresh processes whose start is timed
RESAMPLES = 2000
ENVIRONMENT = {"OMP_NUM_THREADS": str(THREADS), "MKL_NUM_THREADS": str(THREADS)}


class Process:
    """A contestant's process: started, done with its first step, and waiting."""

    def __init__(self, loop: str, size: str, folder: Path) -> None:
        begun = time.perf_counter()
        self.log = (folder / f"{loop}.log").open("w+")
        self.child = subprocess.Popen(
            [sys.executable, str(HERE / "contestant.py"), loop, size, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=os.environ | ENVIRONMENT,
            cwd=folder,
        )
        first = self._read()
        self.imported, self.first = (first[key] - begun for key in ("imported", "first"))
        self.cpu = first["cpu"]

    def turn(self, steps: int) -> tuple[float, float]:
        """Seconds of wall clock and of CPU for so many steps."""
        self._write(steps)
        found = self._read()
        return found["wall"], found["cpu"]

    def end(self) -> int:
        """Stop it; the most bytes that were in memory."""
        self._write(0)
        peak = int(self._read()["peak"])
        self.child.wait()
        return peak

    def kill(self) -> None:
        """Stop it if it still runs."""
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        for pipe in (self.child.stdin, self.child.stdout, self.log):
            if pipe:
                pipe.close()

    def _write(self, steps: int) -> None:
        assert self.child.stdin
        self.child.stdin.write(f"{steps}\n")
        self.child.stdin.flush()

    def _read(self) -> dict[str, float]:
        assert self.child.stdout
        if not (line := self.child.stdout.readline()):
            self.log.seek(0)
            raise SystemExit(f"{self.child.args} ended:\n{self.log.read()[-3000:]}")
        return json.loads(line)


def race(name: str, loops: list[str], folder: Path, *, rounds: int, blocks: int) -> dict[str, Any]:
    """Seconds of each loop in each turn on one size, as ratios and as steps a second."""
    size = SIZES[name]
    prepare(size, folder, steps=(blocks + WARM) * size.block + 1)
    chance = np.random.default_rng(0)
    counted: dict[str, list[tuple[float, float]]] = {loop: [] for loop in loops}
    for _ in range(rounds):
        with ExitStack() as stack:
            running = {}
            for loop in loops:
                running[loop] = Process(loop, name, folder)
                stack.callback(running[loop].kill)
            for turn in range(blocks + WARM):
                for loop in chance.permutation(loops).tolist():
                    seconds = running[loop].turn(size.block)
                    if turn >= WARM:
                        counted[loop].append(seconds)
            for process in running.values():
                process.end()
    turns = {loop: np.array(seconds) for loop, seconds in counted.items()}
    return {
        "title": size.title,
        "steps_per_turn": size.block,
        "turns": blocks * rounds,
        "loops": {
            loop: figures(seconds, turns["bare"], size.block) for loop, seconds in turns.items()
        },
    }


def figures(turns: np.ndarray, reference: np.ndarray, block: int) -> dict[str, Any]:
    """What is reported of a loop's turns `(turns, 2)`: seconds of wall clock, then of CPU."""
    ratios = reference / turns
    chance = np.random.default_rng(0)
    drawn = ratios[chance.integers(len(ratios), size=(RESAMPLES, len(ratios)))]
    low, high = np.quantile(np.median(drawn, 1), [0.025, 0.975], axis=0)
    middle = np.median(ratios, 0)
    return {
        "steps_per_second": block / float(np.median(turns[:, 0])),
        "milliseconds": 1000 * float(np.median(turns[:, 0])) / block,
        **{
            f"ratio_{clock}": {
                "median": float(middle[i]),
                "low": float(low[i]),
                "high": float(high[i]),
                "min": float(ratios[:, i].min()),
                "max": float(ratios[:, i].max()),
                "of_sums": float(reference[:, i].sum() / turns[:, i].sum()),
            }
            for i, clock in enumerate(("wall", "cpu"))
        },
    }


def starts(loops: list[str], folder: Path, count: int) -> dict[str, Any]:
    """Medians over fresh processes: seconds to the end of imports and of the first step; memory."""
    prepare(SIZES["small"], folder, steps=1000)
    found: dict[str, list[tuple[float, ...]]] = {loop: [] for loop in loops}
    for _ in range(count):
        for loop in loops:
            process = Process(loop, "small", folder)
            process.turn(20)
            peak = process.end()
            process.kill()
            found[loop].append((process.imported, process.first, process.cpu, peak))
    keys = ("import_seconds", "first_step_seconds", "first_step_cpu_seconds", "peak_bytes")
    return {
        loop: dict(zip(keys, map(median, zip(*rows, strict=True)), strict=True))
        for loop, rows in found.items()
    }


def prepare(size: Size, folder: Path, *, steps: int) -> None:
    """Write the samples and the recipe that all loops read."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = recipe(size, steps=steps, save_every=max(1, steps // 2))
    (folder / "recipe.json").write_text(json.dumps(plain))
    data = Recipe.parse(plain).data
    split = data.open(prepared(Recipe.parse(plain), folder / "runs"), "train")
    batch = split.batch(np.arange(len(split)))
    np.save(folder / "x.npy", batch.inputs[0].numpy())
    np.save(folder / "y.npy", batch.targets.numpy())


def versions() -> dict[str, str]:
    """The installed versions of what is compared."""
    found = {}
    for package in ("transformers", "accelerate", "lightning"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="zafu's loop beside its peers")
    parser.add_argument("--quick", action="store_true", help="a few steps, without peers")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--out", type=Path, default=HERE, help="folder of results.json and .md")
    arguments = parser.parse_args()
    missing = {peer for peer, needs in PEERS.items() if not all(map(find_spec, needs))}
    loops = [loop for loop in LOOPS if loop not in missing]
    if missing:
        print(f"without {' and '.join(sorted(missing))}: not installed", file=sys.stderr)
    started, sizes, count, rounds = loops, arguments.sizes, STARTS, ROUNDS
    if arguments.quick:
        loops, sizes = ["bare", "zafu-fit", "zafu-train"], ["small"]
        started, count, rounds = ["bare"], 1, 1
    facts = environment()
    results: dict[str, Any] = {
        "date": facts["time"],
        "cpu": facts["cpu"],
        "threads": THREADS,
        "versions": {key: facts[key] for key in ("zafu", "torch", "python")} | versions(),
        "sizes": {},
    }
    with tempfile.TemporaryDirectory() as scratch:
        results["starts"] = starts(started, Path(scratch) / "starts", count)
        for name in sizes:
            folder, blocks = Path(scratch) / name, 2 if arguments.quick else SIZES[name].blocks
            results["sizes"][name] = race(name, loops, folder, rounds=rounds, blocks=blocks)
            write(results, arguments.out)
    print(markdown(results))


def write(results: dict[str, Any], folder: Path) -> None:
    """Write the results so far, for machines and for readers."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "results.md").write_text(markdown(results))


if __name__ == "__main__":
    main()
