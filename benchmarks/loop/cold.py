"""From a cold shell: how long until zafu helps, has checked a recipe, and has taken its first step.

Medians over fresh processes, in seconds of wall clock and of CPU. The demo begins in an empty
folder, so that its data is prepared too.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import zafu

RUNS = 5
MOST_SECONDS = 120.0
DEMO = Path(zafu.__path__[0]) / "recipes" / "python.yaml"


def ended(*words: str) -> tuple[float, float]:
    """Seconds of wall clock and of CPU until a command has ended well."""
    begun = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-m", "zafu", *words], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, words
    return time.perf_counter() - begun, used.ru_utime + used.ru_stime


def stepped() -> tuple[float, float]:
    """Seconds of wall clock and of CPU until the demo's first optimizer step is in its record."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, "-m", "zafu", "train", str(DEMO), "--out", f"{folder}/run"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        record = Path(folder) / "run" / "metrics.jsonl"
        while not (record.is_file() and record.stat().st_size):
            passed = time.perf_counter() - begun
            assert child.poll() is None, f"the demo ended with {child.returncode}"
            assert passed < MOST_SECONDS, "the demo takes no step"
            time.sleep(0.01)
        wall = time.perf_counter() - begun
        child.kill()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        return wall, used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description="zafu from a cold shell")
    parser.add_argument("--runs", type=int, default=RUNS, help="fresh processes of each")
    count = parser.parse_args().runs
    measured: dict[str, Callable[[], tuple[float, float]]] = {
        "`zafu --help`": lambda: ended("--help"),
        "`zafu check python.yaml`": lambda: ended("check", str(DEMO)),
        "`zafu train python.yaml`, to the first step": stepped,
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in measured}
    for _ in range(count):
        for name, measure in measured.items():
            found[name].append(measure())
    print("| from a cold shell | wall | CPU |\n|---|--:|--:|")
    for name, seconds in found.items():
        wall, cpu = (median(column) for column in zip(*seconds, strict=True))
        print(f"| {name} | {wall:.2f} s | {cpu:.2f} s |")


if __name__ == "__main__":
    main()
