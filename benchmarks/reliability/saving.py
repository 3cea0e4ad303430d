"""How long training stands still for a save that is written beside it, against one it waits for.

    python benchmarks/reliability/saving.py --sizes 10 100 1000 --write

For each size of state (weights and AdamW's two moments), in turns and in the same process: a save
that training waits for; one that is written beside training; and torch's distributed checkpoint,
saved and `async_save`d. Training goes on in between: what it loses to the writing is measured too.
A ratio is taken within a round, where a busy machine slows both sides; and of the processor seconds
of the training thread, which others on the machine do not lengthen.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from kill import machine
from torch import nn
from torch.distributed.checkpoint import state_dict_saver as dcp

from zafu import checkpoint
from zafu.checkpoint import State
from zafu.loop import Progress
from zafu.optim.adamw import AdamW
from zafu.optim.runtime.update import Update
from zafu.optim.schedules import Constant
from zafu.saving import Saving

HERE = Path(__file__).parent
WIDTH = 512
SECONDS = 150.0  # after which no new round is begun


class Trial:
    """A small training with a state of so many megabytes, which saves in four ways."""

    def __init__(self, megabytes: int, folder: Path) -> None:
        layers = max(1, round(megabytes * 1e6 / 12 / (WIDTH * WIDTH + WIDTH)))
        self.model = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(layers)))
        self.update = Update(self.model, optimizer=AdamW(), schedule=Constant(), seed=0)
        self.inputs, self.folder, self.count = torch.randn(8, WIDTH), folder, 0
        self.saving = Saving()
        self.step()

    def step(self) -> None:
        """One step of training."""
        self.model(self.inputs).square().mean().backward()
        self.update.gradients(self.count)
        self.update.step(self.count, 0.0)
        self.count += 1

    def moment(self) -> checkpoint.Moment:
        """What is to be saved now."""
        state = State(progress=Progress(step=self.count))
        return checkpoint.moment(self.model, self.update, state)

    def waited_for(self) -> Callable[[], bool]:
        """A save that training waits for."""
        checkpoint.publish(self.folder, self.moment(), self.saving.world)
        return lambda: True

    def beside(self) -> Callable[[], bool]:
        """A save that is written beside training, as `saves.save` begins it."""
        moment = self.moment()
        count, boxes = len(moment.weights), [*moment.weights, *moment.others]
        assert self.saving.fits(boxes)
        copies = self.saving.copied(boxes)
        moment = moment._replace(weights=copies[:count], others=copies[count:])

        def write() -> None:
            checkpoint.publish(self.folder, moment, self.saving.world)

        self.saving.begin(self.count, write, stood=0.0, waited=0.0)

        def over() -> bool:
            if not self.saving.written:
                return False
            if error := self.saving.end():
                raise error
            return True

        return over

    def state(self) -> dict[str, Any]:
        """The same for torch."""
        return {"model": self.model.state_dict(), "update": self.update.tensors()}

    def torch_waited_for(self) -> Callable[[], bool]:
        """Torch's own, without digests; its files may be in the kernel's memory only."""
        dcp.save(self.state(), checkpoint_id=self.folder / f"dcp-{self.count}")
        return lambda: True

    def torch_beside(self) -> Callable[[], bool]:
        """Torch's own, written by a thread."""
        future = dcp.async_save(self.state(), checkpoint_id=self.folder / f"dcp-{self.count}")
        return future.done  # pyright: ignore[reportAttributeAccessIssue]


WAYS = {
    "waited for": Trial.waited_for,
    "beside": Trial.beside,
    "torch, waited for": Trial.torch_waited_for,
    "torch, beside": Trial.torch_beside,
}


def measured(megabytes: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Seconds of each way and round, and their ratios within a round."""
    trial, begun = Trial(megabytes, folder), time.perf_counter()
    rows: list[dict[str, dict[str, float]]] = []
    while len(rows) <= rounds and (len(rows) < 4 or time.perf_counter() - begun < SECONDS):
        rows.append({name: once(trial, way) for name, way in WAYS.items()})
    first, *rows = rows  # in which memory for copies is taken
    ratios = {
        "stall, of a save waited for, processor seconds": [
            r["beside"]["processor"] / r["waited for"]["processor"] for r in rows
        ],
        "stall, of a save waited for": [_over(r, "beside", "waited for") for r in rows],
        "torch's stall, of torch's save": [
            _over(r, "torch, beside", "torch, waited for") for r in rows
        ],
        "torch's stall, of our save waited for": [
            _over(r, "torch, beside", "waited for") for r in rows
        ],
        "stall and slower steps, of a save waited for": [
            (r["beside"]["stall"] + r["beside"]["slower"]) / r["waited for"]["stall"] for r in rows
        ],
    }
    return {
        "megabytes": megabytes,
        "rounds": len(rows),
        "first_stall_seconds": round(first["beside"]["stall"], 4),
        "seconds": {
            f"{name}: {what}": spread([r[name][what] for r in rows])
            for name in WAYS
            for what in ("stall", "processor", "behind", "slower")
            if what in ("stall", "processor") or "beside" in name
        },
        "ratios": {name: spread(values) for name, values in ratios.items()},
    }


def once(trial: Trial, way: Callable[[Trial], Callable[[], bool]]) -> dict[str, float]:
    """One save: seconds of standing still, of writing behind, and lost by slower steps."""
    alone = [timed(trial.step) for _ in range(5)]
    begun, computed = time.perf_counter(), time.thread_time()
    over = way(trial)
    stall, processor = time.perf_counter() - begun, time.thread_time() - computed
    beside: list[float] = []
    while not over():
        beside.append(timed(trial.step))
    behind = time.perf_counter() - begun - stall
    for old in trial.folder.iterdir():
        shutil.rmtree(old)
    slower = sum(beside) - len(beside) * statistics.median(alone)
    return {"stall": stall, "processor": processor, "behind": behind, "slower": slower}


def timed(work: Callable[[], object]) -> float:
    """The seconds that this takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def spread(values: list[float]) -> dict[str, float]:
    """The median and both ends."""
    named = {"median": statistics.median(values), "least": min(values), "most": max(values)}
    return {name: round(value, 4) for name, value in named.items()}


def _over(row: dict[str, dict[str, float]], a: str, b: str) -> float:
    return row[a]["stall"] / row[b]["stall"]


def main() -> int:
    """Measure, print, and write `saving.json` on request."""
    parser = argparse.ArgumentParser(description="How long training stands still for a save.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 100, 1000], help="megabytes")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--write", action="store_true", help="write saving.json")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    busy = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        store = f"file://{folder}/store"
        dist.init_process_group("gloo", init_method=store, rank=0, world_size=1)
        saves, found = Path(folder) / "saves", list[dict[str, Any]]()
        saves.mkdir()
        for size in chosen.sizes:
            found.append(measured(size, chosen.rounds, saves))
            print(
                f"{size} MB, {found[-1]['rounds']} rounds; first {found[-1]['first_stall_seconds']}"
            )
            for part in ("seconds", "ratios"):
                for name, value in found[-1][part].items():
                    low, high = value["least"], value["most"]
                    print(f"  {name:46}{value['median']:9.4f}  ({low:.4f} to {high:.4f})")
        dist.destroy_process_group()
    if chosen.write:
        words = f"saving.py --sizes {' '.join(map(str, chosen.sizes))} --rounds {chosen.rounds}"
        shared = {"load_before": round(busy, 1), "load_after": round(os.getloadavg()[0], 1)}
        results = {"command": words, "sizes": found, "machine": {**machine(), **shared}}
        (HERE / "saving.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
