"""Profiles: how the values of a table's columns are distributed, for people to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zafu.data.moments import Moments

if TYPE_CHECKING:
    import polars as pl

_TOP = 10  # values of a category that are shown
_LETTERS = 80  # of a value
_DECILES = np.linspace(0.0, 1.0, 11)


def of_columns(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """For each column its name, kind, missing values, and what describes the others.

    Of numbers: mean, std (division by n), min, max and eleven quantiles, the 0th to the 10th tenth.
    Of text: how many different values, and the ten commonest with how often each occurs.
    """
    return [_numbers(c) if c.dtype.is_numeric() else _text(c) for c in rows]


def _numbers(column: pl.Series) -> dict[str, Any]:
    values = column.drop_nulls().to_numpy()
    told = {"name": column.name, "kind": "number", "missing": column.null_count()}
    if not len(values):
        return told
    found = Moments.of(values)
    return told | {
        "mean": float(found.mean[0]),
        "std": float(found.std[0]),
        "min": float(found.low[0]),
        "max": float(found.high[0]),
        "quantiles": np.quantile(values, _DECILES).tolist(),
    }


def _text(column: pl.Series) -> dict[str, Any]:
    counts = column.drop_nulls().alias("value").value_counts()
    top = counts.sort(["count", "value"], descending=[True, False])[:_TOP]
    return {
        "name": column.name,
        "kind": "text",
        "missing": column.null_count(),
        "different": counts.height,
        "top": [[value[:_LETTERS], count] for value, count in top.iter_rows()],
    }
