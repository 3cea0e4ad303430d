"""Every kind of layout, proved by `zafu verify-layout` on this machine's CPU: a table of the worst.

python benchmarks/parallel/proofs.py        # writes proofs.md; exit code 1 if one is not proved
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from race import where

HERE = Path(__file__).parent
SCHEDULES = ("gpipe", "1f1b", "interleaved", "zero-bubble", "dualpipe-v")
MODEL = ("model.layers=8", "model.kv_heads=4", "model.width=64", "data.context=64")
ROWS = [
    "data=2",
    "data=4",
    *(f"shard=2 level={level}" for level in ("optimizer", "gradients", "parameters")),
    "shard=4",
    "tensor=2",
    "tensor=4",
    *(f"pipeline={count} schedule={name}" for name in SCHEDULES for count in (2, 4)),
    "context=2",
    "context=4",
    "shard=2 tensor=2",
    "data=2 shard=2",
    "shard=2 pipeline=2",
    "pipeline=2 tensor=2",
    "context=2 tensor=2",
    "data=2 shard=2 tensor=2",
    "pipeline=2 shard=2 tensor=2",
    "pipeline=2 data=2 context=2 shard=2",
]
PAGE = """\
# Layouts proved against one process

Written by `python benchmarks/parallel/proofs.py`: each row is
`zafu verify-layout python.yaml {model} layout.…`, three steps in fp32. Of all
losses, gradient norms, gradients and weights, in every copy, the one nearest to its limit is shown.

| layout | processes | comparisons | nearest to its limit | relative difference | limit | seconds |
|---|--:|--:|---|--:|--:|--:|
"""


class Proof(NamedTuple):
    """What the command found."""

    code: int
    processes: str
    comparisons: str
    worst: tuple[str, str, str]  # what, difference, limit
    seconds: float


def proved(row: str, folder: Path) -> Proof:
    """Run the command for one layout."""
    layout = [f"layout.{setting}" for setting in row.split()]
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "zafu", "verify-layout", "python.yaml", *MODEL, *layout],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - begun
    processes = re.search(r"^(\d+) processes", done.stdout, re.M)
    comparisons = re.search(r"^(\d+) comparisons", done.stdout, re.M)
    worst = re.search(r"^([a-z_]+) +([0-9.]+e-\d+) +(\de-\d+) ", done.stdout, re.M)
    if done.returncode not in (0, 1) or not (processes and comparisons and worst):
        raise SystemExit(f"{row}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    what, difference, limit = worst.groups()
    return Proof(done.returncode, processes[1], comparisons[1], (what, difference, limit), seconds)


def main() -> int:
    """Prove each, and write the page."""
    lines: list[str] = []
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, "-m", "zafu", "init", "python"], cwd=folder, check=True)
        for row in ROWS:
            proof = proved(row, folder)
            wrong += proof.code
            named = row.replace(" ", ", ") + (" **differs**" if proof.code else "")
            cells = [
                named,
                proof.processes,
                proof.comparisons,
                *proof.worst,
                f"{proof.seconds:.0f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    text = PAGE.format(model=" ".join(MODEL)) + "\n".join(lines) + f"\n\n({where()})\n"
    (HERE / "proofs.md").write_text(text, encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
