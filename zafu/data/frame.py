"""Tables as they are read: files become one frame, its columns numbers or text, faults listed.

CSV, TSV, JSON lines (these also .gz or .zst), Parquet and Arrow, as in a folder that `datasets`
saved. Rows are counted from 1 below the header, file by file, as messages and ids name them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from zafu.data.arrow import is_stream
from zafu.data.files import refuse
from zafu.hashing import fingerprint, mix
from zafu.spec import did_you_mean, show

if TYPE_CHECKING:
    import polars as pl

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".arrow")
PACKED = (".gz", ".zst")  # after the first four
_MOSTLY = 0.9  # from this share of numbers on, a column of text is taken for numbers with faults


class Part(NamedTuple):
    """Rows of one file."""

    place: str  # as messages name the file
    name: str  # as ids name it: the same on every machine
    rows: pl.DataFrame


class Frame(NamedTuple):
    """Rows of one or several files below each other."""

    rows: pl.DataFrame
    files: tuple[tuple[str, int], ...]  # name and number of rows of each
    names: tuple[str, ...] = ()  # of each in ids

    def place(self, row: int) -> str:
        """The file and row, from 1, where a row of the frame was read."""
        for name, height in self.files:
            if row < height:
                return f"{name} row {row + 1}"
            row -= height
        raise IndexError(row)

    def ids(self) -> pl.Series:
        """The id of each row, `(n,)` String: NAME:ROW, rows counted from 1."""
        import polars as pl

        parts = [
            name + ":" + pl.int_range(1, height + 1, eager=True).cast(pl.String)
            for name, (_, height) in zip(self.names, self.files, strict=True)
        ]
        return pl.concat(parts).alias("id")


def read(
    paths: Sequence[Path],
    missing: Sequence[str],
    *,
    names: Sequence[str] | None = None,
    after: Sequence[Part] = (),
) -> Frame:
    """All files in one frame, then further parts; ids get the files' `names`.

    Texts in `missing` become nulls. Raises DataError that lists every file that cannot be read or
    has other columns.
    """
    parts: list[Part] = []
    faults: list[str] = []
    for path, name in zip(paths, names or [p.name for p in paths], strict=True):
        try:
            parts.append(Part(str(path), name, _read_one(path)))
        except (*_unreadable(), OSError, ValueError) as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            faults.append(f"{path}: expected a table: {first}")
    return stacked([*parts, *after], missing, faults)


def stacked(parts: Sequence[Part], missing: Sequence[str], faults: Iterable[str] = ()) -> Frame:
    """All parts in one frame, in order; texts in `missing` become nulls.

    Raises DataError that lists `faults` and every part that has other columns than the first.
    """
    import polars as pl

    listed = list(faults)
    for part in parts:
        listed.extend(f"{part.place}: {fault}" for fault in _faults_of_header(part, parts[0]))
    refuse(listed)
    columns = parts[0].rows.columns
    try:
        rows = pl.concat([part.rows.select(columns) for part in parts], how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        places = ", ".join(part.place for part in parts)
        refuse([f"{places}: columns of different types: {error}"])
        raise
    texts = [name for name, dtype in rows.schema.items() if dtype == pl.String]
    absent_text = pl.col(texts).is_in(list(missing))
    rows = rows.with_columns(pl.when(absent_text).then(None).otherwise(pl.col(texts)).name.keep())
    files = tuple((part.place, part.rows.height) for part in parts)
    return Frame(rows, files, tuple(part.name for part in parts))


def absent(names: Iterable[str], frame: Frame, where: str) -> list[str]:
    """A fault, found at `where`, for each name that is no column."""
    known = frame.rows.columns
    return [
        f"{where}: expected a column, found {show(name)}; "
        + (did_you_mean(name, known) or f"the columns are {', '.join(known)}")
        for name in names
        if name not in known
    ]


def is_number(frame: Frame, name: str) -> tuple[bool, list[str]]:
    """Whether a column holds numbers, by its type or because all its texts are numbers."""
    import polars as pl

    column = frame.rows[name]
    if column.dtype.is_numeric():
        return True, []
    if isinstance(column.dtype, (pl.Boolean, pl.Categorical, pl.Enum)):
        return False, []
    if column.null_count() == len(column):
        return False, [f"column {name!r}: expected values, found none: name it in data.ignore"]
    if column.dtype != pl.String:
        advice = "name it in data.ignore or data.categorical"
        return False, [f"column {name!r}: expected numbers or text, found {column.dtype}: {advice}"]
    numbers = column.str.strip_chars().cast(pl.Float64, strict=False)
    share = numbers.count() / column.count()
    if _MOSTLY <= share < 1:
        _, faults = as_numbers(frame, name)
        return True, [f"{fault}, or name the column in data.categorical" for fault in faults]
    return share == 1, []


def as_numbers(frame: Frame, name: str) -> tuple[pl.Series, list[str]]:
    """A column as float64, null where a value is missing; a fault names the first bad row."""
    column = frame.rows[name]
    if not _may_be_numbers(column):
        return column, [f"column {name!r}: expected numbers, found {column.dtype}"]
    numbers, bad = parsed(column)
    faults: list[str] = []
    if rows := bad.arg_true().to_list():
        more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
        faults.append(
            f"{frame.place(rows[0])}, column {name!r}: expected a number, found "
            f"{show(column[rows[0]])}{more}: correct it, name it in data.missing"
        )
    return numbers, faults


def parsed(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    """A column as float64, null where there is no finite number, and where one was expected."""
    import polars as pl

    if column.dtype == pl.String:
        numbers = column.str.strip_chars().cast(pl.Float64, strict=False)
    else:
        numbers = column.cast(pl.Float64)
    infinite = numbers.is_infinite().fill_null(False)
    bad = (numbers.is_null() & column.is_not_null()) | infinite
    return numbers.fill_nan(None), bad


def unreadable(frame: Frame, names: Iterable[str]) -> pl.Series:
    """Why a row cannot be read, `(n,)` String: the first column without the number it should have.

    Null where all numbers of the named columns can be read or are missing.
    """
    import polars as pl

    reasons = pl.repeat(None, frame.rows.height, dtype=pl.String, eager=True).alias("reasons")
    for name in names:
        column = frame.rows[name]
        if _may_be_numbers(column) and (bad := parsed(column)[1]).any():
            said = pl.when(bad).then(pl.lit(f"column {name!r}: no number"))
            reasons = pl.select(pl.coalesce(reasons, said.otherwise(None))).to_series()
    return reasons


def as_text(frame: Frame, name: str) -> tuple[pl.Series, list[str]]:
    """A column as text, null where a value is missing."""
    import polars as pl

    column = frame.rows[name]
    if column.dtype.is_nested() or isinstance(column.dtype, (pl.Binary, pl.Object)):
        return column, [f"column {name!r}: expected text, found {column.dtype}"]
    if column.dtype.is_float():
        column = column.fill_nan(None)
    return column.cast(pl.String), []


def row_prints(rows: pl.DataFrame) -> np.ndarray:
    """A fingerprint of each row of numbers and texts, `(rows,)` uint64, by name and value."""
    import polars as pl

    prints = np.zeros(rows.height, np.uint64)
    for name in sorted(rows.columns):
        column = rows[name]
        if column.dtype == pl.String:
            known = {value: fingerprint((value or "\0").encode()) for value in column.unique()}
            values = np.array([known[value] for value in column], np.uint64)
        else:
            numbers = column.fill_null(float("nan")).to_numpy() + 0.0  # -0.0 becomes 0.0
            values = numbers.view(np.uint64)
        prints = mix(prints ^ mix(values ^ np.uint64(fingerprint(name.encode()))))
    return prints


def _may_be_numbers(column: pl.Series) -> bool:
    import polars as pl

    dtype = column.dtype
    return dtype.is_numeric() or isinstance(dtype, (pl.String, pl.Boolean, pl.Null))


def form(path: Path) -> str:
    """The suffix that says how a file is written, without that of its compression."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in PACKED else suffix


