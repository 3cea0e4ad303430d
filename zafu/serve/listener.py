"""The listener: HTTP by uvicorn, with a time limit for headers; signals, and an end in order.

uvicorn waits for headers for ever and takes any number of their bytes; here a connection whose
request is not there in time, or too large, is closed (as against Slowloris). It runs in a thread,
so that signals are ours: the first one lets what was accepted finish, a second one ends at once.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from zafu.errors import Refused
from zafu.serve.limits import Limits
from zafu.signals import stoppable

LAME = 0.5  # seconds in which connections are still taken, each for one more answer
LAST = 0.2  # seconds in which those that wait to be taken get theirs, and new ones do not
BACKLOG = 2048
SWITCH = 0.0005  # seconds after which a thread lets go of Python's lock: a model's pass takes it
# for each of its operations, and behind the event loop waits as long as that holds it (0.005 in
# Python: less than half of the answers)
TICK = 0.05  # seconds between two looks for a signal


def protocol(limits: Limits) -> type[HttpToolsProtocol]:
    """Uvicorn's protocol under these limits."""

    class Impatient(HttpToolsProtocol):
        """A connection that is closed when the headers of a request do not come, or never end."""

        _late: asyncio.TimerHandle | None = None
        _size = 0  # bytes of a request whose headers are not all there

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                transport.abort()
                return
            self._await_headers()

        def data_received(self, data: bytes) -> None:
            self._size += len(data)
            super().data_received(data)
            if self._late and self._size > limits.header_bytes:
                self._close()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._await_headers()

        def on_headers_complete(self) -> None:
            self._headers_came()
            super().on_headers_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self._headers_came()
            super().connection_lost(exc)

        def _await_headers(self) -> None:
            if self._late is None:
                self._size = 0
                self._late = self.loop.call_later(limits.header_seconds, self._close)

        def _headers_came(self) -> None:
            if self._late:
                self._late.cancel()
                self._late = None

        def _close(self) -> None:
            self._headers_came()
            if not self.transport.is_closing():
                self.transport.abort()

    return Impatient


def bound(host: str, port: int) -> socket.socket:
    """A socket that is bound to an address; raises Refused where it is taken or not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
    except OSError as error:
        found.close()
        raise Refused(f"{host} port {port}: expected a free address, {error.strerror}") from None
    return found


def run(app: ASGIApp, where: socket.socket, limits: Limits, *, drain: Callable[[], None]) -> None:
    """Serve until a signal; return when all that was accepted is answered.

    `drain` is called once the signal came: new work ends sooner from then on. A second signal ends
    the process at once.
    """
    _room_for(limits.connections)
    sys.setswitchinterval(SWITCH)
    gc.collect()
    gc.freeze()  # what is there stays; to search it for garbage took 130 ms, each second
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # its traces quote what came
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=protocol(limits),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=int(limits.idle_seconds),
            timeout_graceful_shutdown=int(limits.drain_seconds),
        )
    )
    with stoppable() as stop:
        thread = threading.Thread(target=server.run, args=([where],), name="http", daemon=True)
        thread.start()
        while thread.is_alive() and not stop:
            thread.join(TICK)
        drain()
        time.sleep(LAME)
        where.listen(0)  # else the kernel makes connections until the end, which nobody answers
        time.sleep(LAST)
        server.should_exit = True
        thread.join()


def _room_for(connections: int) -> None:
    """Let this process have so many open files, where the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + 256
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
