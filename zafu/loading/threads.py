"""Threads: batches are read by threads of this process while the model computes.

For reading that leaves Python's lock to others: copying large arrays, decoding, waiting for disks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Literal, final

from pydantic import Field

from zafu.errors import Fault
from zafu.loading.ahead import ahead
from zafu.loading.contract import Batches, Loader, Request, Say, Source


@final
class Threads(Loader):
    """Read in threads of this process."""

    kind: Literal["threads"] = "threads"
    workers: int = Field(default=2, ge=1, le=64)
    """Threads, 1 to 64."""
    depth: int = Field(default=4, ge=1, le=1024)
    """Batches that are read ahead, as many as workers or more, 1 to 1024."""

    def check(self) -> Iterable[Fault]:
        """Each thread has something to do."""
        yield from idle(self.workers, self.depth)

    def batches(self, source: Source, requests: Iterator[Request], say: Say) -> Batches:
        """Batches in the order of the requests, read by whichever thread is free."""
        pool = ThreadPoolExecutor(self.workers, "zafu-reader")
        try:
            yield from ahead(partial(pool.submit, source.read), requests, self.depth)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def idle(workers: int, depth: int) -> Iterable[Fault]:
    """The fault of workers for whom there would never be a batch to read."""
    if depth < workers:
        yield Fault("depth", f"a number >= {workers}, the workers", str(depth))
