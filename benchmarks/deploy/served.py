"""What the measurements of a server share: models, running servers, quantiles."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zafu.bench import asking
from zafu.bench.load import Heard, Plan
from zafu.deploy.bundle import opened

FIT: dict[str, Any] = {"threads": 1, "trackers": [], "device": "cpu"}
MODELS: dict[str, dict[str, Any]] = {
    "digits, convnet": {
        "task": "classification",
        "data": "digits",
        "model": {"kind": "convnet"},
        "fit": {**FIT, "optimizer": "adamw", "batch": 32, "steps": 50},
        "evaluate": {"baselines": []},
    },
    "digits, vit": {
        "task": "classification",
        "data": "digits",
        "model": {"kind": "vit", "width": 128, "layers": 8, "heads": 4, "patch": 4},
        "fit": {**FIT, "optimizer": "adamw", "batch": 64, "steps": 4},
        "evaluate": {"baselines": []},
    },
    "python, decoder": {
        "task": "language-modeling",
        "data": {
            "kind": "text",
            "files": ["stdlib:asyncio/*.py"],
            "context": 128,
            "tokenizer": {"kind": "bpe", "vocab": 1024},
        },
        "model": {"kind": "decoder", "width": 256, "layers": 6, "heads": 4, "kv_heads": 2},
        "fit": {**FIT, "optimizer": "adamw", "batch": 8, "steps": 4},
        "evaluate": {"baselines": [], "during": 64, "prompts": []},
    },
}
LARGE: dict[str, Any] = {  # a pass of it takes far longer than its request
    **MODELS["digits, vit"],
    "model": {"kind": "vit", "width": 256, "layers": 12, "heads": 8, "patch": 2},
}


@contextmanager
def serving(
    *words: str, threads: int | None = None
) -> Generator[tuple[int, subprocess.Popen[str]]]:
    """Inside, a server answers at a port; its numbers of threads are its own where None."""
    command = [sys.executable, *words]
    given = {"OMP_NUM_THREADS": str(threads)} if threads else {}
    environment = {**os.environ, **given}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            for line in process.stderr or ():
                if found := re.search(r"http://[^/]*:(\d+)/", line):
                    yield int(found[1]), process
                    break
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=20)


def plan_of(folder: Path, port: int, seconds: float) -> Plan:
    """What clients ask of a model."""
    asked = asking.of(opened(folder))
    return Plan(port=port, **asked.plan(), clients=1, seconds=seconds)


def p99(heard: Heard) -> float:
    ordered = sorted(heard.took)
    return 1000 * ordered[int(0.99 * len(ordered))] if ordered else float("inf")
