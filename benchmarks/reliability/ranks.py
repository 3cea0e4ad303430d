"""Kill a random rank of a training on two processes with SIGKILL, again and again.

    python benchmarks/reliability/ranks.py --kills 20 --seed 0 --write

One command trains with a layout, and nobody starts it again: it has to notice, to end the other
rank, to go on from the newest checkpoint, and to end with the bytes of a run that was never
disturbed. Half of the kills are aimed inside a save, as in `kill.py`; layouts take turns.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import trial

from zafu.run import environment

HERE = Path(__file__).parent
LAYOUTS = ("layout.data=2", "layout.shard=2", "layout.pipeline=2", "layout.tensor=2")
SAVE_SECONDS = 0.04  # about the time in which a save can be hit
ONCE = """
import sys
from pathlib import Path
from zafu.parallel import local
out, *words = sys.argv[1:]
sys.exit(local.run(2, words, logs=Path(out) / "ranks", restarts=0))
"""
RECIPE = """\
task: language-modeling
data: {kind: text, files: ["stdlib:asyncio/*.py"], context: 32, tokenizer: {kind: bpe, vocab: 300}}
model: {kind: decoder, width: 32, layers: 2, heads: 2, dropout: 0.1}
fit:
  optimizer: {kind: adamw, lr: 3.0e-3}
  schedule: {kind: cosine, warmup: 0.1}
  average: {kind: ema, decay: 0.9}
  clip: {norm: 1.0}
  batch: 16
  steps: 120
  save_every: 8
  evaluate_every: 20
  threads: 1
  device: cpu
  trackers: []
evaluate: {baselines: [], during: 64}
"""


def start(
    recipe: Path, out: Path, layout: str, *, once: bool = False, **told: str
) -> subprocess.Popen[str]:
    """The training, with all that it says in one pipe; `once`: nothing is started again."""
    command = ["-c", ONCE, str(out)] if once else ["-m", "zafu"]
    words = ["train", str(recipe), layout, "--out", str(out), "--quiet"]
    return subprocess.Popen(
        [sys.executable, *command, *words],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **told},
    )


def ranks(process: subprocess.Popen[str]) -> list[int]:
    """The processes that it has started, by rank."""
    try:
        found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    except FileNotFoundError:
        return []
    return [int(number) for number in found.split()]


def digests(run: Path) -> dict[str, str]:
    """SHA-256 of what was shipped and of the last checkpoint, and the recorded losses."""
    last = trial.checkpoints(run)[-1]
    files = sorted([*last.glob("*.safetensors"), run / "model/model.safetensors"])
    found = {str(f.relative_to(run)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
    state = json.loads((last / "state.json").read_text())
    del state["state"]["progress"]["seconds"]  # time is all that may differ
    return {
        **found,
        "state": json.dumps(state, sort_keys=True),
        "losses": json.dumps(trial.losses(run)),
    }


def moment(process: subprocess.Popen[str], out: Path, chance: random.Random, length: float) -> None:
    """Return at a random moment of the training, or of one of its saves, while it has its ranks."""
    while process.poll() is None and len(ranks(process)) < 2:
        time.sleep(0.02)
    if chance.random() < 0.5:
        time.sleep(chance.uniform(0, length))
        return
    passed, seen = chance.randint(0, 8), False  # saves to let pass
    while process.poll() is None:
        now = bool(trial.unfinished(out))
        if now and not seen:
            passed -= 1
            if passed < 0:
                time.sleep(chance.uniform(0, SAVE_SECONDS))
                return
        seen = now


def killed(recipe: Path, out: Path, layout: str, chance: random.Random, length: float) -> Any:
    """One training of which a random rank is killed; None if it was done before."""
    process = start(recipe, out, layout)
    moment(process, out, chance, length)
    before = ranks(process)
    if process.poll() is not None or len(before) < 2:
        process.communicate()
        return None
    rank = chance.randrange(2)
    os.kill(before[rank], signal.SIGKILL)
    begun = time.monotonic()
    found: dict[str, Any] = {"layout": layout, "rank": rank, "ended": None, "back": None}
    wall = 0.0  # when they had ended
    found |= {"inside_save": bool(trial.unfinished(out)), "saved": trial.saved(out)}
    while process.poll() is None and found["back"] is None:
        now = ranks(process)
        if found["ended"] is None and not set(before) & set(now):
            found["ended"] = time.monotonic() - begun
            wall = time.time()
        file = out / "metrics.jsonl"
        written = found["ended"] is not None and file.exists() and file.stat().st_mtime > wall
        if written and trial.reached(out) > found["saved"]:
            found["back"] = time.monotonic() - begun
        time.sleep(0.02)
    text = process.communicate()[0]
    return found | {"code": process.returncode, "again": "all start again" in text, "said": text}


def main() -> None:
    """Kill, compare, and say what came of it; exit code 1 if a run did not end with the bytes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="write ranks.json")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)  # noqa: S311
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        recipe, expected = trial.write(folder, RECIPE), dict[str, dict[str, str]]()
        lengths: dict[str, float] = {}
        for layout in (LAYOUTS[0], *LAYOUTS):  # the first one prepares the data for all
            shutil.rmtree(out := folder / layout, ignore_errors=True)
            begun = time.perf_counter()
            process = start(recipe, out, layout)
            if text := process.communicate()[0] if process.wait() else "":
                raise SystemExit(f"the undisturbed run failed:\n{text}")
            lengths[layout], expected[layout] = time.perf_counter() - begun, digests(out)
        while len(found) < arguments.kills:
            layout = LAYOUTS[len(found) % len(LAYOUTS)]
            out = folder / f"killed-{len(found)}"
            shutil.rmtree(out, ignore_errors=True)
            done = killed(recipe, out, layout, chance, lengths[layout] * 0.8)
            if done is None:
                continue
            done["identical"] = done["code"] == 0 and digests(out) == expected[layout]
            if done["identical"]:
                del done["said"]
            found.append(done)
            print(json.dumps(done), flush=True)
    facts = environment()
    result = {
        "date": facts["time"][:10],
        "cpu": f"{facts['cpu']}, {os.cpu_count()} cores",
        "torch": facts["torch"],
        "kills": len(found),
        "inside_save": sum(one["inside_save"] for one in found),
        "identical": sum(one["identical"] for one in found),
        "seconds_to_end": spread([one["ended"] for one in found]),
        "seconds_to_train_again": spread([one["back"] for one in found]),
        "each": found,
    }
    print(json.dumps({key: value for key, value in result.items() if key != "each"}, indent=1))
    if arguments.write:
        (HERE / "ranks.json").write_text(json.dumps(result, indent=1) + "\n")
    if result["identical"] < len(found):
        raise SystemExit(1)


def spread(seconds: list[float | None]) -> dict[str, Any]:
    """Median and most of what is known."""
    known = [x for x in seconds if x is not None]
    return {"of": len(known), "median": median(known), "most": max(known)} if known else {"of": 0}


if __name__ == "__main__":
    main()
