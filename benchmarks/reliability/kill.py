"""Kill a training again and again with SIGKILL, run the same command, and compare the bytes.

    python benchmarks/reliability/kill.py --kills 200 --seed 0

Half of the kills are aimed inside a save: they come a random time, up to the length of a save,
after the folder of an unfinished checkpoint is seen. A kill counts as inside a save if it left
such a folder behind. The other half come at a random moment between the start of the process and
its end. Each run is killed up to five times, then left to finish; nobody touches its folder.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import trial
from forks import Child, Forks

HERE = Path(__file__).parent
MOST_KILLS = 5  # of one run
SAVE_SECONDS = 0.04  # about the time in which a save can be hit
INTERVAL = 8  # steps between saves


@dataclass
class Kill:
    """One SIGKILL and what came of it."""

    inside_save: bool
    reached: int  # the last step that was recorded
    saved: int  # the newest whole checkpoint then
    resumed: bool | None = None  # whether the next start went on from there by itself
    said: str = ""  # what it said, if it did not

    @property
    def lost(self) -> int:
        """Steps to be done again."""
        return self.reached - self.saved


@dataclass
class Trial:
    """One run: its kills, and whether it ended like the run that was never killed."""

    kills: list[Kill] = field(default_factory=list[Kill])
    code: int | None = None
    identical: bool = False


def trials(
    forks: Forks, folder: Path, *, kills: int, seed: int, words: str = trial.RECIPE
) -> Iterator[Trial]:
    """Runs, each killed a few times, until there were so many kills and half inside a save."""
    recipe = trial.write(folder, words)
    runs = folder / "runs"
    for name in ("first", "undisturbed"):  # the first one prepares the data for all
        begun = time.perf_counter()
        undisturbed = forks.run(["train", recipe, "--out", runs / name], folder)
        if undisturbed.code:
            raise SystemExit(f"the undisturbed run failed:\n{undisturbed.said()}")
        length = time.perf_counter() - begun
    expected = trial.digests(runs / "undisturbed")
    losses = trial.losses(runs / "undisturbed")
    chance = random.Random(seed)  # noqa: S311
    total = inside = 0
    while total < kills or inside < kills // 2:
        out = runs / f"killed-{total:04d}"
        done = Trial()
        for _ in range(chance.randint(1, MOST_KILLS)):
            aimed = inside < kills // 2 and (chance.random() < 0.75 or total >= kills)
            child = forks.start(["train", recipe, "--out", out], folder)
            _wait_for_moment(child, out, chance, aimed=aimed, length=length)
            child.send(signal.SIGKILL)
            child.wait()
            _judge_resumption(done, child)
            if child.code != -signal.SIGKILL:
                break  # it was done before
            kill = Kill(bool(trial.unfinished(out)), trial.reached(out), trial.saved(out))
            done.kills.append(kill)
            total, inside = total + 1, inside + kill.inside_save
        child = forks.run(["train", recipe, "--out", out], folder)
        _judge_resumption(done, child)
        done.code = child.code
        done.identical = (
            child.code == 0 and trial.digests(out) == expected and trial.losses(out) == losses
        )
        if done.identical:
            shutil.rmtree(out)
        yield done


def _wait_for_moment(
    child: Child, out: Path, chance: random.Random, *, aimed: bool, length: float
) -> None:
    """Return at a random moment of the child's life, or of one of its saves."""
    if not aimed:
        time.sleep(chance.uniform(0, length))
        return
    passed = chance.randint(0, 6)  # saves to let pass
    seen = False
    while child.poll() is None:
        now = bool(trial.unfinished(out))
        if now and not seen:
            passed -= 1
            if passed < 0:
                time.sleep(chance.uniform(0, SAVE_SECONDS))
                return
        seen = now


def _judge_resumption(done: Trial, child: Child) -> None:
    """Note on the last kill whether this start, which followed it, went on from where it stood."""
    if not done.kills or done.kills[-1].resumed is not None:
        return
    said, last = child.said(), done.kills[-1]
    if child.code == -signal.SIGKILL and not ("goes on" in said or "zafu:" in said):
        return  # killed again before it could say
    if child.code not in (0, -signal.SIGKILL):
        last.resumed = False
    elif last.saved:
        last.resumed = f"goes on from step-{last.saved:09d}" in said or "is finished" in said
    else:
        last.resumed = "samples, on cpu" in said
    last.said = "" if last.resumed else said


def summary(found: list[Trial]) -> dict[str, Any]:
    """The figures of all trials; a kill before the next start could say a word is counted apart."""
    kills = [kill for done in found for kill in done.kills]
    lost = [kill.lost for kill in kills]
    judged = [kill.resumed for kill in kills if kill.resumed is not None]
    return {
        "kills": len(kills),
        "inside_a_save": sum(kill.inside_save for kill in kills),
        "runs": len(found),
        "finished_unattended": sum(done.code == 0 for done in found),
        "byte_identical": sum(done.identical for done in found),
        "starts_that_went_on_from_the_newest_checkpoint": sum(judged),
        "starts_judged": len(judged),
        "steps_lost_mean": round(sum(lost) / max(len(lost), 1), 2),
        "steps_lost_max": max(lost, default=0),
        "save_interval": INTERVAL,
    }


def machine() -> dict[str, Any]:
    """Where and when this was measured."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "torch": version("torch"),
        "zafu": version("zafu"),
    }


def main() -> int:
    """Run, print a table, and write `results.json` on request; 0 if every run ended alike."""
    parser = argparse.ArgumentParser(description="Kill, resume, compare.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--wide", action="store_true", help="saves are written beside training")
    parser.add_argument("--write", action="store_true", help="write results.json or wide.json")
    chosen = parser.parse_args()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, Forks() as forks:
        found: list[Trial] = []
        sizes = {"kills": chosen.kills, "seed": chosen.seed}
        words = trial.WIDE if chosen.wide else trial.RECIPE
        for done in trials(forks, Path(folder), **sizes, words=words):
            found.append(done)
            marks = "".join("s" if kill.inside_save else "." for kill in done.kills)
            print(f"{marks:6}{'identical' if done.identical else 'DIFFERENT'}", flush=True)
            for kill in done.kills:
                if kill.said:
                    print(f"after {kill.reached} steps, {kill.saved} saved: {kill.said}")
    figures = summary(found)
    figures["seconds"] = round(time.perf_counter() - begun)
    for name, value in figures.items():
        print(f"{name.replace('_', ' '):50}{value}")
    if chosen.write:
        wide = " --wide" if chosen.wide else ""
        command = f"kill.py --kills {chosen.kills} --seed {chosen.seed}{wide}"
        results = {"command": command, **figures}
        text = json.dumps({**results, "machine": machine()}, indent=1)
        (HERE / ("wide.json" if chosen.wide else "results.json")).write_text(
            text + "\n", encoding="utf-8"
        )
    return 0 if all(done.identical for done in found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
