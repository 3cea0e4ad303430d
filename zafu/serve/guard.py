"""The guard before all routes: who may ask, how long it may take, and what errors become.

Closed by default: the Host must be one of ours (a page of another name that was made to lead here
has another: DNS rebinding), a browser's request must come from our own page, and where there is a
token every route asks for it, compared in constant time. No answer shows a trace.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from time import perf_counter
from typing import final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zafu.errors import ZafuError
from zafu.serve import refusal
from zafu.serve.limits import Limits
from zafu.serve.metrics import Metrics
from zafu.serve.refusal import Rejected

LINGER = 1.0  # seconds for which the rest of a refused body is passed over
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def header(scope: Scope, name: bytes) -> str | None:
    """A header's value; None where it is absent, or there twice."""
    found = [value for key, value in scope["headers"] if key == name]
    return found[0].decode("latin-1") if len(found) == 1 else None


@final
class Guard:
    """An ASGI application before another one."""

    def __init__(
        self,
        app: ASGIApp,
        hosts: Iterable[str],
        *,
        token: str | None,
        limits: Limits,
        metrics: Metrics,
    ) -> None:
        self._app, self._hosts, self._limits = app, frozenset(hosts), limits
        self._token = token.encode() if token else None
        self._metrics = metrics
        self.closing = False  # whether each answer ends its connection
        self.admits: Mapping[str, Callable[[], None]] = {}  # by path: raises where it is too full

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, whatever the application does."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        begun, started = perf_counter(), Started(send, lambda: self.closing)
        self._metrics.add("open_requests")
        try:
            await self._answered(scope, receive, started)
        finally:
            self._metrics.add("open_requests", -1)
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.add("requests_total", route=route, status=str(started.status))
            self._metrics.see("request_seconds", perf_counter() - begun, route=route)

    async def _answered(self, scope: Scope, receive: Receive, send: Started) -> None:
        try:
            self._admit(scope)
            if admit := self.admits.get(scope["path"]):
                admit()
            async with asyncio.timeout(self._limits.seconds):
                await self._app(scope, receive, send)
            return
        except Rejected as error:
            found = error
        except ZafuError as error:
            found = refusal.of(error)
        except TimeoutError:
            found = Rejected(504, f"expected an answer within {self._limits.seconds:g} seconds")
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  (panics of native code are no Exceptions)
            log(error)
            found = refusal.OURS
        if send.done:
            return  # the application had answered, and then raised
        if send.status:
            raise Ended  # in the midst of an answer: the connection is cut
        await reject(found, receive, send)

    def _admit(self, scope: Scope) -> None:
        """Raises Rejected for a request that may not ask."""
        host = header(scope, b"host") or ""
        if _name(host) not in self._hosts:
            raise Rejected(421, "host: expected a name under which this server is known")
        origins = [value for key, value in scope["headers"] if key == b"origin"]
        if any(urlsplit(o.decode("latin-1")).netloc.lower() != host.lower() for o in origins):
            raise Rejected(403, "origin: expected this server's own page")
        if header(scope, b"sec-fetch-site") in ("cross-site", "same-site"):
            raise Rejected(403, "expected a request of this server's own page")
        if self._token and not self._known(header(scope, b"authorization") or ""):
            raise Rejected(401, "expected the header 'Authorization: Bearer TOKEN'")

    def _known(self, given: str) -> bool:
        """Whether a header shows the token: as a bearer, or as a password beside any name."""
        scheme, _, value = given.partition(" ")
        shown = value.strip().encode("latin-1")
        if scheme.lower() == "basic":
            try:
                shown = base64.b64decode(shown, validate=True).partition(b":")[2]
            except (binascii.Error, ValueError):
                return False
        elif scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(shown, self._token or b"")


class Ended(Exception):
    """An answer that had begun cannot be carried to its end."""


@final
class Started:
    """Sends what an application answers, and knows whether it began."""

    def __init__(self, send: Send, closing: Callable[[], bool]) -> None:
        self._send, self._closing = send, closing
        self.status, self.done = 0, False

    async def __call__(self, message: Message) -> None:
        """Pass a message on; the first one with what stands above every answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            more = [*HEADERS, (b"content-security-policy", POLICY.encode())]
            if self._closing():
                more.append((b"connection", b"close"))
            message["headers"] = [*message.get("headers", []), *more]
        elif not message.get("more_body"):
            self.done = True
        await self._send(message)


async def reject(found: Rejected, receive: Receive, send: Send) -> None:
    """Answer with a refusal; then the rest of the body is passed over for a while."""
    body = found.body()
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        **found.headers(),
    }
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": found.status, "headers": pairs})
    lingers = found.status == 413
    await send({"type": "http.response.body", "body": body, "more_body": lingers})
    if lingers:
        await _passed_over(receive)
        await send({"type": "http.response.body", "body": b""})


async def _passed_over(receive: Receive) -> None:
    try:
        async with asyncio.timeout(LINGER):
            while (await receive()).get("more_body"):
                pass
    except TimeoutError:
        pass


def log(error: BaseException) -> None:
    """Say where an error of our own arose, and none of the values that it speaks of."""
    frames = traceback.extract_tb(error.__traceback__)
    print(f"zafu serve: {type(error).__name__}", file=sys.stderr)
    for frame in frames[-8:]:
        print(f"  {frame.filename}:{frame.lineno} in {frame.name}", file=sys.stderr, flush=True)


def _name(host: str) -> str:
    """A Host header without its port."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower().strip("[]")
