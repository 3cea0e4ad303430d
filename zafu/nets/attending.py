"""Where a net looks: what its last block's attention works on, and how far two nets' differ.

MiniLM: Wang et al., 2020 (arXiv:2002.10957): of the last block alone, the Kullback-Leibler
divergence of the student's attention from the teacher's, and of what its values have to do with
each other. Where the numbers of heads differ, maps are averaged and values joined, in order, to as
many as divide both. Fused attention never holds a map: queries and keys are caught on their way
into it, and the maps of the one block are computed beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

FAR = -1e9  # the score of what may not be looked at: its share is 0, and 0 * FAR is no nan


class Watched(Protocol):
    """An attention whose inner operation `attend(q, k, v, ...)` can be replaced."""

    attend: Callable[..., Tensor]

    @property
    def causal(self) -> bool:
        """Whether it looks at nothing that comes later, where it gets no mask."""
        ...


@runtime_checkable
class Attentive(Protocol):
    """A net that says which attention is its last."""

    def last_attention(self) -> Watched:
        """Of the last block."""
        ...


class Seen(NamedTuple):
    """What an attention worked on: `(batch, heads, time, head_dim)`, of keys and values fewer."""

    queries: Tensor
    keys: Tensor
    values: Tensor
    mask: Tensor | None  # (..., time, time): true where a query may look; None: everywhere


@contextmanager
def watched(net: Attentive, found: list[Seen]) -> Generator[None]:
    """Inside, each pass through the net adds to `found` what its last attention works on."""
    attention = net.last_attention()
    attend, causal = attention.attend, attention.causal

    def watching(q: Tensor, k: Tensor, v: Tensor, *masks: Tensor | None) -> Tensor:
        mask = next(iter(masks), None)
        if mask is None and causal:
            mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril()
        found.append(Seen(q, k, v, mask))
        return attend(q, k, v, *masks)

    attention.attend = watching
    try:
        yield
    finally:
        attention.attend = attend


def apart(own: Seen, theirs: Seen) -> Tensor:
    """How far the student's attention is from the teacher's, in nats for each query.

    The divergence of maps plus that of the relations of values, a mean over heads: `(batch, time)`.
    What one of both may not look at is left out.
    """
    mask = own.mask if theirs.mask is None else theirs.mask
    if own.mask is not None and theirs.mask is not None:
        mask = own.mask & theirs.mask
    heads = math.gcd(own.queries.shape[1], theirs.queries.shape[1])
    joined = math.gcd(own.values.shape[1], theirs.values.shape[1])
    with torch.autocast(own.queries.device.type, enabled=False):  # scores of 16 bits are too coarse
        maps = [_averaged(_map(s.queries, s.keys, mask), heads) for s in (own, theirs)]
        values = [_joined(s.values, joined) for s in (own, theirs)]
        relations = [_map(v, v, mask) for v in values]
    return _kl(maps[1], maps[0]) + _kl(relations[1], relations[0])


def _map(queries: Tensor, keys: Tensor, mask: Tensor | None) -> Tensor:
    """Logarithms of the shares that each query gives to each key."""
    q, k = queries.float(), keys.float()
    k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    return (scores if mask is None else scores.masked_fill(~mask, FAR)).log_softmax(-1)


def _averaged(logs: Tensor, heads: int) -> Tensor:
    if logs.shape[1] == heads:
        return logs
    grouped = logs.unflatten(1, (heads, -1))
    return grouped.logsumexp(2) - math.log(grouped.shape[2])


def _joined(values: Tensor, heads: int) -> Tensor:
    return values.unflatten(1, (heads, -1)).transpose(2, 3).flatten(3)


def _kl(of: Tensor, to: Tensor) -> Tensor:
    """A mean over heads: `(batch, time)`."""
    return (of.exp() * (of - to)).sum(-1).mean(1)
