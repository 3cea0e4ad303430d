"""Some processes that run the same script, and what each of them says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any


def said(script: str, world: int) -> list[Any]:
    """What the ranks of `script RANK WORLD FOLDER`, each on a thread of its own, have told."""
    with tempfile.TemporaryDirectory() as name:
        children = [
            subprocess.Popen(
                [sys.executable, script, str(rank), str(world), name],
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
            for rank in range(world)
        ]
        codes = [child.wait() for child in children]
        if any(codes):
            raise SystemExit(f"{Path(script).name}: a process of {world} failed")
        return [json.loads((Path(name) / f"{rank}.json").read_text()) for rank in range(world)]


def tell(cases: Callable[[int], Sequence[Any]], one: Callable[[Any, int], Any]) -> None:
    """Be a rank: do each case of a world in a group of its own, and tell what was found."""
    rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    found: list[Any] = []
    for number, case in enumerate(cases(world)):
        store = f"file://{folder}/store-{number}"
        dist.init_process_group(
            "gloo", init_method=store, rank=rank, world_size=world, timeout=timedelta(minutes=5)
        )
        found.append(one(case, rank))
        dist.destroy_process_group()
    (folder / f"{rank}.json").write_text(json.dumps(found))
