"""Explaining over HTTP: what speaks for one answer, computed beside the queue of answers.

An explanation takes as long as hundreds of answers: one is computed at a time, and few wait.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, final

from torch import Tensor

from zafu.deploy.bundle import Bundle
from zafu.explain.live import explanation
from zafu.serve.refusal import full

WAITING = 4  # explanations at most, with the one that is computed


@final
class Explaining:
    """A thread that explains; used from one event loop."""

    def __init__(self, bundle: Bundle) -> None:
        self._explain = partial(explanation, bundle)
        self._thread = ThreadPoolExecutor(1, "explain")
        self._waiting = 0

    def admit(self) -> None:
        """Raises Rejected where too many explanations wait."""
        if self._waiting >= WAITING:
            raise full()

    async def of(self, inputs: tuple[Tensor, ...]) -> dict[str, Any]:
        """What speaks for the likeliest answer to one encoded sample, `(1, ...)` each."""
        self.admit()
        loop = asyncio.get_running_loop()
        self._waiting += 1
        work = loop.run_in_executor(self._thread, lambda: self._explain(*inputs))
        work.add_done_callback(self._done)  # also of one whose client has gone
        return await asyncio.shield(work)

    def _done(self, work: asyncio.Future[Any]) -> None:
        self._waiting -= 1
        if not work.cancelled():
            work.exception()
