"""Lines: a stream of bytes cut at a separator into records, none of which fills memory.

Where a file is cut in ranges, each range begins after a separator and knows the number of its first
record, so that its records are those that the whole file would give.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import Literal, NamedTuple, final

from zafu.data.streams import BLOCK, Stream
from zafu.errors import DataError

Encoding = Literal["utf-8", "latin-1", "cp1252", "auto"]
LONGEST = 64 * 2**20  # bytes of a record; longer ones are passed over without being held
_MARKS = (  # byte order marks of what is no UTF-8; UTF-32's begins as UTF-16's does
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Range(NamedTuple):
    """Bytes of a file that hold whole records."""

    start: int
    stop: int
    first: int  # the number of its first record, from 1


def records(stream: Stream, separator: bytes, *, longest: int = LONGEST) -> Iterator[bytes | None]:
    """What stands between separators; None for a record of more than `longest` bytes.

    A separator at the end of the stream ends the last record and begins no other.
    """
    rest, skips = b"", False
    while more := stream.read(max(BLOCK, len(rest))):
        *whole, rest = (rest + more).split(separator)
        for record in whole:
            yield None if skips or len(record) > longest else record
            skips = False
        if skips or len(rest) >= longest + len(separator):  # whatever comes, it is too long
            rest, skips = _tail(rest, separator), True
    if rest or skips:
        yield None if skips or len(rest) > longest else rest


def ranges(stream: Stream, separator: bytes, size: int) -> Iterator[Range]:
    """The stream in ranges of about `size` bytes; it is read once, as fast as it comes."""
    start, first, position, number, rest = 0, 1, 0, 1, b""
    while more := stream.read(min(BLOCK, size)):
        *whole, rest = (rest + more).split(separator)
        position, number = position + len(more), number + len(whole)
        end = position - len(rest)
        if whole and end - start >= size:
            yield Range(start, end, first)
            start, first = end, number
        rest = _tail(rest, separator)
    if position > start:
        yield Range(start, position, first)


def unmarked(stream: Stream, encoding: Encoding, where: str) -> Stream:
    """A file's bytes without a mark of their order; by auto, marked UTF-16 and 32 as UTF-8."""
    if encoding not in ("utf-8", "auto"):
        return stream
    head = b""
    while len(head) < 4 and (more := stream.read(4 - len(head))):
        head += more
    if head.startswith(codecs.BOM_UTF8):
        return _Chained(head[3:], stream)
    if encoding == "auto" and (wide := wide_encoding(head)):
        return _Narrowed(_Chained(head, stream), wide, where)
    return _Chained(head, stream)


def wide_encoding(head: bytes) -> str:
    """The encoding that a file's first four bytes mark, if it is UTF-16 or UTF-32; else ""."""
    return next((name for mark, name in _MARKS if head.startswith(mark)), "")


def decoded(raw: bytes, encoding: Encoding) -> str:
    """The text; auto takes UTF-8 or else cp1252, for each text by itself. UnicodeDecodeError."""
    if encoding != "auto":
        return raw.decode(encoding)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("cp1252")


def encoded(separator: str, encoding: Encoding) -> bytes:
    """A separator as it stands in files of this encoding."""
    return separator.encode("utf-8" if encoding == "auto" else encoding)


def _tail(rest: bytes, separator: bytes) -> bytes:
    """The end of `rest`, which holds no separator, with which one may begin."""
    return rest[len(rest) - len(separator) + 1 :] if len(separator) <= len(rest) else rest


@final
class _Chained:
    """Bytes that were read ahead, then the rest of their stream."""

    def __init__(self, head: bytes, stream: Stream) -> None:
        self._head, self._stream = head, stream

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most `size` of them."""
        if self._head:
            found, self._head = self._head[:size], self._head[size:]
            return found
        return self._stream.read(size)


@final
class _Narrowed:
    """A stream of UTF-16 or UTF-32 as UTF-8."""

    def __init__(self, stream: Stream, encoding: str, where: str) -> None:
        self._stream, self._encoding, self._where = stream, encoding, where
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._waiting = b""

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most `size` of them; DataError if they are not in the encoding."""
        while not self._waiting:
            more = self._stream.read(BLOCK)
            try:
                self._waiting = self._decoder.decode(more, final=not more).encode()
            except UnicodeError as error:
                text = f"expected {self._encoding.upper()}, as its first bytes say, found {error}"
                raise DataError(f"{self._where}: {text}") from None
            if not more:
                break
        found, self._waiting = self._waiting[:size], self._waiting[size:]
        return found