def _read_one(path: Path) -> pl.DataFrame:
    import polars as pl

    packed = path.suffix.lower() in PACKED
    match form(path):
        case ".csv":
            table = pl.read_csv(path, infer_schema=False, glob=False)
        case ".tsv":
            table = pl.read_csv(path, separator="\t", infer_schema=False, glob=False)
        case ".jsonl" | ".ndjson":
            table = pl.read_ndjson(path, infer_schema_length=None)
        case ".parquet" if not packed:
            table = pl.read_parquet(path, glob=False)
        case ".arrow" if not packed:  # a stream, as `datasets` keeps it, or with a footer
            table = pl.read_ipc_stream(path) if is_stream(path) else pl.read_ipc(path)
        case _:
            text = ", ".join(SUFFIXES)
            raise ValueError(f"the name must end in one of {text}, the first four also .gz or .zst")
    if not table.height:
        raise ValueError("found no rows")
    return table


def _unreadable() -> tuple[type[BaseException], ...]:
    """What polars raises on a damaged file; its panics are no Exceptions."""
    import polars as pl

    return pl.exceptions.PolarsError, pl.exceptions.PanicException


def _faults_of_header(part: Part, first: Part) -> list[str]:
    found, known = part.rows.columns, first.rows.columns
    doubled = [name for name in found if "_duplicated_" in name]
    return [
        *(f"the column {name.split('_duplicated_')[0]!r} stands there twice" for name in doubled),
        *(f"expected the column {name!r} of the first file" for name in known if name not in found),
        *(f"the first file has no column {name!r}" for name in found if name not in known),
    ]
