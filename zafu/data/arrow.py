"""Streams of Arrow, as `datasets` keeps them: one record batch after the other, in little memory.

Only what is needed to find the batches is read here (Arrow's columnar format 1.5, "Encapsulated
message format"); polars reads the batches. Its files with a footer polars reads as they are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from zafu.data.streams import Section
from zafu.errors import DataError

if TYPE_CHECKING:
    import polars as pl

LARGEST = 2**30  # bytes of a record batch, which is read as a whole
_MAGIC = b"ARROW1"  # begins a file with a footer
_GOES_ON = b"\xff\xff\xff\xff"
_END = _GOES_ON + bytes(4)
_METADATA = 2**26  # most bytes of a message's description
_SCHEMA, _DICTIONARY, _BATCH = 1, 2, 3


class _Message(NamedTuple):
    kind: int
    start: int
    size: int  # bytes, with its body
    rows: int


class Block(NamedTuple):
    """Where a record batch stands in its file."""

    start: int
    size: int
    first: int  # the number of its first row, from 1
    rows: int


def is_stream(path: Path) -> bool:
    """Whether a file is not Arrow's form with a footer."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) != _MAGIC


def blocks(path: Path) -> Iterator[Block]:
    """The record batches of a file, without their content; DataError where it is damaged."""
    first = 1
    with path.open("rb") as file:
        for message in _messages(file, str(path)):
            if message.kind == _BATCH:
                yield Block(message.start, message.size, first, message.rows)
                first += message.rows


def schema(path: Path) -> pl.Schema:
    """The columns of a file."""
    with path.open("rb") as file:
        message = next(_messages(file, str(path)), None)
        if message is None or message.kind != _SCHEMA:
            raise DataError(f"{path}: expected a schema, found none: it is no Arrow file")
        return _frame(_bytes(file, message, str(path)), None).schema


def frames(path: Path, columns: list[str], start: int, stop: int) -> Iterator[pl.DataFrame]:
    """These columns of each record batch that begins in a range of bytes."""
    head = b""
    with path.open("rb") as file:
        for message in _messages(file, str(path)):
            if message.start >= stop:
                return
            if message.kind != _BATCH:
                head += _bytes(file, message, str(path))
            elif message.start >= start:
                yield _frame(head + _bytes(file, message, str(path)), columns)


def _frame(messages: bytes, columns: list[str] | None) -> pl.DataFrame:
    import polars as pl

    return pl.read_ipc_stream(BytesIO(messages + _END), columns=columns)


def _bytes(file: BinaryIO, message: _Message, where: str) -> bytes:
    if message.size > LARGEST:
        raise DataError(
            f"{where}: expected record batches of at most {LARGEST} bytes, found {message.size}: "
            "write it with fewer rows in each"
        )
    file.seek(message.start)
    section, found = Section(file, message.size, where), bytearray()
    while more := section.read(message.size):
        found += more
    return bytes(found)


def _messages(file: BinaryIO, where: str) -> Iterator[_Message]:
    """Every message of the file; DataError if the last one is not whole."""
    length, at = file.seek(0, 2), 0
    while at < length:
        file.seek(at)
        lead = file.read(4)
        lead += file.read(4) if lead == _GOES_ON else b""  # not there before Arrow 0.15
        if not (size := int.from_bytes(lead[-4:], "little")):
            return
        try:
            if size > _METADATA:
                raise ValueError(f"one of {size} bytes, {lead.hex(' ')}")
            kind, body, rows = _described(file.read(size))
        except (struct.error, ValueError) as error:
            said = f"{where}, byte {at}: expected a message of Arrow's stream format"
            raise DataError(f"{said}, found {error}: it is damaged or another format") from None
        message = _Message(kind, at, len(lead) + size + body, rows)
        at += message.size
        if at > length:
            raise DataError(
                f"{where}: expected {at} bytes, found {length}: it was cut off, get it again"
            )
        yield message


def _described(metadata: bytes) -> tuple[int, int, int]:
    """A message's kind, the bytes of its body, and its rows if it is a record batch."""
    table = _at("<I", metadata, 0)
    kind = _at("<B", metadata, _field(metadata, table, 1))
    place = _field(metadata, table, 2)
    body = _at("<q", metadata, length) if (length := _field(metadata, table, 3)) else 0
    rows = 0
    if kind == _BATCH and (count := _field(metadata, place + _at("<I", metadata, place), 0)):
        rows = _at("<q", metadata, count)
    if body < 0 or rows < 0:
        raise ValueError(f"a body of {body} bytes, {rows} rows")
    return kind, body, rows


def _field(buffer: bytes, table: int, index: int) -> int:
    """Where a field of a flatbuffers table stands; 0 if it has its default."""
    lookup = table - _at("<i", buffer, table)
    inside = 4 + 2 * index < _at("<H", buffer, lookup)
    offset = _at("<H", buffer, lookup + 4 + 2 * index) if inside else 0
    return table + offset if offset else 0


def _at(form: str, buffer: bytes, place: int) -> int:
    if place < 0:
        raise ValueError(f"a place at {place}")
    return struct.unpack_from(form, buffer, place)[0]
