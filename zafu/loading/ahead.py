"""Reading ahead: so many requests are under way, and their batches come in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Protocol

from zafu.batch import Batch
from zafu.loading.contract import Batches, Request


class Promise(Protocol):
    """A batch that is being read."""

    def result(self) -> Batch:
        """Wait for it; raises what reading raised."""
        ...


def ahead(submit: Callable[[Request], Promise], requests: Iterator[Request], depth: int) -> Batches:
    """The batches of the requests in order, while `depth` more are being read."""
    waiting = deque(map(submit, islice(requests, depth)))
    while waiting:
        promise = waiting.popleft()
        waiting.extend(map(submit, islice(requests, 1)))
        yield promise.result()
