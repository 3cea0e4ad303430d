"""Freeze a random rank, and wait 20 seconds for a save: the first is noticed, the second is not.

    python benchmarks/reliability/alarms.py --runs 10 --write

A frozen rank (SIGSTOP) must be named within 30 seconds, with the stacks of the other one, and must
end the training. In as many other runs one rank sleeps for 20 seconds inside of a save, which is no
fault: they must go on to their end. Several runs go on at once, since all of them mostly wait.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ranks
import trial
from kill import machine

HERE = Path(__file__).parent
AT_ONCE = 4
SLEEPY = """\
import os, time
real, slept = os.fsync, []
def fsync(handle):
    name = os.readlink(f"/proc/self/fd/{handle}")
    if os.environ.get("RANK") == os.environ["SLEEPY"] and "checkpoints" in name and not slept:
        slept.append(name)
        time.sleep(20)
        open(f"{os.environ['SLEPT']}", "a").write(name)
    real(handle)
os.fsync = fsync
"""


def frozen(recipe: Path, out: Path, layout: str, rank: int) -> dict[str, Any]:
    """One training of which a rank is frozen: how it ended."""
    process = ranks.start(recipe, out, layout, once=True)
    while process.poll() is None and not trial.saved(out):
        time.sleep(0.02)
    begun = time.monotonic()
    os.kill(ranks.ranks(process)[rank], signal.SIGSTOP)
    text = process.communicate()[0]
    stacks = out / "ranks" / f"{1 - rank}.stacks"
    return {
        "layout": layout,
        "rank": rank,
        "seconds": time.monotonic() - begun,
        "named": f"rank {rank} is frozen" in text,
        "stacks": stacks.is_file() and "Thread" in stacks.read_text(),
        "code": process.returncode,
    }


def slow_save(recipe: Path, out: Path, layout: str) -> dict[str, Any]:
    """One training with a save of 20 seconds: how it ended."""
    slept = out.with_suffix(".slept")
    writer = "0" if "data" in layout else "1"  # of replicas the first one writes alone
    process = ranks.start(recipe, out, layout, SLEPT=str(slept), SLEEPY=writer)
    text = process.communicate()[0]
    alarm = "frozen" in text or "start again" in text
    return {
        "layout": layout,
        "slept": slept.is_file(),
        "alarm": alarm,
        "code": process.returncode,
    }


def main() -> int:
    """Freeze, wait, and say what came of it; exit code 1 if an alarm was missing or false."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=10, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="write alarms.json")
    chosen = parser.parse_args()
    chance = random.Random(chosen.seed)  # noqa: S311
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(AT_ONCE) as pool:
        folder = Path(scratch)
        (folder / "sleepy.py").write_text(SLEEPY)
        long = ranks.RECIPE.replace("steps: 120", "steps: 100000")
        recipe = trial.write(folder, long.replace("evaluate_every: 20", "evaluate_every: 100000"))
        ends = trial.write(folder / "ends", f"{ranks.RECIPE}plugins: [{folder}/sleepy.py]\n")
        layouts = [ranks.LAYOUTS[number % len(ranks.LAYOUTS)] for number in range(chosen.runs)]
        waits = [
            pool.submit(slow_save, ends, folder / f"slow-{number}", layout)
            for number, layout in enumerate(layouts)
        ]
        slow = [one.result() for one in waits]
        waits = [
            pool.submit(frozen, recipe, folder / f"ice-{number}", layout, chance.randrange(2))
            for number, layout in enumerate(layouts)
        ]
        ice = [one.result() for one in waits]
    result = {
        "frozen": len(ice),
        "named_with_stacks": sum(one["named"] and one["stacks"] for one in ice),
        "ended": sum(one["code"] == 69 for one in ice),
        "seconds_most": max(one["seconds"] for one in ice),
        "runs_with_a_save_of_20_s": sum(one["slept"] for one in slow),
        "false_alarms": sum(one["alarm"] for one in slow),
        "finished": sum(one["code"] == 0 for one in slow),
    }
    print(json.dumps(result, indent=1))
    if chosen.write:
        text = json.dumps({**result, "ice": ice, "slow": slow, "machine": machine()}, indent=1)
        (HERE / "alarms.json").write_text(text + "\n", encoding="utf-8")
    most = result["seconds_most"] <= 30 and result["ended"] == len(ice)
    named = result["named_with_stacks"] == len(ice)
    quiet = result["finished"] == result["runs_with_a_save_of_20_s"] == len(slow)
    return 0 if most and named and quiet and not result["false_alarms"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
