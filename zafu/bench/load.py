"""Load: clients that ask a server, in a process of their own (`python -m zafu.bench.load`).

A plan comes as JSON on the standard input, what was measured goes out as JSON. In a closed loop
each client asks again once it has its answer; in an open loop requests come by chance at a rate,
whatever the server does, and their time counts from when they were due, not from when they could
be sent (Schroeder et al., 2006, "Open versus closed: a cautionary tale", NSDI).
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any

LATE = 30.0  # seconds after which a request counts as failed
FAILED = 0  # the status of a request without an answer


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is asked, by how many, for how long."""

    port: int
    path: str
    kind: str  # of the bodies
    bodies: Sequence[str]  # base64, asked in turn
    clients: int
    seconds: float
    rate: float | None = None  # requests a second of an open loop
    streams: bool = False  # whether answers are events, of which the first counts too


@dataclass
class Heard:
    """What the clients heard."""

    ends: list[float] = field(default_factory=list)  # seconds since the begin, of good answers
    took: list[float] = field(default_factory=list)  # seconds of each of them
    first: list[float] = field(default_factory=list)  # seconds to the first event
    tokens: list[int] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)  # seconds of each 503 and 429
    failed: int = 0
    seconds: float = 0.0


def run(plan: Plan) -> Heard:
    """What clients in another process hear of a server."""
    done = subprocess.run(
        [sys.executable, "-m", "zafu.bench.load"],
        input=json.dumps(asdict(plan)),
        capture_output=True,
        text=True,
        check=True,
    )
    return Heard(**json.loads(done.stdout))


class Client:
    """One connection that is kept."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._heads = [_head(plan, base64.b64decode(body)) for body in plan.bodies]
        self._turn = id(self) // 64 % len(self._heads)  # clients do not ask alike

    async def ask(self) -> tuple[int, float, int]:
        """The status, the second at which the first event came, and the tokens that it says."""
        self._turn = (self._turn + 1) % len(self._heads)
        try:
            async with asyncio.timeout(LATE):
                if self._streams is not None and self._streams[0].at_eof():
                    self.close()  # the server has, while nothing was asked
                if self._streams is None:
                    self._streams = await asyncio.open_connection("127.0.0.1", self._plan.port)
                reader, writer = self._streams
                writer.write(self._heads[self._turn])
                return await self._answer(reader)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            self.close()
            return FAILED, 0.0, 0

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[int, float, int]:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        status, first, tokens = int(head.split(b" ", 2)[1]), 0.0, 0
        if b"transfer-encoding: chunked" in head:
            while size := int(await reader.readline(), 16):
                chunk = await reader.readexactly(size + 2)
                first = first or perf_counter()
                if b'"completion_tokens"' in chunk:
                    tokens = json.loads(chunk.strip()[6:])["usage"]["completion_tokens"]
            await reader.readline()
        else:
            await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n", 1)[0]))
        if b"connection: close" in head:
            self.close()
        return status, first, tokens

    def close(self) -> None:
        """End the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def _head(plan: Plan, body: bytes) -> bytes:
    lines = [f"POST {plan.path} HTTP/1.1", "host: localhost", f"content-type: {plan.kind}"]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


async def _asked(client: Client, due: float, begun: float, heard: Heard) -> None:
    status, first, tokens = await client.ask()
    now = perf_counter()
    if status == 200:
        heard.ends.append(now - begun)
        heard.took.append(now - due)
        if first:
            heard.first.append(first - due)
            heard.tokens.append(tokens)
    elif status in (429, 503):
        heard.refused.append(now - due)
    else:
        heard.failed += 1


async def closed(plan: Plan) -> Heard:
    """Each client asks again once it has its answer."""
    heard, begun = Heard(), perf_counter()

    async def one() -> None:
        client = Client(plan)
        while (now := perf_counter()) - begun < plan.seconds:
            refused = len(heard.refused)
            await _asked(client, now, begun, heard)
            if len(heard.refused) > refused:
                await asyncio.sleep(0.01)  # a client that is refused does not hammer
        client.close()

    await asyncio.gather(*(one() for _ in range(plan.clients)))
    heard.seconds = perf_counter() - begun
    return heard


async def opened(plan: Plan, rate: float) -> Heard:
    """Requests come by chance, so many a second; a free connection takes each, or a new one."""
    heard, begun, free, tasks = Heard(), perf_counter(), list[Client](), set[asyncio.Task[None]]()

    async def one(due: float) -> None:
        client = free.pop() if free else Client(plan)
        await _asked(client, due, begun, heard)
        free.append(client)

    chance, due = random.Random(0), begun  # noqa: S311  (no secret)
    while due - begun < plan.seconds:
        due += chance.expovariate(rate)
        await asyncio.sleep(max(0.0, due - perf_counter()))
        task = asyncio.ensure_future(one(due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    for client in free:
        client.close()
    heard.seconds = perf_counter() - begun
    return heard


def main() -> None:
    """Read a plan, carry it out, write what was heard."""
    plan = Plan(**json.load(sys.stdin))
    work: Any = closed(plan) if plan.rate is None else opened(plan, plan.rate)
    json.dump(asdict(asyncio.run(work)), sys.stdout)


if __name__ == "__main__":
    main()
