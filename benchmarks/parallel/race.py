"""Zafu's step on two processes beside torch by hand, transformers.Trainer and Lightning.

Each contestant is two processes, which take turns with the others of a few steps in random order.
Reported are ratios to torch by hand in the same turn: above 1 is faster than it.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "loop"))
from run import figures, prepare, versions  # noqa: E402
from sizes import SIZES, THREADS  # noqa: E402

from zafu.run import environment  # noqa: E402

WORLD = 2
REFERENCE = {"zafu-data": "ddp", "zafu-shard": "fsdp", "transformers": "ddp", "lightning": "ddp"}
PEERS = {"transformers": ("transformers", "accelerate"), "lightning": ("lightning",)}
BLOCKS = {"millisecond": (20, 20), "decoder": (5, 20)}  # steps of a turn, turns of a process
WARM = 3


class Pair:
    """A contestant: two processes, done with their first step, and waiting."""

    def __init__(self, loop: str, size: str, folder: Path) -> None:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        self.logs = [(folder / f"{loop}-{rank}.log").open("w+") for rank in range(WORLD)]
        self.children = [
            subprocess.Popen(
                [sys.executable, str(HERE / "rank.py"), loop, size, str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.logs[rank],
                text=True,
                cwd=folder,
                env=os.environ
                | {
                    "RANK": str(rank),
                    "LOCAL_RANK": str(rank),
                    "WORLD_SIZE": str(WORLD),
                    "LOCAL_WORLD_SIZE": str(WORLD),
                    "MASTER_ADDR": "127.0.0.1",
                    "MASTER_PORT": str(port),
                    "OMP_NUM_THREADS": str(THREADS),
                },
            )
            for rank in range(WORLD)
        ]
        self._answers()

    def turn(self, steps: int) -> tuple[float, float]:
        """Seconds of wall clock, and of CPU of both, for so many steps."""
        for child in self.children:
            assert child.stdin
            child.stdin.write(f"{steps}\n")
            child.stdin.flush()
        found = self._answers()
        return max(f["wall"] for f in found), sum(f["cpu"] for f in found)

    def kill(self) -> None:
        """Stop both."""
        for child, log in zip(self.children, self.logs, strict=True):
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout, log):
                assert pipe
                pipe.close()

    def _answers(self) -> list[dict[str, float]]:
        found: list[dict[str, float]] = []
        for child, log in zip(self.children, self.logs, strict=True):
            assert child.stdout
            if not (line := child.stdout.readline()):
                log.seek(0)
                raise SystemExit(f"{child.args} ended:\n{log.read()[-3000:]}")
            found.append(json.loads(line))
        return found


def race(name: str, *, rounds: int, turns: int) -> dict[str, Any]:
    """Seconds of each contestant in each turn on one size, as ratios to torch by hand."""
    loops = ["ddp", "zafu-data", "fsdp", "zafu-shard"]
    loops += [peer for peer, needs in PEERS.items() if all(map(find_spec, needs))]
    block, _ = BLOCKS[name]
    chance = np.random.default_rng(0)
    counted: dict[str, list[tuple[float, float]]] = {loop: [] for loop in loops}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        prepare(SIZES[name], folder, steps=(turns + WARM) * block + 1)
        for _ in range(rounds):
            with ExitStack() as stack:
                running: dict[str, Pair] = {}
                for loop in loops:
                    running[loop] = Pair(loop, name, folder)
                    stack.callback(running[loop].kill)
                for turn in range(turns + WARM):
                    for loop in chance.permutation(loops).tolist():
                        seconds = running[loop].turn(block)
                        if turn >= WARM:
                            counted[loop].append(seconds)
    found = {loop: np.array(seconds) for loop, seconds in counted.items()}
    return {
        "title": SIZES[name].title,
        "turns": rounds * turns,
        "steps_per_turn": block,
        "loops": {
            loop: {
                "beside": REFERENCE.get(loop, loop),
                **figures(seconds, found[REFERENCE.get(loop, loop)], block),
            }
            for loop, seconds in found.items()
        },
    }


def where() -> str:
    """Date, machine and versions, in a line."""
    facts = environment()
    names = [f"{key} {facts[key]}" for key in ("zafu", "torch", "python")]
    names += [f"{name} {number}" for name, number in versions().items()]
    return f"{facts['time'][:10]}, {facts['cpu']}, {os.cpu_count()} cores; {', '.join(names)}"
