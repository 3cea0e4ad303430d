"""Events of a server: a response whose pieces are sent as they come (WHATWG, server-sent events).

When the client goes away, or the server gives up, the source of the pieces is closed at once.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from zafu.serve.client import unless_gone

DONE = b"data: [DONE]\n\n"


@final
class Events(Response):
    """A response of JSON events."""

    def __init__(
        self, source: AsyncGenerator[dict[str, Any], None], ended: Callable[[], None]
    ) -> None:
        fresh = {"cache-control": "no-store"}
        super().__init__(None, media_type="text/event-stream", headers=fresh)
        del self.headers["content-length"]
        self._source, self._ended = source, ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all events, and their end."""
        try:
            await unless_gone(receive, self._sent(send))
        finally:
            self._ended()  # also where nothing of the source was asked for

    async def _sent(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with aclosing(self._source) as source:
            async for event in source:
                line = b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n"
                await send({"type": "http.response.body", "body": line, "more_body": True})
        await send({"type": "http.response.body", "body": DONE})
