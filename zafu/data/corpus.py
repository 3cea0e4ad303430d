"""A corpus: sources of text as pieces of bounded size, read anywhere, in batches of documents.

How a source is cut changes neither the documents nor their ids nor their order. Nothing is held
but a batch, and one document of at most `lines.LONGEST` bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np
from pydantic import Field

from zafu.data import columnar
from zafu.data.columnar import COLUMNAR
from zafu.data.documents import (
    Document,
    Item,
    Lost,
    Part,
    Reading,
    absent,
    first_objects,
    form_of,
    header,
    items,
    separator,
)
from zafu.data.files import find, refuse
from zafu.data.ledger import Removed
from zafu.data.lines import Encoding, encoded, ranges, wide_encoding
from zafu.data.streams import need_for, stem
from zafu.errors import DataError, Fault
from zafu.spec import Spec, show

if TYPE_CHECKING:
    import polars as pl

PIECE = 8 * 2**20  # bytes of input
BATCH = 4 * 2**20  # bytes of text
_TABLES = ("json", "csv", *COLUMNAR)  # forms with columns


@final
class TextSource(Spec):
    """Files of text: plain, jsonl, CSV, Parquet or Arrow, compressed or in archives."""

    files: tuple[str, ...] = Field(min_length=1)
    """Globs of files; after stdlib:, package:NAME/ or get:NAME/ below these places."""
    text: str = Field(default="text", min_length=1)
    """The column that holds the text, in files that have columns."""
    delimiter: str = ""
    """Text between the documents of a plain file; empty: each file is one document."""
    encoding: Encoding = "utf-8"
    """Encoding of plain text, jsonl and CSV; auto: the byte order mark's, else UTF-8, else cp1252
    (for each document)."""
    weight: float | None = Field(default=None, gt=0)
    """Share of the training samples in a mixture, above 0, relative to the other sources'."""

    def check(self) -> Iterable[Fault]:
        """A delimiter must be there in the encoding."""
        try:
            encoded(self.delimiter, self.encoding)
        except UnicodeEncodeError:
            yield Fault("delimiter", f"text that {self.encoding} can spell", show(self.delimiter))


@dataclass(frozen=True)
class Piece:
    """What is read at once: small files, one file, or a range of a big one."""

    source: int  # the position of its source
    how: Reading
    parts: tuple[Part, ...]


class Documents(NamedTuple):
    """A batch of documents, and the items that came between them and could not be read."""

    rows: pl.DataFrame  # id String, text String (perhaps empty), key String or null, source UInt16
    removed: tuple[Removed, ...]
    faults: tuple[str, ...]  # for each of the removed: where, what was expected, found, what to do


def pieces(
    sources: Sequence[TextSource], *, column: str | None = None, size: int = PIECE
) -> list[Piece]:
    """The sources, in order, in pieces of about `size` bytes.

    Big files of lines are read once for that, as their lines must be counted. Raises DataError with
    all globs that match nothing and all files without the columns that are asked for (`text`, and
    `column`, whose value goes along); what else cannot be read is found when it is read.
    """
    found: list[Piece] = []
    faults: list[str] = []
    for index, source in enumerate(sources):
        how = Reading(source.text, column, source.delimiter, source.encoding)
        try:
            files = [Part(name, path, form_of(name)) for name, path in find(source.files)]
        except DataError as error:
            faults.extend(line.strip() for line in str(error).split("\n")[1:])
            continue
        need_for(part.name for part in files)
        faults.extend(_settings_without_effect(f"data.mixture.{index}", source, files))
        faults.extend(fault for part in files for fault in _faults(part, how))
        cut = (cut for part in files for cut in _cut(part, how, size))
        found.extend(Piece(index, how, group) for group in _grouped(cut, size))
    refuse(faults)
    return found


def read(piece: Piece) -> Iterator[Documents]:
    """The documents of a piece, in order, in batches of about `BATCH` bytes of text."""
    for in_columns, parts in groupby(piece.parts, lambda part: part.form in COLUMNAR):
        if in_columns:
            for part in parts:
                for found in columnar.rows(part, piece.how):
                    yield from _batches(found, piece.source)
        else:
            found = (item for part in parts for item in items(part, piece.how))
            yield from _gathered(found, piece.source)


