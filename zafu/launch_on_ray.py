"""Launch on Ray: the processes of a layout as Ray actors, each of which runs one command.

Moritz et al., 2018 (arXiv:1712.05889). An actor holds its share of a machine while the command
runs as a process of its own, with the environment that torch's elastic launcher would set; so
what is run knows nothing of Ray. Used as `python -m zafu.launch_on_ray`; see `zafu launch ray`.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zafu.errors import MissingExtra
from zafu.signals import Stop, stoppable

BESIDE = "ZAFU_BESIDE"  # how many processes a machine has, as LOCAL_WORLD_SIZE is always 1
GRACE = 60.0  # seconds that the others have to end after one process has failed
LONGEST_SAVE = 600.0  # the same after a signal


@dataclass(frozen=True)
class Share:
    """What each process gets."""

    gpus: float = 0  # of its machine
    cpus: float = 1
    folder: str | None = None  # where it is run; every machine must see it


class Process:
    """One process of a command, on the machine of the actor that holds this."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def place(self) -> tuple[str, int]:
        """This machine's address, and a port that is free now."""
        import ray  # pyright: ignore[reportMissingImports]

        with socket.socket() as found:
            found.bind(("", 0))
            return ray.util.get_node_ip_address(), found.getsockname()[1]

    def start(self, words: list[str], told: dict[str, str], folder: str | None) -> None:
        """Start the command, with more in its environment."""
        environment = {**os.environ, **told, "ZAFU_LAUNCHER": str(os.getpid())}
        self._process = subprocess.Popen(words, env=environment, cwd=folder)

    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll() if self._process else None

    def send(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(number)


def run(words: Sequence[str], processes: int, share: Share = Share()) -> int:
    """Run a command as so many processes of a cluster; the first exit code that is not 0, else 0.

    A local cluster is started if there is none. SIGINT, SIGTERM and SIGUSR1 are passed on.
    """
    try:
        import ray  # pyright: ignore[reportMissingImports]
        from ray.util.scheduling_strategies import (  # pyright: ignore[reportMissingImports]
            PlacementGroupSchedulingStrategy,
        )
    except ImportError:
        raise MissingExtra("ray", "ray") from None
    if started := not ray.is_initialized():
        ray.init(include_dashboard=False, logging_level=logging.ERROR)
    bundle = {"CPU": share.cpus, **({"GPU": share.gpus} if share.gpus else {})}
    group = ray.util.placement_group([bundle] * processes, strategy="PACK")
    try:
        ray.get(group.ready())
        strategy = PlacementGroupSchedulingStrategy(group)
        make = ray.remote(Process).options(
            num_cpus=share.cpus, num_gpus=share.gpus, scheduling_strategy=strategy
        )
        return _carried(ray, [make.remote() for _ in range(processes)], list(words), share)
    finally:
        ray.util.remove_placement_group(group)
        if started:
            ray.shutdown()


def _carried(ray: Any, actors: list[Any], words: list[str], share: Share) -> int:
    places = ray.get([actor.place.remote() for actor in actors])
    order = sorted(range(len(actors)), key=lambda i: (places[i][0], i))  # a machine's are in a row
    actors, (address, port) = [actors[i] for i in order], places[order[0]]
    common = {"WORLD_SIZE": str(len(actors)), "MASTER_ADDR": address, "MASTER_PORT": str(port)}
    alone = {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}  # Ray shows a process its own GPU alone
    beside = Counter(machine for machine, _ in places)
    told = [
        {**common, **alone, "RANK": str(rank), BESIDE: str(beside[places[i][0]])}
        for rank, i in enumerate(order)
    ]
    ray.get(
        [
            actor.start.remote(words, own, share.folder)
            for actor, own in zip(actors, told, strict=True)
        ]
    )
    with stoppable() as stop:
        codes = _ended(ray, actors, stop)
    return next((code if code > 0 else 128 - code for code in codes if code), 0)


def _ended(ray: Any, actors: list[Any], stop: Stop) -> list[int | None]:
    """The exit codes by rank, when all have ended or, after one has failed, time is up."""
    asked, until = False, float("inf")
    while True:
        codes: list[int | None] = ray.get([actor.code.remote() for actor in actors])
        if None not in codes:
            return codes
        if time.monotonic() > until:
            ray.get([actor.send.remote(signal.SIGKILL.value) for actor in actors])
            return codes
        if stop and not asked:
            asked, number = True, signal.Signals[stop.signal].value
            ray.get([actor.send.remote(number) for actor in actors])
        if any(codes) and until == float("inf"):
            until = time.monotonic() + (LONGEST_SAVE if asked else GRACE)
        time.sleep(0.2)


def main() -> int:
    """Run what the process's arguments name."""
    parser = argparse.ArgumentParser(prog="python -m zafu.launch_on_ray", allow_abbrev=False)
    parser.add_argument("--processes", type=int, required=True)
    parser.add_argument("--gpus", type=float, default=0, help="of each process")
    parser.add_argument("--cpus", type=float, default=1, help="of each process")
    parser.add_argument("--folder", help="where each process is run; every machine must see it")
    parser.add_argument("words", nargs="+", metavar="COMMAND")
    found = parser.parse_args()
    return run(found.words, found.processes, Share(found.gpus, found.cpus, found.folder))


if __name__ == "__main__":
    sys.exit(main())
