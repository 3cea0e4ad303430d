"""Requests: the stream of samples that a training or an evaluation wants, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from zafu.loading.contract import Request
from zafu.loading.order import Order


def steps(order: Order, start: int, size: int, total: int | None) -> Iterator[Request]:
    """All samples of one step after the other, from a position on; endless where total is None.

    The last step of a budget has what is left of it.
    """
    while total is None or start < total:
        count = size if total is None else min(size, total - start)
        yield order.seen(start, count)
        start += count


def pieces(request: Request, most: int | None) -> list[Request]:
    """The request in order, cut into pieces of at most `most` samples."""
    ids, epochs = request
    if most is None or len(ids) <= most:
        return [request]
    starts = range(0, len(ids), most)
    return [Request(ids[i : i + most], epochs[i : i + most]) for i in starts]


class Part(NamedTuple):
    """One rank's samples of one micro-batch."""

    request: Request
    counts: bool = True  # False: the rank has none, and reads one that counts nothing


def dealt(request: Request, most: int | None, *, index: int = 0, of: int = 1) -> list[Part]:
    """The samples of the rank `index` of `of`, in parts of at most `most`.

    All ranks have equally many parts, so that they meet after each; all samples are dealt.
    """
    if of == 1:
        return [Part(piece) for piece in pieces(request, most)]
    n = len(request.ids)
    start, end = n * index // of, n * (index + 1) // of
    largest = -(-n // of)
    most = most or largest
    parts: list[Part] = []
    for begin in range(start, start + largest, most):
        here = slice(begin, min(begin + most, end))
        own = Request(request.ids[here], request.epochs[here])
        stand_in = Request(request.ids[:1], request.epochs[:1])
        parts.append(Part(own) if len(own.ids) else Part(stand_in, counts=False))
    return parts


def in_order(total: int, size: int) -> Iterator[Request]:
    """The first samples of a split as they lie, each for the first time."""
    for start in range(0, total, size):
        ids = np.arange(start, min(start + size, total))
        yield Request(ids, np.zeros_like(ids))
