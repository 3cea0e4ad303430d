"""Watch: notices a process of a layout that is lost or frozen, and ends the others with its name.

Each process has a thread that tells a store every half second that it lives, as failure detectors
by heart-beat do (Aguilera et al., 1997, doi:10.1007/BFb0030680). A stopped or dead process stays
silent; one that only takes long (a save, a compilation, an evaluation) does not, and is left to the
limit on collective operations. The first rank listens to all, the others to it.

A torch store on a frozen machine blocks its clients for ever, so one thread speaks with the store,
and another one judges by the clock alone.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store

from zafu.errors import Interrupted, LostRank

BEAT = 0.5  # seconds
FROZEN = 20.0  # seconds of silence after which a process counts as frozen
LOST = 2.0  # the same where a connection has broken already
UNDECIDED = 4.0  # seconds after which an end is announced even if nobody is silent
BROKEN = ("Connection closed by peer", "Connection reset", "Broken pipe", "Timed out waiting")
NEXT = "the same command goes on from the newest checkpoint"


@dataclass
class Heard:
    """What was last heard of a rank, and when that changed."""

    beat: int = -1
    word: str = ""  # why it leaves; "": it does not
    verdict: str = ""
    at: float = 0.0  # of this process's clock


class Watch:
    """One process's eye on the others; `watching` starts and ends it."""

    def __init__(self, store: Store, rank: int, world: int, log: Path) -> None:
        """`log` gets the stacks of all threads, and the traceback of a broken connection."""
        self.rank, self.world, self.log = rank, world, log
        self.ended: Callable[[str], None] = lambda _: None  # called before this process is ended
        self._store, self._aside = (PrefixStore("watch", store.clone()) for _ in range(2))  # pyright: ignore[reportAttributeAccessIssue]
        self._others = [*range(1, world)] if rank == 0 else [0]
        self._heard = {other: Heard(at=time.monotonic()) for other in self._others}
        self._beat, self._word, self._verdict = 0, "", ""
        self._broken = 0.0  # when it was first known that somebody is gone
        self._left, self._decided = threading.Event(), threading.Event()
        self._waiting = False  # whether the main thread waits for the verdict
        self._say(self._store)
        self._threads = [
            threading.Thread(target=work, daemon=True, name=f"watch {work.__name__}")
            for work in (self._speak, self._judge)
        ]
        for thread in self._threads:
            thread.start()

    def leave(self, word: str) -> None:
        """Judge nobody any more; the others are told why this rank goes."""
        self._left.set()
        self._word = word or "done"
        with suppress(dist.DistError):
            self._say(self._aside)  # the other connection may be blocked

    def close(self) -> None:
        """Wait for the threads, once it has left: one in the store when Python ends would abort."""
        for thread in self._threads:
            thread.join(LOST)  # longer where the store's process is frozen

    def why(self) -> str:
        """Which rank was lost, after a connection has broken here; known after some seconds."""
        self._waiting, self._word = True, "a connection broke"
        self._decided.wait(2 * UNDECIDED)
        self._left.set()
        time.sleep(2 * BEAT if self.rank == 0 and self.world > 2 else 0)  # the others hear it
        return self._verdict or f"a connection to another process broke; {NEXT}"

    def _say(self, store: Store) -> None:
        self._beat += 1
        said = {"beat": self._beat, "word": self._word, "verdict": self._verdict}
        store.set(str(self.rank), json.dumps(said))

    def _speak(self) -> None:
        while True:
            try:
                self._say(self._store)
                if self._left.is_set():
                    return
                said = self._store.multi_get([str(other) for other in self._others])
            except dist.DistError:
                self._broken = self._broken or time.monotonic()  # the store went with its process
                return
            for other, text in zip(self._others, said, strict=True):
                self._hear(self._heard[other], json.loads(text))
            self._left.wait(BEAT)

    def _hear(self, heard: Heard, said: dict[str, Any]) -> None:
        if said["beat"] != heard.beat:
            heard.beat, heard.word, heard.verdict = said["beat"], said["word"], said["verdict"]
            heard.at = time.monotonic()

    def _judge(self) -> None:
        last = time.monotonic()
        while not self._left.wait(BEAT):
            now = time.monotonic()
            if now - last > 2 * LOST:  # this process itself was stopped, and so were others perhaps
                for heard in self._heard.values():
                    heard.at = now
            last = now
            if verdict := self._found(now):
                self._verdict = verdict
                self._decided.set()
                if not self._waiting:
                    self._end()
                return

    def _found(self, now: float) -> str:
        """What is wrong, "" as long as nothing is."""
        if told := next((h.verdict for h in self._heard.values() if h.verdict), ""):
            return told
        words = {other: h.word for other, h in self._heard.items() if h.word not in ("", "done")}
        if (words or self._word) and not self._broken:
            self._broken = now
        limit = LOST if self._broken else FROZEN
        silent = [o for o, h in self._heard.items() if not h.word and now - h.at > limit]
        if silent:
            what = "lost: a connection broke and" if self._broken else "frozen:"
            seconds = min(now - self._heard[other].at for other in silent)
            return f"{_named(silent)} {what} nothing was heard for {seconds:.0f} s; {NEXT}"
        own = {other: word for other, word in words.items() if word != "a connection broke"}
        if self._broken and self.rank == 0 and now - self._broken > (LOST if own else UNDECIDED):
            if own:
                return "; ".join(f"rank {other} failed: {word}" for other, word in own.items())
            return f"a connection between processes broke, but all of them answer; {NEXT}"
        return ""

    def _end(self) -> None:
        """End this process, whose main thread waits for what will never come."""
        with suppress(OSError), _appended(self.log) as file:
            print(f"{time.strftime('%H:%M:%S')} rank {self.rank}: {self._verdict}", file=file)
            file.flush()
            faulthandler.dump_traceback(file, all_threads=True)
        if self.rank == min(self._speakers()):
            where = f"stacks of the others: {self.log.parent}/*{self.log.suffix}"
            print(f"zafu: {self._verdict}; {where}", file=sys.stderr, flush=True)
        self.ended(self._verdict)
        if self.rank == 0:
            with suppress(dist.DistError):
                self._say(self._aside)
            time.sleep(3 * BEAT)  # the others hear it, of a store that may live in this process
        os._exit(LostRank.exit_code)

    def _speakers(self) -> list[int]:
        return [0] if self.rank == 0 or self._heard[0].verdict else [*range(1, self.world)]


