"""Tables as they are read: files become one frame, its columns numbers or text, faults listed.

Rows are counted from 1 below the header, file by file, as messages name them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from zafu.data.files import refuse
from zafu.hashing import fingerprint, mix
from zafu.spec import did_you_mean, show

if TYPE_CHECKING:
    import polars as pl

SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson")
_MOSTLY = 0.9  # from this share of numbers on, a column of text is taken for numbers with faults


class Frame(NamedTuple):
    """Rows of one or several files below each other."""

    rows: pl.DataFrame
    files: tuple[tuple[str, int], ...]  # name and number of rows of each

    def place(self, row: int) -> str:
        """The file and row, from 1, where a row of the frame was read."""
        for name, height in self.files:
            if row < height:
                return f"{name} row {row + 1}"
            row -= height
        raise IndexError(row)


def read(paths: Sequence[Path], missing: Sequence[str]) -> Frame:
    """All files in one frame; texts in `missing` become nulls.

    Raises DataError that lists every file that cannot be read or has other columns.
    """
    import polars as pl

    frames: list[pl.DataFrame] = []
    faults: list[str] = []
    for path in paths:
        try:
            frames.append(_read_one(path, missing))
        except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError, ValueError) as error:
            faults.append(f"{path}: expected a table: {str(error).splitlines()[0]}")
            continue
        faults.extend(f"{path}: {fault}" for fault in _faults_of_header(frames[-1], frames[0]))
    refuse(faults)
    try:
        rows = pl.concat([f.select(frames[0].columns) for f in frames], how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        refuse([f"{', '.join(map(str, paths))}: columns of different types: {error}"])
        raise
    return Frame(rows, tuple((str(p), f.height) for p, f in zip(paths, frames, strict=True)))


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
    import polars as pl

    column = frame.rows[name]
    if column.dtype == pl.String:
        numbers = column.str.strip_chars().cast(pl.Float64, strict=False)
    elif column.dtype.is_numeric() or isinstance(column.dtype, (pl.Boolean, pl.Null)):
        numbers = column.cast(pl.Float64)
    else:
        return column, [f"column {name!r}: expected numbers, found {column.dtype}"]
    bad = (numbers.is_null() & column.is_not_null()) | numbers.is_infinite().fill_null(False)
    faults: list[str] = []
    if rows := bad.arg_true().to_list():
        more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
        faults.append(
            f"{frame.place(rows[0])}, column {name!r}: expected a number, found "
            f"{show(column[rows[0]])}{more}: correct it, name it in data.missing"
        )
    return numbers.fill_nan(None), faults


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


def _read_one(path: Path, missing: Sequence[str]) -> pl.DataFrame:
    import polars as pl

    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        separator = "," if suffix == ".csv" else "\t"
        table = pl.read_csv(path, separator=separator, infer_schema=False, glob=False)
    elif suffix == ".parquet":
        table = pl.read_parquet(path, glob=False)
    elif suffix in (".jsonl", ".ndjson"):
        table = pl.read_ndjson(path, infer_schema_length=None)
    else:
        raise ValueError(f"the name must end in one of {', '.join(SUFFIXES)}")
    if not table.height:
        raise ValueError("found no rows")
    texts = [name for name, dtype in table.schema.items() if dtype == pl.String]
    absent_text = pl.col(texts).is_in(list(missing))
    return table.with_columns(pl.when(absent_text).then(None).otherwise(pl.col(texts)).name.keep())


def _faults_of_header(table: pl.DataFrame, first: pl.DataFrame) -> list[str]:
    doubled = [name for name in table.columns if "_duplicated_" in name]
    lacking = [name for name in first.columns if name not in table.columns]
    extra = [name for name in table.columns if name not in first.columns]
    return [
        *(f"the column {name.split('_duplicated_')[0]!r} stands there twice" for name in doubled),
        *(f"expected the column {name!r} of the first file" for name in lacking),
        *(f"the first file has no column {name!r}" for name in extra),
    ]
