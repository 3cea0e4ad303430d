"""Packing: documents become windows, so that every token is a target exactly once.

stream: documents one after the other, cut every `context` tokens (Brown et al., 2020). best-fit:
windows hold whole documents wherever these fit, the longest first, each where it leaves least room
(Ding et al., 2024, arXiv:2404.10830); what is left of a window is padding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

BLOCK = 1 << 12  # windows that are looked at together: bounds memory


class Placed(NamedTuple):
    """Where windows lie in a row of tokens."""

    starts: np.ndarray  # (windows,) int64
    targets: np.ndarray  # (windows,) int64: how many count
    first: np.ndarray  # (windows,) int64: the first that counts


def stream(tokens: int, context: int) -> Placed:
    """Windows over a row of so many tokens; the last may overlap the one before it."""
    targets = max(0, tokens - 1)
    starts = np.arange(0, targets, context)
    counts = np.minimum(context, targets - starts)
    last = max(0, targets - context)
    return Placed(np.minimum(starts, last), counts, np.where(starts > last, context - counts, 0))


def sizes(
    tokens: np.ndarray, placed: Placed, lengths: np.ndarray, context: int
) -> np.ndarray:  # (windows, 3) int64
    """Bytes, targets and first target of each window; `lengths` `(vocab,)` are bytes a token."""
    found = np.stack([np.zeros_like(placed.targets), placed.targets, placed.first], 1)
    place = np.arange(context)
    for begin in range(0, len(found), BLOCK):
        _, counts, first = found[begin : begin + BLOCK].T[:, :, None]
        starts = placed.starts[begin : begin + BLOCK, None]
        bytes_of = lengths[tokens[starts + 1 + place]]  # (windows, context)
        counted = (place >= first) & (place < first + counts)
        found[begin : begin + BLOCK, 0] = (bytes_of * counted).sum(1)
    return found


class Part(NamedTuple):
    """A stretch of a document's targets in a row."""

    document: int
    begin: int  # the first target, counted from 0 in the document
    end: int


def best_fit(lengths: np.ndarray, context: int) -> list[list[Part]]:
    """Rows of at most `context` targets; `lengths` `(documents,)` are targets of each, END counted.

    A document that is longer fills rows of its own, and what is left of it opens a row, since the
    token before it must stand there and is no target. Each other document lies where it leaves the
    least room.
    """
    rows: list[list[Part]] = []
    spare: list[list[int]] = [[] for _ in range(context + 1)]  # rows by the room they have
    for document in np.flatnonzero(lengths > context).tolist():
        length = int(lengths[document])
        for begin in range(0, length, context):
            end = min(begin + context, length)
            spare[context - (end - begin)].append(len(rows))
            rows.append([Part(document, begin, end)])
    short = np.flatnonzero((lengths <= context) & (lengths > 0))
    room = sum(1 << size for size in range(1, context + 1) if spare[size])  # a bit for each size
    for document in short[np.argsort(-lengths[short], kind="stable")].tolist():
        length = int(lengths[document])
        fitting = room >> length
        size = length + (fitting & -fitting).bit_length() - 1 if fitting else context
        if fitting:
            row = spare[size].pop()
            if not spare[size]:
                room &= ~(1 << size)
            rows[row].append(Part(document, 0, length))
        else:
            row = len(rows)
            rows.append([Part(document, 0, length)])
        if left := size - length:
            spare[left].append(row)
            room |= 1 << left
    return rows


def rows(
    parts: list[list[Part]], tokens: np.ndarray, ends: np.ndarray, *, context: int, end: int
) -> Iterator[np.ndarray]:
    """The tokens of each row, `(context + 1,)`, padded with END.

    `tokens` holds the documents one after the other, each with its END; `ends` `(documents,)` are
    the places after each END.
    """
    for row in parts:
        filled = np.full(context + 1, end, tokens.dtype)
        at = 1
        for document, begin, stop in row:
            start = int(ends[document - 1]) if document else 0
            if begin:
                filled[at - 1] = tokens[start + begin - 1]
            filled[at : at + stop - begin] = tokens[start + begin : start + stop]
            at += stop - begin
        yield filled


def placed_rows(parts: list[list[Part]], context: int) -> Placed:
    """Where the rows lie when they are written one after the other."""
    counts = np.array([sum(p.end - p.begin for p in row) for row in parts], np.int64)
    starts = np.arange(len(parts), dtype=np.int64) * (context + 1)
    return Placed(starts, counts, np.zeros_like(counts))


def cut_documents(parts: Iterable[Iterable[Part]]) -> int:
    """How many documents do not stand whole in one row."""
    return len({part.document for row in parts for part in row if part.begin})
