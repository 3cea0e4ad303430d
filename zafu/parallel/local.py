"""Local: starts the processes of a layout on this machine, and ends them together.

The command of each is the user's own, with the environment that torch's elastic launcher would set;
so under `torchrun`, Slurm or Kubernetes the same command runs without this file.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from zafu.errors import LostRank, Refused
from zafu.recipe import Recipe

GRACE = 4.5  # seconds that processes have to end after one of them has failed
LONGEST_SAVE = 600.0  # seconds that they have after a signal
RESTARTS = 3  # after a process was killed, from the newest checkpoint
INTERRUPTED = 75
_PDEATHSIG = 1  # of prctl(2)


def launched() -> bool:
    """Whether a launcher has started this process as one of several."""
    return "RANK" in os.environ


def followers() -> bool:
    """Whether this process is one that leaves records and words to the first rank."""
    return os.environ.get("RANK", "0") != "0"


def elastic(recipe: Recipe) -> Recipe:
    """The recipe with as many replicas as the launcher's processes allow; the rest is as it was.

    Raises Refused without a launcher, or for a number of processes that the other degrees do not
    divide, and RecipeError if the recipe cannot have so many replicas.
    """
    started, layout = int(os.environ.get("WORLD_SIZE", "0")), recipe.layout
    others = layout.world // layout.data
    if not started:
        raise Refused("--elastic: expected a launcher such as torchrun; else set layout.data")
    if started % others:
        expected = f"a multiple of {others} processes, which one replica takes"
        raise Refused(f"--elastic: expected {expected}; the launcher started {started}")
    return recipe.at("layout.data", started // others)


def end_with_launcher() -> None:
    """Let the kernel end this process when the one that started it ends, however it does.

    torch's elastic launcher leaves its processes alive where it is killed itself.
    """
    ours = os.environ.get("ZAFU_LAUNCHER") == str(os.getppid())
    if sys.platform == "linux" and (ours or "TORCHELASTIC_RUN_ID" in os.environ):
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)


def run(
    world: int,
    words: Sequence[str],
    *,
    logs: Path,
    restarts: int = RESTARTS,
    result: bool = True,
) -> int:
    """Run `zafu WORDS` as so many processes; the exit code of the first that failed, else 0.

    Ranks but the first write to `logs`; what the first prints as its result is not shown without
    `result`. A process that a signal killed starts all anew, a few times, and so does one that has
    lost another; they go on from the newest checkpoint.
    """
    logs.mkdir(parents=True, exist_ok=True)
    rank, code = 0, 0
    for attempt in range(restarts + 1):
        with _Processes(world, words, logs, result=result) as processes:
            rank, code = processes.wait()
        lost = code < 0 or code == LostRank.exit_code
        if not lost or processes.asked or attempt == restarts:
            break
        if rank > 0 and code > 0:  # as where the first rank is frozen
            _show(logs / f"{rank}.log", rank)
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else "has lost another"
        print(f"zafu: rank {rank} {how}: all start again", file=sys.stderr)
    if rank > 0 and code not in (0, INTERRUPTED):
        _show(logs / f"{rank}.log", rank)
    return code if code >= 0 else LostRank.exit_code


class _Processes:
    def __init__(self, world: int, words: Sequence[str], logs: Path, *, result: bool) -> None:
        self.asked = False  # whether the user wants an end
        port = _free_port()
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        threads = max(1, len(os.sched_getaffinity(0)) // world)
        for rank in range(world):
            environment = {
                **os.environ,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(world),
                "LOCAL_WORLD_SIZE": str(world),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
                "ZAFU_LAUNCHER": str(os.getpid()),
            }
            log = (logs / f"{rank}.log").open("wb") if rank else None
            self._running[rank] = subprocess.Popen(
                [sys.executable, "-m", "zafu", *words],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log if result or log else subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,  # Ctrl-C comes to us alone, and we pass it on
            )
            if log:
                log.close()

    def __enter__(self) -> _Processes:
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
        self._before = {number: signal.signal(number, self._pass_on) for number in signals}
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def wait(self) -> tuple[int, int]:
        """The rank that failed first and its exit code; 0 and 0 if all went well."""
        failed = (0, 0)
        until = float("inf")
        while self._running and time.monotonic() < until:
            for rank, process in list(self._running.items()):
                if (code := process.poll()) is None:
                    continue
                del self._running[rank]
                if code and not failed[1]:
                    failed = (rank, code)
                    until = time.monotonic() + (LONGEST_SAVE if self.asked else GRACE)
            time.sleep(0.05)
        return failed

    def _pass_on(self, number: int, _: FrameType | None) -> None:
        self.asked = True
        for process in self._running.values():
            process.send_signal(number)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _show(log: Path, rank: int) -> None:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    for line in lines[-20:]:
        print(f"rank {rank}: {line}", file=sys.stderr)
