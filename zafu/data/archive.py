"""Archives: the files in a tar or zip, one after the other, never written to the disk.

Links, devices, names that lead elsewhere and what cannot be opened come as `Unsafe`, with the
reason; what a name says is never followed.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from struct import error as StructError
from typing import IO, NamedTuple, final
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo
from zlib import error as ZlibError

from zafu.data import tar
from zafu.data.streams import BLOCK, Budget, Stream, opened, stem
from zafu.errors import DataError

LARGEST = 64 * 2**20  # most bytes of a member that is read as a whole
_LONGEST = 4096  # bytes of a name
_ENCRYPTED = 0x1
_BROKEN = (  # what zipfile raises where an archive is not what it says; OSError: a negative place
    BadZipFile,
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    StructError,
    ValueError,
    ZlibError,
)


@final
@dataclass(frozen=True)
class Member:
    """A regular file in an archive, to be read before the next one is asked for."""

    name: str
    stream: Stream
    where: str  # for messages

    def read(self, most: int = LARGEST) -> bytes:
        """Its whole content; raises DataError if that is more than `most` bytes."""
        content = bytearray()
        while more := self.stream.read(BLOCK):
            content += more
            if len(content) > most:
                raise DataError(f"{self.where}: expected at most {most} bytes, found more")
        return bytes(content)


class Unsafe(NamedTuple):
    """What an archive holds beside files and folders, or a file that must not be opened."""

    name: str
    why: str


def is_archive(name: str) -> bool:
    """Whether a file's name ends as archives do: .tar (perhaps compressed), .tgz or .zip."""
    return name.lower().endswith(".zip") or stem(name)[0].lower().endswith(".tar")


def members(path: Path) -> Iterator[Member | Unsafe]:
    """The files in an archive, in its order; hidden ones are passed over, as those of a folder.

    A name that is there twice comes twice. Raises DataError where the archive is damaged, cut off,
    or unpacks to more than `streams.RATIO` allows.
    """
    found = _in_zip(path) if path.name.lower().endswith(".zip") else _in_tar(path)
    return (m for m in found if isinstance(m, Unsafe) or not _hidden(m.name))


def _in_tar(path: Path) -> Iterator[Member | Unsafe]:
    with opened(path) as stream:
        for entry in tar.entries(stream, str(path)):
            if entry.kind == "folder":
                continue
            why = _unsafe(entry.name) or ("" if entry.kind == "file" else f"found {entry.kind}")
            yield _judged(path, entry.name, why, entry.stream)


def _in_zip(path: Path) -> Iterator[Member | Unsafe]:
    with path.open("rb") as file:
        try:
            archive = ZipFile(file)
        except _BROKEN as error:
            raise _damaged(str(path), error) from None
        whole = Budget(str(path), lambda: path.stat().st_size)  # entries may share their bytes
        for entry in archive.infolist():
            if entry.filename.endswith("/"):
                continue
            why = _unsafe(entry.filename) or _unsuitable(entry)
            stream = _Zipped(archive, entry, str(path), whole)
            yield _judged(path, entry.filename, why, stream)
            stream.close()


def _judged(path: Path, name: str, why: str, stream: Stream) -> Member | Unsafe:
    shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if why:
        return Unsafe(shown[:_LONGEST], why)
    tidy = PurePosixPath(shown).as_posix()  # ./a and a are one name
    return Member(tidy, stream, f"{path}!{tidy}")


def _unsafe(name: str) -> str:
    """Why this name is not one below the archive's own folder; "" if it is."""
    if not name.strip("/.\\") or "\0" in name:
        return "found no name"
    if len(name.encode("utf-8", "surrogateescape")) > _LONGEST:
        return f"found a name of more than {_LONGEST} bytes"
    if PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor:
        return "found an absolute name"
    if ".." in PureWindowsPath(name).parts:  # knows both slashes
        return "found a name that leads out of the archive"
    return ""


def _hidden(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return any((p.startswith(".") and p != "..") or p == "__MACOSX" for p in parts)


def _unsuitable(entry: ZipInfo) -> str:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        return "found a symbolic link" if kind == stat.S_IFLNK else "found a device"
    if entry.flag_bits & _ENCRYPTED:
        return "found it encrypted"
    if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):  # others unpack without a bound
        return f"found compression method {entry.compress_type}, not deflate"
    return ""


@final
class _Zipped:
    """A member of a zip, opened when it is first read."""

    def __init__(self, archive: ZipFile, entry: ZipInfo, path: str, whole: Budget) -> None:
        self._archive, self._entry, self._whole = archive, entry, whole
        self._where = f"{path}!{entry.filename}"
        self._own = Budget(self._where, lambda: entry.compress_size)
        self._file: IO[bytes] | None = None

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most `size` of them; DataError if they are not what was packed."""
        try:
            self._file = self._file or self._archive.open(self._entry)
            found = self._file.read(min(size, BLOCK))
        except _BROKEN as error:
            raise _damaged(self._where, error) from None
        self._own.take(len(found))
        self._whole.take(len(found))
        return found

    def close(self) -> None:
        """Let go of the file."""
        if self._file:
            self._file.close()


def _damaged(where: str, error: Exception) -> DataError:
    found = str(error) or "its end too early"
    return DataError(f"{where}: expected a whole zip, found {found}: it is damaged, get it again")
