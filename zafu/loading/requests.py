"""Requests: the stream of samples that a training or an evaluation wants, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator

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


def in_order(total: int, size: int) -> Iterator[Request]:
    """The first samples of a split as they lie, each for the first time."""
    for start in range(0, total, size):
        ids = np.arange(start, min(start + size, total))
        yield Request(ids, np.zeros_like(ids))
