"""Where pictures come from: folders, tables, archives; in parts of about 32 MiB.

A part is a plain value that can be sent anywhere and yields its pictures in order. Nothing is
extracted from an archive, and of a table only the rows of the part are held in memory. A tar is one
part however large it is, since only its beginning can be found: sets of many shards keep more
machines busy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple, final

from zafu.data import archive, arrow, decode
from zafu.data.files import refuse
from zafu.errors import DataError
from zafu.spec import did_you_mean

if TYPE_CHECKING:
    import polars as pl

PART = 32 << 20  # encoded bytes of a part
TABLES = (".parquet", ".arrow", ".feather", ".ipc")  # Feather 2 is an Arrow file


class Item(NamedTuple):
    """A picture that is not read yet."""

    id: str
    where: str  # for messages
    label: str | None  # the name of its class; None if it has none
    value: Any  # what the column that the split reads holds
    read: Callable[[], bytes]


class Columns(NamedTuple):
    """What stands where in a table of pictures."""

    image: str
    label: str
    value: str | None  # the column that the split reads
    labels: tuple[str, ...]  # names of the labels 0, 1, ...

    @property
    def read(self) -> list[str]:
        """The columns that are read, each once."""
        return list(dict.fromkeys(filter(None, (self.image, self.label, self.value))))


@final
@dataclass(frozen=True)
class Folder:
    """Some files of a folder CLASS/NAME."""

    root: Path
    names: tuple[str, ...]

    def items(self) -> Iterator[Item]:
        """The pictures in order."""
        for name in self.names:
            path = self.root / name
            yield Item(name, str(path), path.parent.name, None, path.read_bytes)


@final
@dataclass(frozen=True)
class Archive:
    """The members `start` to `stop` of an archive that are pictures by their name."""

    path: Path
    name: str
    start: int
    stop: int | None

    def items(self) -> Iterator[Item]:
        """The pictures in order; one outside any folder has no class.

        Each is read before the next is asked for. Raises DataError for a damaged archive.
        """
        for member in islice(_pictures(self.path), self.start, self.stop):
            label = PurePosixPath(member.name).parent.name or None
            read = member.read if isinstance(member, archive.Member) else _Unsafe(member.why).read
            where = f"{self.path}!{member.name}"
            yield Item(f"{self.name}!{member.name}", where, label, None, read)


@final
@dataclass(frozen=True)
class Table:
    """The rows `start` to `stop` of a Parquet file, or of an Arrow file with a footer."""

    path: Path
    name: str
    columns: Columns
    start: int
    stop: int

    def items(self) -> Iterator[Item]:
        """The pictures in order."""
        with _named(self.path):
            table = _scan(self.path).select(self.columns.read)
            rows = table.slice(self.start, self.stop - self.start).collect()
        yield from _items(rows, self.path, self.name, self.columns, first=self.start + 1)


@final
@dataclass(frozen=True)
class Stream:
    """The record batches of an Arrow stream that begin in a range of bytes."""

    path: Path
    name: str
    columns: Columns
    start: int
    stop: int
    first: int  # the number of the first row, from 1

    def items(self) -> Iterator[Item]:
        """The pictures in order, a record batch in memory at a time."""
        number = self.first
        with _named(self.path):
            for rows in arrow.frames(self.path, self.columns.read, self.start, self.stop):
                yield from _items(rows, self.path, self.name, self.columns, first=number)
                number += rows.height


Part = Folder | Archive | Table | Stream


@final
class _Cell:
    """A picture in a table: its bytes, or as Hugging Face datasets have it, `{bytes, path}`."""

    def __init__(self, value: Any) -> None:
        self._value = value.get("bytes") if isinstance(value, dict) else value

    def read(self) -> bytes:
        """The encoded picture; raises ValueError where there is none."""
        if not isinstance(self._value, bytes):
            raise ValueError("expected the bytes of a picture, found null")
        return self._value


@final
class _Unsafe:
    """A member of an archive that is not opened."""

    def __init__(self, why: str) -> None:
        self._why = why

    def read(self) -> bytes:
        """Raises ValueError that says why."""
        raise ValueError(f"expected a plain file, {self._why}")


def of_folder(root: Path, names: Sequence[str]) -> list[Part]:
    """The files of a folder in parts of about 32 MiB."""
    parts: list[Part] = []
    some: list[str] = []
    size = 0
    for name in names:
        some.append(name)
        size += (root / name).stat().st_size
        if size >= PART:
            parts.append(Folder(root, tuple(some)))
            some, size = [], 0
    return [*parts, Folder(root, tuple(some))] if some else parts


def of_files(found: Sequence[tuple[str, Path]], columns: Columns) -> list[Part]:
    """The pictures of tables and archives in parts; raises DataError with the faults of all."""
    faults: list[str] = []
    parts: list[Part] = []
    for name, path in found:
        if path.suffix.lower() in TABLES:
            try:
                with _named(path):
                    faults += _faults_of_columns(path, columns)
                    parts += (_of_stream if _is_stream(path) else _of_table)(path, name, columns)
            except DataError as error:
                faults.append(str(error))
        elif not archive.is_archive(path.name):
            faults.append(f"{path}: expected one of {', '.join(TABLES)}, .tar, .tar.gz or .zip")
        elif columns.value:
            hint = f"expected a table with a column {columns.value!r} to split by"
            faults.append(f"{path}: {hint}, found an archive")
        else:
            parts += _of_archive(path, name)
    refuse(faults)
    return parts


def in_order(labels: set[str]) -> tuple[str, ...]:
    """The names of classes, by number where all are whole numbers, else by letter."""
    if all(label.isdecimal() for label in labels):
        return tuple(sorted(labels, key=lambda label: (int(label), label)))
    return tuple(sorted(labels))


def _of_archive(path: Path, name: str) -> Iterator[Part]:
    if not path.name.lower().endswith(".zip"):
        yield Archive(path, name, 0, None)
        return
    count = sum(1 for _ in _pictures(path))
    each = max(1, math.ceil(count * PART / max(1, path.stat().st_size)))
    for start in range(0, count, each):
        yield Archive(path, name, start, min(start + each, count))


def _pictures(path: Path) -> Iterator[archive.Member | archive.Unsafe]:
    return (m for m in archive.members(path) if decode.is_picture_name(m.name))


def _is_stream(path: Path) -> bool:
    return path.suffix.lower() != ".parquet" and arrow.is_stream(path)


def _scan(path: Path) -> pl.LazyFrame:
    import polars as pl

    parquet = path.suffix.lower() == ".parquet"
    return (pl.scan_parquet if parquet else pl.scan_ipc)(path, glob=False)


def _of_table(path: Path, name: str, columns: Columns) -> Iterator[Part]:
    import polars as pl

    rows = int(_scan(path).select(pl.len()).collect().item())
    each = max(1, rows * PART // max(1, path.stat().st_size))
    for start in range(0, rows, each):
        yield Table(path, name, columns, start, min(start + each, rows))


def _of_stream(path: Path, name: str, columns: Columns) -> Iterator[Part]:
    start, stop, first = 0, 0, 1
    for block in arrow.blocks(path):
        if block.start - start >= PART:
            yield Stream(path, name, columns, start, block.start, first)
            start, first = block.start, block.first
        stop = block.start + block.size
    if stop:
        yield Stream(path, name, columns, start, stop, first)


@contextmanager
def _named(path: Path) -> Generator[None]:
    """What reading a damaged table raises becomes a DataError that names the file."""
    import polars as pl

    errors = (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException)
    try:
        yield
    except errors as error:
        found = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: expected a whole table of pictures: {found}") from None


def _faults_of_columns(path: Path, columns: Columns) -> list[str]:
    """What is wrong with the columns of a table."""
    schema = arrow.schema(path) if _is_stream(path) else _scan(path).collect_schema()
    wanted = {"data.image": columns.image, "data.label": columns.label}
    wanted |= {"data.split.column": columns.value} if columns.value else {}
    faults: list[str] = []
    for field, column in wanted.items():
        if column not in schema:
            near = did_you_mean(column, schema) or f"columns: {', '.join(schema)}"
            faults.append(f"{field}: expected a column of {path}, found {column!r}; {near}")
        elif fault := _fault_of_type(field, schema[column]):
            faults.append(f"{path}: column {column!r}: {fault}, found {schema[column]}")
    return faults


def _fault_of_type(field: str, kind: pl.DataType) -> str:
    import polars as pl

    if field == "data.image":
        inner = dict(kind).get("bytes") if isinstance(kind, pl.Struct) else kind
        return "" if inner == pl.Binary else "expected bytes or {bytes, path}"
    if field == "data.label":
        text = isinstance(kind, (pl.String, pl.Categorical, pl.Enum))
        return "" if text or kind.is_integer() else "expected text or whole numbers"
    return ""


def _items(
    rows: pl.DataFrame, path: Path, name: str, columns: Columns, *, first: int
) -> Iterator[Item]:
    """The pictures of some rows; a null label or one below 0 is none."""
    image, label, value, labels = columns
    for number, row in enumerate(rows.iter_rows(named=True), first):
        held = row[value] if value else None
        read = _Cell(row[image]).read
        yield Item(f"{name}:{number}", f"{path}:{number}", _label(row[label], labels), held, read)


def _label(value: Any, labels: tuple[str, ...]) -> str | None:
    """The name of a class; a number that has no name is its own."""
    if value is None or (isinstance(value, int) and value < 0):
        return None
    if isinstance(value, int) and value < len(labels):
        return labels[value]
    return str(value)
