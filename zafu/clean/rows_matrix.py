"""Rows as one matrix of numbers, for the steps that look at all columns at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from zafu.errors import DataError
from zafu.spec import did_you_mean, show

if TYPE_CHECKING:
    import polars as pl

_VALUES = 32  # of a category that get a column of their own, the most frequent first


def matrix(rows: pl.DataFrame, target: str) -> np.ndarray:
    """All columns but the target, `(n, d)` float64 without nan.

    A missing number is the median, with a column of 0 and 1 that says so; each of a category's
    most frequent values is a column of 0 and 1. Columns that are constant are left out.
    """
    found: list[np.ndarray] = []
    for column in rows.drop(target):
        found += _numbers(column) if column.dtype.is_numeric() else _hot(column)
    varied = [values for values in found if np.ptp(values) > 0]
    return np.stack(varied, 1) if varied else np.zeros((rows.height, 0))


def numeric(rows: pl.DataFrame, target: str, named: Iterable[str]) -> list[str]:
    """The named columns, or without names all numeric ones but the target.

    Raises DataError that lists the named ones that are not there or hold no numbers.
    """
    numbers = [c.name for c in rows if c.dtype.is_numeric() and c.name != target]
    listed = list(named)
    faults = [
        f"expected a column of numbers, found {show(name)}; "
        + (did_you_mean(name, numbers) or f"the columns of numbers are {', '.join(numbers)}")
        for name in listed
        if name not in numbers
    ]
    if faults:
        raise DataError("\n".join(faults))
    return listed or numbers


def _numbers(column: pl.Series) -> list[np.ndarray]:
    missing = column.is_null().to_numpy()
    if missing.all():
        return []
    values = column.fill_null(column.median()).to_numpy()
    return [values, missing.astype(np.float64)]


def _hot(column: pl.Series) -> list[np.ndarray]:
    counts = column.drop_nulls().alias("value").value_counts()
    frequent = counts.sort(["count", "value"], descending=[True, False])["value"][:_VALUES]
    return [(column == value).fill_null(False).to_numpy().astype(np.float64) for value in frequent]
