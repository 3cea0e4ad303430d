"""Work: a long computation in pieces that are done anywhere, each of them once.

A piece is done by a pure function into a folder of its own, which is renamed when it is whole; so
work that was killed goes on with the pieces that are missing. Which engine does the pieces, and how
many at once, changes nothing in them.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol, TypeVar, final

from zafu import plugins
from zafu.errors import Interrupted

P = TypeVar("P")
Job = tuple[P, Path]  # a piece, and the folder that it is done into
Do = Callable[[P, Path], None]
FEW = 3  # pieces that are done sooner than other processes would have started


class Engine(Protocol):
    """Does pieces somewhere."""

    def run(self, do: Do[P], jobs: Sequence[Job[P]]) -> Iterator[Path]:
        """Yields each job's folder as soon as it is whole; raises what `do` raises."""
        ...


@final
class Inline:
    """One piece after the other, in this process."""

    def run(self, do: Do[P], jobs: Sequence[Job[P]]) -> Iterator[Path]:
        """Yields each job's folder as soon as it is whole."""
        for piece, folder in jobs:
            yield whole(do, piece, folder)


@final
@dataclass(frozen=True)
class Pool:
    """Several pieces at a time, in processes of this machine."""

    workers: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    plugins: tuple[str, ...] = ()  # files that define what the pieces hold

    def run(self, do: Do[P], jobs: Sequence[Job[P]]) -> Iterator[Path]:
        """Yields each job's folder as soon as it is whole; few pieces are done in this process."""
        if len(jobs) <= FEW or self.workers == 1:
            yield from Inline().run(do, jobs)
            return
        pool = ProcessPoolExecutor(
            self.workers, get_context("spawn"), initializer=begin, initargs=(self.plugins,)
        )
        waiting: set[Future[Path]] = set()
        rest = iter(jobs)
        try:
            for piece, folder in rest:
                waiting.add(pool.submit(whole, do, piece, folder))
                if len(waiting) > 2 * self.workers:  # a process always finds the next piece
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@dataclass
class Work:
    """Where the pieces of one computation are kept until it is finished, and who does them."""

    folder: Path  # named by all that decides the pieces' bytes
    engine: Engine = field(default_factory=Inline)
    say: Callable[[str], None] = lambda _: None
    stopped: Callable[[], str] = lambda: ""  # the signal that asked to stop, if one has

    def map(self, name: str, do: Do[P], pieces: Sequence[P]) -> list[Path]:
        """A folder for each piece, in order, filled by `do(piece, folder)` now or before.

        `do` stands at the top of a module and depends on nothing but the piece. Raises
        Interrupted between two pieces after a signal; what is done then is kept.
        """
        folders = [self.folder / f"{name}-{index:05}" for index in range(len(pieces))]
        jobs = [(p, f) for p, f in zip(pieces, folders, strict=True) if not f.is_dir()]
        done = len(pieces) - len(jobs)
        if done and jobs:
            self.say(f"{name}: {done} of {len(pieces)} pieces were done before")
        self._unless_stopped(name, done, len(pieces))
        for _ in self.engine.run(do, jobs):
            done += 1
            self.say(f"{name}: {done} of {len(pieces)}")
            if done < len(pieces):
                self._unless_stopped(name, done, len(pieces))
        return folders

    def _unless_stopped(self, name: str, done: int, of: int) -> None:
        if signal := self.stopped():
            text = f"{signal}: {name}: {done} of {of} pieces are done and kept"
            raise Interrupted(f"{text}; run the same command again to go on")


def whole(do: Do[P], piece: P, folder: Path) -> Path:
    """Let `do` fill a folder that gets its name when it is filled."""
    part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        do(piece, part)
        try:
            part.rename(folder)
        except OSError:  # a process whose parent was killed did it meanwhile: the same bytes
            if not folder.is_dir():
                raise
            shutil.rmtree(part)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return folder


def begin(plugin_files: tuple[str, ...]) -> None:
    """In a new process of a pool, before libraries are loaded: it has one thread for itself."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    os.environ |= {"POLARS_MAX_THREADS": "1", "RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    plugins.load(map(Path, plugin_files))


def _end_with(parent: int) -> None:
    """End this process soon after its parent, which may have been killed without a word."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
