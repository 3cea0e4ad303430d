"""Columns of a frame: chosen by name or by what suits, looked up, filled, and set beside others.

Text is compared without NULs at its end, which numpy's text arrays do not keep.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Literal

import numpy as np

from zafu.errors import DataError
from zafu.spec import did_you_mean, show

if TYPE_CHECKING:
    import polars as pl

    from zafu.features.contract import State

Holds = Literal["text", "numbers"]


def refuse(faults: Iterable[str]) -> None:
    """Raises DataError with all faults in one list, if there are any."""
    if listed := list(faults):
        many = f"{len(listed)} fault{'s' if len(listed) != 1 else ''}"
        raise DataError("\n".join([f"{many} in the data:", *(f"  {fault}" for fault in listed)]))


def choose(rows: pl.DataFrame, names: Sequence[str], holds: Holds) -> tuple[str, ...]:
    """The named columns, or without names all that hold text or numbers, in the frame's order.

    Raises DataError for each that is not there or holds something else, or if none suits.
    """
    numeric = {name: dtype.is_numeric() for name, dtype in rows.schema.items()}
    wanted = holds == "numbers"
    if not names:
        names = [name for name in rows.columns if numeric[name] == wanted]
        refuse([] if names else [f"expected a column of {holds}, found none"])
    refuse(
        [
            *absent(rows, names),
            *(
                f"column {name!r}: expected {holds}, found {'numbers' if there else 'text'}"
                for name in names
                if (there := numeric.get(name)) is not None and there != wanted
            ),
        ]
    )
    return tuple(names)


def absent(rows: pl.DataFrame, names: Iterable[str]) -> list[str]:
    """A fault for each name that is no column."""
    return [
        f"expected a column, found {show(name)}; "
        + (did_you_mean(name, rows.columns) or f"the columns are {', '.join(rows.columns)}")
        for name in names
        if name not in rows.columns
    ]


def foresee(rows: pl.DataFrame, gone: Collection[str], made: Sequence[str]) -> None:
    """Raises DataError that lists the names that would stand twice after a feature."""
    seen = {name for name in rows.columns if name not in gone}
    twice: list[str] = []
    for name in made:
        if name in seen:
            twice.append(name)
        seen.add(name)
    shown = ", ".join(map(repr, twice[:5])) + (", ..." if len(twice) > 5 else "")
    refuse([f"expected new names for new columns, found {shown} twice"] if twice else [])


def beside(
    rows: pl.DataFrame, gone: Collection[str], made: Mapping[str, np.ndarray | pl.Series]
) -> pl.DataFrame:
    """The rows without the columns that are gone and with those that were made, at the end."""
    import polars as pl

    foresee(rows, gone, list(made))
    left = [rows[name] for name in rows.columns if name not in gone]
    return pl.DataFrame([*left, *(pl.Series(name, values) for name, values in made.items())])


def numbered(prefix: str, count: int) -> list[str]:
    """The names `prefix.0`, `prefix.1` and so on."""
    return [f"{prefix}.{i}" for i in range(count)]


def comparable(column: pl.Series) -> pl.Series:
    """Texts without NULs at the end."""
    return column.str.strip_chars_end("\0")


def common(column: pl.Series, min_count: int) -> list[str]:
    """The texts that occur at least `min_count` times, sorted."""
    counts = comparable(column.drop_nulls()).value_counts()
    return sorted(counts.filter(counts["count"] >= min_count)[column.name])


def index(column: pl.Series, values: Sequence[str]) -> np.ndarray:
    """The place of each text in `values`, `(n,)` int64, -1 for what is not among them."""
    import polars as pl

    if not values:
        return np.full(len(column), -1, np.int64)
    places = np.arange(len(values))
    found = comparable(column).replace_strict(values, places, default=-1, return_dtype=pl.Int64)
    return found.fill_null(-1).to_numpy()


def means(rows: pl.DataFrame, names: Sequence[str]) -> np.ndarray:
    """The mean of each numeric column where it has values, `(k,)`.

    Raises DataError that lists the columns without any.
    """
    empty = [name for name in names if rows[name].null_count() == rows.height]
    refuse(f"column {name!r}: expected values in training, found none" for name in empty)
    return np.array([float(rows[name].drop_nulls().to_numpy().mean()) for name in names])


def filled(rows: pl.DataFrame, names: Sequence[str], fills: np.ndarray) -> np.ndarray:
    """The numeric columns with nulls filled, `(k, n)` float64."""
    out = np.empty((len(names), rows.height))
    for row, name, fill in zip(out, names, fills.tolist(), strict=True):
        row[:] = rows[name].fill_null(fill).to_numpy()
    return out


def texts(values: Sequence[str]) -> np.ndarray:
    """Texts as an array `(n,)` that is stored without pickle."""
    return np.array(values, dtype=np.str_)


def strings(state: State, key: str) -> list[str]:
    """The texts that a state holds under a key."""
    return [str(text) for text in state[key]]


def pack(lists: Sequence[Sequence[str]]) -> dict[str, np.ndarray]:
    """Lists of texts as arrays: all values one after the other, and the length of each list."""
    sizes = np.array([len(values) for values in lists], np.int64)
    return {"values": texts([text for values in lists for text in values]), "sizes": sizes}


def unpack(state: State) -> list[list[str]]:
    """The lists that `pack` took."""
    values, sizes = iter(strings(state, "values")), state["sizes"].tolist()
    return [list(islice(values, size)) for size in sizes]
