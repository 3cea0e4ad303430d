"""Processes: batches are read by other processes, for reading that holds Python's lock.

Each is a fresh interpreter that opens the prepared data by itself. It hands batches over in slots
of shared memory that are used again and again; between processes go a few bytes of JSON. Slots have
no name in any file system, so that nothing is left of them whoever is killed; a reader ends when
the process that started it is gone, however that ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import cycle
from typing import Literal, final

from pydantic import Field

from zafu.errors import Fault, Refused
from zafu.loading.ahead import Promise, ahead
from zafu.loading.contract import Batches, Loader, Request, Say, Source
from zafu.loading.threads import Threads, idle


@final
class Processes(Loader):
    """Read in processes of their own."""

    kind: Literal["processes"] = "processes"
    workers: int = Field(default=2, ge=1, le=64)
    """Processes, 1 to 64."""
    depth: int = Field(default=4, ge=1, le=1024)
    """Batches that are read ahead, as many as workers or more, 1 to 1024."""

    def check(self) -> Iterable[Fault]:
        """Each process has something to do."""
        yield from idle(self.workers, self.depth)

    def batches(self, source: Source, requests: Iterator[Request], say: Say) -> Batches:
        """Batches in the order of the requests, which the processes take in turn."""
        from zafu.loading.runtime.reader import Reader

        if source.remote is None:
            raise Refused("fit.loader: expected data that other processes can open; use threads")
        slots = -(-self.depth // self.workers) + 2  # one is handed out, one is about to be
        readers = [Reader(source.remote, slots) for _ in range(self.workers)]
        turns = cycle(readers)

        def submit(request: Request) -> Promise:
            return next(turns).submit(request)

        try:
            yield from ahead(submit, requests, self.depth)
        finally:
            for reader in readers:
                reader.end()

    def nearby(self) -> Threads:
        """As many threads: a few batches are read before processes have started."""
        return Threads(workers=self.workers, depth=self.depth)
