"""Documents of Parquet and Arrow files: rows of a column of text, a bounded number at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from zafu.data import arrow
from zafu.data.documents import ADVICE, Lost, Part, Reading, absent, printable, unreadable
from zafu.errors import DataError

if TYPE_CHECKING:
    import polars as pl

COLUMNAR = ("parquet", "arrow")
_AT_ONCE = 2**20  # bytes of Parquet that are read at once
_ROWS = 65536  # rows that are read at once, at most


class Rows(NamedTuple):
    """Some rows of a file."""

    documents: pl.DataFrame  # id, text and key
    lost: list[Lost]


def parts(part: Part, size: int) -> list[Part]:
    """A file in parts of about `size` bytes; as it is where it cannot be read."""
    try:
        return _parts_of_stream(part, size) if _is_stream(part) else _parts_of_table(part, size)
    except _errors():
        return [part]


def faults(part: Part, how: Reading) -> list[str]:
    """What is wrong with the columns of a file that can be read."""
    import polars as pl

    try:
        schema = _schema(part)
    except _errors():
        return []
    named = [name for name in (how.text, how.column) if name is not None]
    found = [absent(name, schema.names(), str(part.path)) for name in named if name not in schema]
    texts = (pl.String, pl.Categorical, pl.Enum)
    if not isinstance(found_type := schema.get(how.text, pl.String()), texts):
        what = f"column {how.text!r}: expected text, found {found_type}"
        found.append(f"{part.path}, {what}")
    if how.column and (found_type := schema.get(how.column, pl.String())).is_nested():
        what = f"column {how.column!r}: expected a value, found {found_type}"
        found.append(f"{part.path}, {what}")
    return found


def rows(part: Part, how: Reading) -> Iterator[Rows]:
    """The documents of a part, in order; the last holds why it could not be read to its end."""
    import polars as pl

    columns = list(dict.fromkeys(name for name in (how.text, how.column) if name is not None))
    number = part.first
    found = _frames(part, columns)
    while True:
        try:
            frame = next(found, None)
        except _errors() as error:
            none = pl.DataFrame(schema=dict.fromkeys(("id", "text", "key"), pl.String))
            yield Rows(none, [unreadable(part.name, str(part.path), error)])
            return
        if frame is None:
            return
        yield _named(frame, number, part, how)
        number += frame.height


def _is_stream(part: Part) -> bool:
    return part.form == "arrow" and arrow.is_stream(part.path)


def _table(part: Part) -> pl.LazyFrame:
    import polars as pl

    scan = pl.scan_parquet if part.form == "parquet" else pl.scan_ipc
    return scan(part.path, glob=False)


def _height(table: pl.LazyFrame) -> int:
    import polars as pl

    return int(table.select(pl.len()).collect().item())


def _parts_of_table(part: Part, size: int) -> list[Part]:
    count = _height(_table(part))
    step = _rows_of(size, part.path, count)
    return [
        Part(part.name, part.path, part.form, start, min(start + step, count), start + 1)
        for start in range(0, count, step)
    ]


def _rows_of(size: int, path: Path, count: int) -> int:
    """About how many of a file's rows are this many of its bytes."""
    return max(1, count * size // max(1, path.stat().st_size))


def _parts_of_stream(part: Part, size: int) -> list[Part]:
    cut: list[Part] = []
    start, stop, first = 0, 0, 1
    for block in arrow.blocks(part.path):
        if block.start - start >= size:
            cut.append(Part(part.name, part.path, part.form, start, block.start, first))
            start, first = block.start, block.first
        stop = block.start + block.size
    return [*cut, Part(part.name, part.path, part.form, start, stop, first)]


def _frames(part: Part, columns: list[str]) -> Iterator[pl.DataFrame]:
    """The rows of a part, some at a time: polars reads no more pages than a slice needs."""
    if _is_stream(part):
        stop = part.path.stat().st_size if part.stop is None else part.stop
        yield from arrow.frames(part.path, columns, part.start, stop)
        return
    table = _table(part)
    count = _height(table)
    stop = count if part.stop is None else part.stop
    step = min(_ROWS, _rows_of(_AT_ONCE, part.path, count))
    for start in range(part.start, stop, step):
        yield table.select(columns).slice(start, min(step, stop - start)).collect()


def _schema(part: Part) -> pl.Schema:
    return arrow.schema(part.path) if _is_stream(part) else _table(part).collect_schema()


def _named(frame: pl.DataFrame, number: int, part: Part, how: Reading) -> Rows:
    """The rows with an id each, but those without text."""
    import polars as pl

    name = printable(part.name)
    ids = pl.int_range(number, number + frame.height, eager=True).cast(pl.String)
    key = pl.col(how.column) if how.column else pl.lit(None)
    columns = {"text": pl.col(how.text), "key": key}
    named = frame.select(
        (f"{name}:" + ids).alias("id"), **{n: c.cast(pl.String) for n, c in columns.items()}
    )
    empty = named["text"].is_null()
    said = f"expected text in the column {how.text!r}, found nothing"
    lost = [
        Lost(id_, "no text", f"{part.path}{id_[len(name) :]}: {said}; {ADVICE}")
        for id_ in named.filter(empty)["id"]
    ]
    return Rows(named.filter(~empty), lost)


def _errors() -> tuple[type[BaseException], ...]:
    """What reading a damaged file raises; polars' panics are no Exceptions."""
    import polars as pl

    return DataError, OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException
