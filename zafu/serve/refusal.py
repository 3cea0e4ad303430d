"""Refusals: what a request is answered that is not carried out, as JSON that says what to do.

The form is that of the OpenAI interface, so that its clients show the message. Nothing of a
request's content, and no trace of the program, stands in it.
"""

from __future__ import annotations

import json
import math
from typing import Any

from zafu.errors import RecipeError, ZafuError

KINDS = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    413: "too_large",
    415: "unsupported",
    421: "misdirected",
    422: "invalid",
    429: "busy",
    500: "internal",
    503: "unavailable",
    504: "timeout",
}


class Rejected(Exception):
    """A request that is answered with a status and a message instead."""

    def __init__(self, status: int, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.retry_after = status, message, retry_after

    def headers(self) -> dict[str, str]:
        """What stands above the message; a client may come again after whole seconds."""
        found = {"cache-control": "no-store"}
        if self.status == 401:
            found["www-authenticate"] = 'Bearer, Basic realm="zafu", charset="UTF-8"'
        if self.status in (408, 413, 421):
            found["connection"] = "close"
        if self.retry_after is not None:
            found["retry-after"] = str(max(1, math.ceil(self.retry_after)))
        return found

    def plain(self) -> dict[str, Any]:
        """The body as data."""
        kind = KINDS.get(self.status, "error")
        return {"error": {"message": self.message, "type": kind, "code": self.status}}

    def body(self) -> bytes:
        """The body."""
        return json.dumps(self.plain(), ensure_ascii=False).encode(errors="replace")


def of(error: ZafuError) -> Rejected:
    """The refusal of a request whose content does not suit; what was found is left out."""
    if isinstance(error, RecipeError):
        faults = [f"{fault.path or 'body'}: expected {fault.expected}" for fault in error.faults]
        hints = [f"{text}; {f.hint}" if f.hint else text for text, f in zip(faults, error.faults)]  # noqa: B905
        return Rejected(422, "\n".join(hints))
    if error.exit_code == 2:
        return Rejected(422, str(error))
    return OURS


def full() -> Rejected:
    """The refusal of one too many."""
    return Rejected(503, "the server is full: come again", retry_after=1)


OURS = Rejected(500, "this is a fault of the server; its log says where")