@contextmanager
def watching(store: Store, rank: int, world: int, log: Path) -> Generator[Watch]:
    """Inside, ranks watch each other; a broken connection becomes a LostRank that names one."""
    log.parent.mkdir(parents=True, exist_ok=True)
    watch = Watch(store, rank, world, log)
    try:
        yield watch
        watch.leave("")
    except Interrupted:  # all were, and have left together
        raise
    except BaseException as error:  # the others hear of any
        if not _broken(error):
            watch.leave(f"{type(error).__name__}: {error}"[:300])
            raise
        with suppress(OSError), _appended(log) as file:
            traceback.print_exception(error, file=file)
        raise LostRank(f"{watch.why()}; traceback: {log}") from error
    finally:
        watch.close()


def _broken(error: BaseException) -> bool:
    """Whether this is how a collective operation ends when another process is gone."""
    gone = isinstance(error, (dist.DistNetworkError, dist.DistBackendError))
    return gone or (isinstance(error, RuntimeError) and any(t in str(error) for t in BROKEN))


@contextmanager
def _appended(log: Path) -> Generator[Any]:
    with log.open("a", encoding="utf-8") as file:
        yield file


def _named(ranks: list[int]) -> str:
    many = ", ".join(map(str, ranks[:8])) + (" …" if len(ranks) > 8 else "")
    return f"rank{'s' if len(ranks) > 1 else ''} {many} {'are' if len(ranks) > 1 else 'is'}"