def _gathered(found: Iterable[Item], source: int) -> Iterator[Documents]:
    columns = _Columns([], [], [])
    lost: list[Lost] = []
    letters = 0
    for item in found:
        if isinstance(item, Document):
            columns.id.append(item.id)
            columns.text.append(item.text)
            columns.key.append(item.key)
            letters += len(item.text)
        else:
            lost.append(item)
            letters += len(item.message) + len(item.content)
        if letters >= BATCH:
            yield _batch(_frame(columns), lost, source)
            columns, lost, letters = _Columns([], [], []), [], 0
    if columns.id or lost:
        yield _batch(_frame(columns), lost, source)


def _batches(found: columnar.Rows, source: int) -> Iterator[Documents]:
    """Rows of a table, which may hold much text, in batches."""
    ends = found.documents["text"].str.len_bytes().cum_sum().to_numpy() // BATCH
    starts = np.flatnonzero(np.diff(ends, prepend=-1)).tolist() or [0]
    for start, stop in zip(starts, [*starts[1:], found.documents.height], strict=True):
        lost = found.lost if start == 0 else []
        if lost or stop > start:
            yield _batch(found.documents[start:stop], lost, source)


class _Columns(NamedTuple):
    """Documents that came so far; as many tuples would keep the garbage collector busy."""

    id: list[str]
    text: list[str]
    key: list[str | None]


def _frame(columns: _Columns) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame(columns._asdict(), schema=dict.fromkeys(_Columns._fields, pl.String))


def _batch(rows: pl.DataFrame, lost: list[Lost], source: int) -> Documents:
    import polars as pl

    return Documents(
        rows.with_columns(pl.lit(source, pl.UInt16).alias("source")),
        tuple(Removed(item.id, item.reason, item.content) for item in lost),
        tuple(item.message for item in lost),
    )


def _settings_without_effect(
    where: str, source: TextSource, files: Sequence[Part]
) -> Iterator[str]:
    """Faults of what is set for files of a form that is not among them."""
    forms = {part.form for part in files}
    if source.delimiter and not forms & {"plain", "archive"}:
        yield f"{where}.delimiter: expected plain text files, found {', '.join(sorted(forms))}"
    if source.text != "text" and not forms & {*_TABLES, "archive"}:
        yield f"{where}.text: expected files with columns, found plain text"
    if source.encoding != "utf-8" and not forms & {"plain", "json", "csv", "archive"}:
        yield f"{where}.encoding: expected plain text, .jsonl or .csv, found {', '.join(forms)}"


def _faults(part: Part, how: Reading) -> list[str]:
    """What is wrong with a file's form and columns, as far as its beginning shows."""
    if part.form in COLUMNAR:
        if ending := stem(part.name)[1]:
            return [f"{part.path}: expected it as it is, found it in {ending}: unpack it"]
        return columnar.faults(part, how)
    wanted = [name for name in (how.text, how.column) if name is not None]
    try:
        if part.form == "json" and (first := first_objects(part, how)):
            known = list(dict.fromkeys(name for value in first for name in value))
        elif part.form == "csv":
            known = header(part, how)
        elif part.form == "plain" and how.column is not None:
            return [f"{part.path}: expected the column {show(how.column)}, found plain text"]
        else:
            return []
    except (DataError, OSError):
        return []
    return [absent(name, known, str(part.path)) for name in wanted if name not in known]


def _cut(part: Part, how: Reading, size: int) -> list[Part]:
    if part.form in COLUMNAR:
        return columnar.parts(part, size)
    between = separator(part.form, how)
    if not between or stem(part.name)[1] or part.path.stat().st_size <= size:
        return [part]
    try:
        with part.path.open("rb") as file:
            if how.encoding == "auto" and wide_encoding(file.read(4)):
                return [part]
            file.seek(0)
            cut = list(ranges(file, between, size))
    except OSError:
        return [part]
    return [replace(part, start=r.start, stop=r.stop, first=r.first) for r in cut]


def _grouped(parts: Iterable[Part], size: int) -> Iterator[tuple[Part, ...]]:
    """Small whole files together; all else by itself."""
    group: list[Part] = []
    held = 0
    for part in parts:
        small = _bytes_of(part.path) if _is_small(part) else size
        if group and held + small > size:
            yield tuple(group)
            group, held = [], 0
        group.append(part)
        held += small
    if group:
        yield tuple(group)


def _is_small(part: Part) -> bool:
    """Whether a file may share a piece with others: what unpacks to more than it is may not."""
    whole = part.stop is None and not stem(part.name)[1]
    return whole and part.form not in (*COLUMNAR, "archive")


def _bytes_of(path: Path) -> int:
    return path.stat().st_size
