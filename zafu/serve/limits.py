"""Limits of a server: what it takes of a request, and for how long, before it says no."""

from __future__ import annotations

from dataclasses import dataclass

KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Each is checked before what it limits is parsed, decoded or computed."""

    header_bytes: int = 64 * KIB  # of a request's first line and headers
    header_seconds: float = 10.0  # until the headers of a request are there
    body_seconds: float = 30.0  # until its body is
    text_bytes: int = 4 * MIB  # of a body of JSON
    picture_bytes: int = 32 * MIB  # of a body of pictures
    samples: int = 256  # in one request
    connections: int = 4096  # that are open at once
    idle_seconds: float = 5.0  # of a connection between two requests
    seconds: float = 120.0  # of a whole request, its wait included
    text_seconds: float = 1.0  # to make tokens of a prompt
    drain_seconds: float = 8.0  # for what was accepted, once the server is to end
