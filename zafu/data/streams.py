"""Streams: a file's content as bytes, decompressed by its name's ending, in bounded memory.

A file that unpacks to more than `RATIO` times what was read of it is refused, so that a small file
cannot fill memory or disk, and a stream that ends early is never taken for a whole one. gzip is
RFC 1952, zstd RFC 8878; several streams one after the other in a file are one content.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, final

from zafu.errors import DataError, MissingExtra

COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
FREE = 16 * 2**20  # bytes that may come out before the ratio counts
RATIO = 100  # most bytes that may come out for each byte that went in
BLOCK = 2**20  # bytes that are handled at once
_MEMORY = 2**27  # most bytes that a stream may ask for as its window
_SMALL = 512  # bytes given to zstd at once: what comes out has no other bound than 32 KiB for each


class Stream(Protocol):
    """Bytes that are read once, from the first to the last."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most `size` of them; none at the end. DataError if damaged."""
        ...


@dataclass
class Budget:
    """What a file may unpack to: `FREE` bytes, then `RATIO` times what was read of it."""

    where: str
    given: Callable[[], int]  # compressed bytes that were read so far
    taken: int = 0

    def take(self, count: int) -> None:
        """Note that so many bytes came out; raises DataError if they are too many."""
        self.taken += count
        if self.taken > FREE and self.taken > RATIO * self.given():
            raise DataError(
                f"{self.where}: expected at most {RATIO} bytes for each that is stored, found "
                f"{self.taken} from {self.given()}: unpack it if you trust it"
            )


def stem(name: str) -> tuple[str, str]:
    """A file's name without the ending of its compression, and that ending or ""."""
    if name.lower().endswith(".tgz"):
        return f"{name[:-4]}.tar", ".gz"
    found = next((end for end in COMPRESSED if name.lower().endswith(end)), "")
    return name[: len(name) - len(found)], found


@contextmanager
def opened(path: Path) -> Generator[Stream]:
    """A file's content, decompressed if its name ends so; DataError names what is damaged."""
    with path.open("rb") as file:
        ending = stem(path.name)[1]
        yield Decompressed(file, str(path), _engine_of(ending)) if ending else file


class Engine(Protocol):
    """Decompresses one stream; the interface of bz2 and lzma."""

    @property
    def eof(self) -> bool:
        """Whether the stream has ended, and was whole."""
        ...

    @property
    def needs_input(self) -> bool:
        """Whether nothing more comes out before more goes in."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What was given beyond the end of the stream."""
        ...

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """What comes out after more bytes went in; the rest is kept for the next call."""
        ...


@final
class Decompressed:
    """The content of one compressed stream after the other."""

    def __init__(self, source: Stream, where: str, start: Callable[[], Engine]) -> None:
        self._source, self._where, self._start = source, where, start
        self._engine = start()
        self._given = 0
        self._budget = Budget(where, lambda: self._given)
        self._ready, self._at = b"", 0  # what came out, and how much of it was read

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most `size` of them; none at the end of the last stream."""
        while self._at == len(self._ready):
            if self._engine.eof:
                if not self._next_stream():
                    return b""
                continue
            more = self._more() if self._engine.needs_input else b""
            if self._engine.needs_input and not more:
                raise DataError(
                    f"{self._where}: expected more after {self._budget.taken} unpacked bytes, "
                    "found the end of the file: it was cut off, get it again"
                )
            self._unpack(more)
        start, self._at = self._at, min(self._at + size, len(self._ready))
        return self._ready[start : self._at]

    def _more(self) -> bytes:
        more = self._source.read(BLOCK // 16)
        self._given += len(more)
        return more

    def _next_stream(self) -> bool:
        """Whether another stream follows; zeros between and after streams are padding."""
        rest = self._engine.unused_data.lstrip(b"\0")
        while not rest:
            if not (more := self._more()):
                return False
            rest = more.lstrip(b"\0")
        self._engine = self._start()
        self._unpack(rest)
        return True

    def _unpack(self, data: bytes) -> None:
        try:
            self._ready, self._at = self._engine.decompress(data, BLOCK), 0
        except _errors() as error:
            raise DataError(
                f"{self._where}: expected a whole compressed file, found {error} after "
                f"{self._budget.taken} unpacked bytes: it is damaged, get it again"
            ) from None
        self._budget.take(len(self._ready))


@final
class Section:
    """The next `size` bytes of a stream, which must hold them."""

    def __init__(self, source: Stream, size: int, where: str) -> None:
        self._source, self._left, self._where = source, size, where

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most `size` of them; none at the end of the section."""
        if not (wanted := min(size, self._left)):
            return b""
        found = self._source.read(wanted)
        if not found:
            raise DataError(
                f"{self._where}: expected {self._left} more bytes, found the end of the file: "
                "it was cut off, get it again"
            )
        self._left -= len(found)
        return found


@final
class _Gzip:
    """zlib with the interface of bz2 and lzma; it checks length and checksum at the end."""

    def __init__(self) -> None:
        import zlib

        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


@final
class _Zstandard:
    """zstd in small steps: its stream reader would not tell a file that was cut off."""

    def __init__(self) -> None:
        import zstandard

        self._inner = zstandard.ZstdDecompressor(max_window_size=_MEMORY).decompressobj()
        self._waiting = b""

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._waiting

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data + self._waiting

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """As much as has come out at `max_length`, and what one more step brings (16 MiB)."""
        waiting, at, out, length = self._waiting + data, 0, list[bytes](), 0
        while at < len(waiting) and length < max_length and not self._inner.eof:
            out.append(self._inner.decompress(waiting[at : at + _SMALL]))
            length += len(out[-1])
            at += _SMALL
        self._waiting = waiting[at:]
        return b"".join(out)


def _engine_of(ending: str) -> Callable[[], Engine]:
    if ending == ".zst":
        need_for([ending])
        return _Zstandard
    if ending == ".gz":
        return _Gzip
    if ending == ".bz2":
        from bz2 import BZ2Decompressor

        return BZ2Decompressor
    from lzma import LZMADecompressor

    return lambda: LZMADecompressor(memlimit=_MEMORY)


def need_for(names: Iterable[str]) -> None:
    """Raises MissingExtra if one of these files needs a package that is not installed."""
    from importlib.util import find_spec

    if any(stem(name)[1] == ".zst" for name in names) and find_spec("zstandard") is None:
        raise MissingExtra("zstandard", "text")


def _errors() -> tuple[type[Exception], ...]:
    """What the decompressors raise where a stream is damaged; zstandard may not be installed."""
    from importlib.util import find_spec
    from lzma import LZMAError
    from zlib import error

    known = (LZMAError, error, OSError, ValueError)
    if find_spec("zstandard") is None:
        return known
    from zstandard import ZstdError

    return (*known, ZstdError)
