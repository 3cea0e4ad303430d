"""Bodies of requests: read up to a limit, and JSON without what JSON should not hold.

What is too large is refused before it is there, and the rest of it is passed over for a second, so
that its sender hears the answer. Parts of a form: RFC 7578.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Sequence
from typing import Any

from starlette.requests import ClientDisconnect, Request

from zafu.serve.refusal import Rejected

DEEPEST = 32  # levels of lists and mappings
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # half a character, if its other half is absent
_OPENING, _CLOSING = frozenset(b"[{"), frozenset(b"]}")


async def read(request: Request, most: int, seconds: float) -> bytes:
    """The whole body; raises Rejected where it is larger than `most` bytes, or slow."""
    said = request.headers.get("content-length", "0")
    if not said.isdigit() or int(said) > most:
        raise _too_large(most)
    parts, size = list[bytes](), 0
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise _too_large(most)
                parts.append(part)
    except TimeoutError:
        raise Rejected(408, f"expected the whole body within {seconds:g} seconds") from None
    except ClientDisconnect:
        raise Rejected(400, "the client went away") from None
    return b"".join(parts)


def _too_large(most: int) -> Rejected:
    return Rejected(413, f"expected a body of at most {most:,} bytes")


def parsed(body: bytes) -> Any:
    """Plain data of JSON in UTF-8; raises Rejected for NaN, infinities, doubled keys and depth."""
    if _depth(body) > DEEPEST:
        raise Rejected(400, f"body: expected JSON of at most {DEEPEST} levels")
    try:
        found = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_once,
            parse_constant=_constant,
            parse_float=_finite,
        )
        if _SURROGATE.search(body):
            json.dumps(found, ensure_ascii=False).encode("utf-8")
        return found
    except UnicodeError:
        raise Rejected(400, "body: expected JSON in UTF-8, of whole characters") from None
    except (ValueError, RecursionError) as error:
        text = error.args[0] if isinstance(error, _Fault) else "expected JSON"
        raise Rejected(400, f"body: {text}") from None


class _Fault(ValueError):
    """What JSON allows and we do not."""


def _depth(body: bytes) -> int:
    """How many brackets are open at once at most, if all of them were brackets."""
    if body.count(b"[") + body.count(b"{") <= DEEPEST:
        return 0
    deepest = depth = 0
    text = re.sub(rb'"(?:[^"\\]|\\.)*"', b"", body, flags=re.DOTALL)
    for byte in text:
        if byte in _OPENING:
            depth += 1
            deepest = max(deepest, depth)
        elif byte in _CLOSING:
            depth -= 1
    return deepest


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Fault("expected each key once")
    return found


def _constant(_: str) -> float:
    raise _Fault("expected numbers, found NaN or an infinity")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _Fault("expected numbers that 64 bits hold")
    return value


def files(body: bytes, content_type: str, most: int) -> list[bytes]:
    """The files of a form, at most so many; raises Rejected where it is none."""
    found = re.search(r'boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))', content_type)
    if not found:
        raise Rejected(400, "content-type: expected multipart/form-data with a boundary")
    mark = b"--" + (found[1] or found[2]).encode("latin-1", "replace")
    pieces = body.split(mark, most + 3)
    if len(pieces) > most + 2 or len(pieces) < 3 or not pieces[-1].startswith(b"--"):
        raise Rejected(400, f"body: expected a form of 1 to {most} files")
    return [_content(piece) for piece in pieces[1:-1]]


def _content(piece: bytes) -> bytes:
    _, blank, content = piece.partition(b"\r\n\r\n")
    if not blank or not content.endswith(b"\r\n"):
        raise Rejected(400, "body: expected parts of a form, each with headers and a file")
    return content[:-2]
