"""Trial: a small real training whose end is known to the byte, and what is read off its folder."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from random import Random

RECIPE = """\
task: regression
data: {kind: table, files: [FOLDER/houses.csv], target: price}
model: {kind: mlp, width: 64, dropout: 0.2}
fit:
  optimizer: {kind: adamw, lr: 3.0e-3, weight_decay: 0.01}
  schedule: {kind: cosine, warmup: 0.1}
  average: {kind: ema, decay: 0.9}
  clip: {norm: 1.0}
  early_stopping: {patience: 50, min_delta: 0.02}
  batch: 32
  micro_batch: 16
  steps: 80
  save_every: 8
  evaluate_every: 10
  threads: 1
  device: cpu
  trackers: []
evaluate: {baselines: [constant], during: 32}
"""
SHORT = RECIPE.replace("steps: 80", "steps: 24")  # saves at 8, 16 and 24; its best is at 10 or 20
WIDE = RECIPE.replace("width: 64", "width: 640")  # large enough to be saved beside training
STEP = re.compile(r"step-(\d{9})")


def write(folder: Path, recipe: str = RECIPE) -> Path:
    """The recipe's file, written into a folder with the table that it asks for."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "houses.csv").write_text(table(), encoding="utf-8")
    file = folder / "recipe.yaml"
    file.write_text(recipe.replace("FOLDER", str(folder)), encoding="utf-8")
    return file


def table(rows: int = 400) -> str:
    """A CSV of numbers and a category, and a price that follows from them with some noise."""
    random = Random(0)  # noqa: S311
    lines = ["rooms,area,age,town,price"]
    for _ in range(rows):
        rooms, area, age = random.randint(1, 9), random.uniform(20, 200), random.uniform(0, 90)
        town = random.choice(["Aa", "Bex", "Cully"])
        price = 9 * rooms + area * (2 if town == "Cully" else 1) - age + random.gauss(0, 9)
        lines.append(f"{rooms},{area:.3f},{age:.3f},{town},{price:.3f}")
    return "\n".join(lines) + "\n"


def digests(run: Path) -> dict[str, str]:
    """SHA-256 of the weights, the last checkpoint's weights and optimizer, and its decisions."""
    last = checkpoints(run)[-1]
    files = [run / "model" / "model.safetensors"]
    files += [last / "model.safetensors", last / "optimizer.safetensors"]
    found = {str(f.relative_to(run)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
    state = json.loads((last / "state.json").read_text())
    del state["state"]["progress"]["seconds"]  # time is all that may differ
    return {**found, "state": json.dumps(state, sort_keys=True)}


def checkpoints(run: Path) -> list[Path]:
    """Checkpoints with a final name, oldest first."""
    return sorted(p for p in (run / "checkpoints").glob("step-*") if STEP.fullmatch(p.name))


def saved(run: Path) -> int:
    """The newest saved step."""
    found = checkpoints(run)
    return int(found[-1].name.removeprefix("step-")) if found else 0


def unfinished(run: Path) -> list[Path]:
    """What a killed save left behind."""
    return list((run / "checkpoints").glob("*.part"))


def reached(run: Path) -> int:
    """The last step that the metrics tell of."""
    file = run / "metrics.jsonl"
    rows = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
    return max((json.loads(row).get("step", 0) for row in rows), default=0)


def losses(run: Path) -> dict[int, float]:
    """The loss of every step, as it was recorded; raises ValueError if a step stands twice."""
    found: dict[int, float] = {}
    for line in (run / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        if "loss" in row:
            if row["step"] in found:
                raise ValueError(f"step {row['step']} was recorded twice")
            found[row["step"]] = row["loss"]
    return found


def status(run: Path) -> dict[str, object]:
    """What the run says of itself."""
    return json.loads((run / "status.json").read_text())


def pending(run: Path) -> bool:
    """Whether the newest checkpoint remembers an evaluation that is to be done."""
    return json.loads((checkpoints(run)[-1] / "state.json").read_text())["state"]["pending"]
