"""Tar archives as streams: headers are read by rules that know no leniency.

POSIX.1-2001 (pax) with GNU's long names and numbers in base 256. Unlike the standard library's
reader, which takes a damaged header for the end of the archive, everything that is not understood
is an error, and no header can ask for more memory than `HEADER`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from zafu.data.streams import BLOCK, Section, Stream
from zafu.errors import DataError

HEADER = 2**20  # most bytes of a long name or of pax records
_UNIT = 512
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a named pipe",
    b"S": "a sparse file",
}


class Entry(NamedTuple):
    """What stands in a tar archive."""

    name: str
    kind: str  # "file", "folder", or in words what else it is
    stream: Stream  # its content, to be read before the next entry is asked for


@dataclass
class _Headers:
    """Extended headers that change what the next header says."""

    shared: dict[str, str]  # of the whole archive
    own: dict[str, str]  # of the next entry


def entries(stream: Stream, where: str) -> Iterator[Entry]:
    """What stands in an archive, in order; DataError names the byte where it is damaged."""
    source = _Counted(stream, where)
    headers = _Headers({}, {})
    while (header := source.header()) is not None:
        flag, size = header[156:157], _number(header[124:136], source)
        if flag in b"xgLK":
            _extend(headers, flag, source, size)
            continue
        records = headers.shared | headers.own
        size = 0 if flag in b"123456" else _size(records.get("size"), size, source)
        name = records.get("path") or _name(header)
        content = Section(source, size, where)
        yield Entry(name, _kind(flag, name, records), content)
        while content.read(BLOCK):
            pass
        source.skip(-size % _UNIT)
        headers.own.clear()
    source.must_end()


class _Counted:
    """A stream that knows at which byte it is."""

    def __init__(self, stream: Stream, where: str) -> None:
        self._stream, self._where, self.at = stream, where, 0

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most `size` of them."""
        found = self._stream.read(size)
        self.at += len(found)
        return found

    def exactly(self, size: int) -> bytes:
        """The next `size` bytes."""
        section, found = Section(self, size, self._where), bytearray()
        while more := section.read(BLOCK):
            found += more
        return bytes(found)

    def skip(self, size: int) -> None:
        """Pass over the padding after an entry."""
        self.exactly(size)

    def header(self) -> bytes | None:
        """The next header, its checksum right; None where the archive ends."""
        header = self.exactly(_UNIT)
        if not header.strip(b"\0"):
            return None
        total = sum(header) - sum(header[148:156]) + 8 * ord(" ")
        if _number(header[148:156], self) != total:
            raise self.fault("the header of an entry", "a wrong checksum")
        return header

    def must_end(self) -> None:
        """Raises DataError if more than padding follows."""
        while more := self.read(BLOCK):
            if more.strip(b"\0"):
                raise self.fault("nothing after the end of the archive", "more")

    def fault(self, expected: str, found: str) -> DataError:
        """The error that says what is wrong at this place."""
        place = f"{self._where}, byte {self.at}"
        return DataError(f"{place}: expected {expected}, found {found}: it is damaged, pack again")


def _number(field: bytes, source: _Counted) -> int:
    """A number in octal digits, or in base 256 where its first bit is set."""
    if field[0] & 0x80:
        number = int.from_bytes(field, "big") - (0x80 << 8 * (len(field) - 1))
        if field[0] == 0x80 and number < 2**63:
            return number
        raise source.fault("a number of a header", field.hex(" "))
    digits = field.strip(b" \0")
    if digits.strip(b"01234567"):
        raise source.fault("octal digits", repr(field))
    return int(digits or b"0", 8)


def _size(record: str | None, size: int, source: _Counted) -> int:
    if record is None:
        return size
    if record.isascii() and record.isdigit() and int(record[:20]) < 2**63:
        return int(record)
    raise source.fault("a size", record[:20])


def _extend(headers: _Headers, flag: bytes, source: _Counted, size: int) -> None:
    """Take in what an extended header says, in place; a long link target (K) is not needed."""
    if size > HEADER:
        raise source.fault(f"a header of at most {HEADER} bytes", f"{size} bytes")
    content = source.exactly(size)
    source.skip(-size % _UNIT)
    if flag == b"L":
        headers.own["path"] = _decoded(content.partition(b"\0")[0])
    elif flag in b"xg":
        (headers.own if flag == b"x" else headers.shared).update(_records(content, source))


def _records(content: bytes, source: _Counted) -> Iterator[tuple[str, str]]:
    """The records of a pax header: its length in bytes, a space, key=value and a new line."""
    at = 0
    while at < len(content):
        digits, space, _ = content[at : at + 9].partition(b" ")
        end = at + int(digits) if digits.isdigit() else -1
        key, equals, value = content[at + len(digits) + 1 : end].partition(b"=")
        if not (space and equals and at < end <= len(content) and value.endswith(b"\n")):
            raise source.fault("a record of a pax header", repr(content[at : at + 40]))
        yield _decoded(key), _decoded(value[:-1])
        at = end


def _name(header: bytes) -> str:
    name, prefix = (part.partition(b"\0")[0] for part in (header[:100], header[345:500]))
    posix = header[257:263] == b"ustar\0"  # GNU's own format has times in the place of the prefix
    return _decoded(prefix + b"/" + name if posix and prefix else name)


def _decoded(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _kind(flag: bytes, name: str, records: dict[str, str]) -> str:
    if any(key.startswith("GNU.sparse") for key in records):
        return _KINDS[b"S"]
    if flag in (b"0", b"\0", b"7"):
        return "folder" if name.endswith("/") else "file"
    return "folder" if flag == b"5" else _KINDS.get(flag, f"an entry of type {flag!r}")
