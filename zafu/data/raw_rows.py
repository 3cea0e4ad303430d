"""Raw rows: the columns of held-out rows as they were read, to judge parts of a split apart.

Columns that the recipe ignores are there too: what a model may not use is often what its answers
should be compared by.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import polars as pl

    from zafu.data.frame import Frame

NAME = "rows.parquet"


def write(folder: Path, table: Frame, ids: pl.Series) -> None:
    """Write the raw rows with these ids, in their order, into a split's folder."""
    place = {id_: row for row, id_ in enumerate(table.ids().to_list())}
    rows = table.rows[[place[id_] for id_ in ids.to_list()]]
    _plain(rows).write_parquet(folder / NAME)


def read(folder: Path) -> dict[str, np.ndarray]:
    """The columns that `write` wrote, `(rows,)` each; none where nothing was written."""
    import polars as pl

    file = folder / NAME
    return columns(pl.read_parquet(file, glob=False)) if file.is_file() else {}


def columns(rows: pl.DataFrame) -> dict[str, np.ndarray]:
    """Each plain column: float64 with nan for what is missing, or texts and None."""
    return {
        column.name: column.fill_null(float("nan")).to_numpy()
        if column.dtype.is_float()
        else np.array(column.to_list(), object)
        for column in _plain(rows)
    }


def _plain(rows: pl.DataFrame) -> pl.DataFrame:
    """Columns of one value a row, as numbers where all are, else as text, however they came."""
    import polars as pl

    found: list[pl.Series] = []
    for column in rows:
        if column.dtype.is_nested() or isinstance(column.dtype, (pl.Binary, pl.Object)):
            continue
        texts = column.cast(pl.String)
        numbers = texts.str.strip_chars().cast(pl.Float64, strict=False)
        numeric = numbers.null_count() == texts.null_count() < len(texts)
        found.append(numbers if numeric else texts)
    return pl.DataFrame(found)
