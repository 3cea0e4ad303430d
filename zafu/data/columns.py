"""What a table's training rows teach about its columns, and how any row is encoded by it.

Numbers: z-scores as scikit-learn's StandardScaler defines them (division by n), or [0, 1]; a
missing one becomes the mean, and where training rows lack some a column of 0 and 1 says so.
Categories: an index each, 0 for what is missing, rare or new.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from pydantic import Field

from zafu.spec import Spec

if TYPE_CHECKING:
    import polars as pl

    from zafu.signature import Columns

Normalize = Literal["z-score", "min-max", "none"]
ABSENT = -100  # the class of a row whose target is not known; for numbers it is nan


class Number(Spec):
    """A numeric column: (value - center) / scale."""

    name: str
    fill: float
    """The mean, which stands for a missing value."""
    center: float
    scale: float = Field(gt=0)
    indicator: bool
    """Whether a column of its own says where a value is missing."""


class Category(Spec):
    """A column of names: the index of a value is its place here plus 1."""

    name: str
    values: tuple[str, ...]


class Target(Spec):
    """The column to predict: classes by label, or a number as (value - mean) / scale."""

    name: str
    labels: tuple[str, ...] = ()
    mean: float = 0.0
    scale: float = Field(default=1.0, gt=0)


class Fitted(Spec):
    """All that is fitted on the training rows of a table: `transform/columns.json`."""

    numbers: tuple[Number, ...]
    categories: tuple[Category, ...]
    target: Target

    def inputs(self) -> Columns:
        """The shape of an encoded row."""
        from zafu.signature import Columns

        indicators = sum(number.indicator for number in self.numbers)
        sizes = tuple(len(category.values) + 1 for category in self.categories)
        return Columns(numbers=len(self.numbers) + indicators, categories=sizes)


class Encoded(NamedTuple):
    """Rows as arrays."""

    numbers: np.ndarray  # (rows, numbers) float32: the columns, then the indicators
    categories: np.ndarray  # (rows, categories) int64
    targets: np.ndarray  # (rows,) int64, or (rows, 1) float32


def fit_number(column: pl.Series, normalize: Normalize) -> Number:
    """The statistics of float64 values with nulls; at least one is there."""
    values = column.drop_nulls().to_numpy()
    mean, low = float(values.mean()), float(values.min())
    if normalize == "z-score":
        center, scale = mean, spread(values)
    elif normalize == "min-max":
        center, scale = low, float(values.max()) - low
    else:
        center, scale = 0.0, 1.0
    indicator = len(values) < len(column)
    return Number(
        name=column.name, fill=mean, center=center, scale=scale or 1.0, indicator=indicator
    )


def fit_category(column: pl.Series, min_count: int) -> Category:
    """The values that occur at least `min_count` times, sorted."""
    counts = column.drop_nulls().value_counts()
    common = counts.filter(counts["count"] >= min_count)[column.name]
    return Category(name=column.name, values=tuple(sorted(common)))


def fit_target(train: pl.Series, everywhere: pl.Series) -> tuple[Target, list[str]]:
    """Classes of a text column or statistics of a float64 one, and the faults of it."""
    if train.dtype.is_numeric():
        values = train.to_numpy()
        scale = spread(values)
        faults = [] if scale else [f"column {train.name!r}: is constant in the training rows"]
        return Target(name=train.name, mean=float(values.mean()), scale=scale or 1.0), faults
    labels = _ordered(train)
    faults = [f"column {train.name!r}: is constant in the training rows"] * (len(labels) < 2)
    if unseen := [label for label in _ordered(everywhere) if label not in labels]:
        shown = ", ".join(map(repr, unseen[:10])) + (", ..." if len(unseen) > 10 else "")
        faults.append(
            f"column {train.name!r}: expected every class among the training rows, found only "
            f"elsewhere {len(unseen)} of {len(unseen) + len(labels)}: {shown}; add rows of these "
            "classes, or leave them out, or use the task regression if they are quantities"
        )
    return Target(name=train.name, labels=labels), faults


def spread(values: np.ndarray) -> float:
    """The standard deviation (division by n), 0 where it is nothing but rounding."""
    deviation = float(values.std())
    rounding = 10 * np.finfo(np.float64).eps * float(np.abs(values).max(initial=0.0))
    return deviation if deviation > rounding else 0.0


def encode(fitted: Fitted, rows: pl.DataFrame) -> Encoded:
    """Rows whose columns are float64 or text, in float32 and indices; targets may be absent."""
    numbers = [_scaled(number, rows[number.name]) for number in fitted.numbers]
    missing = [rows[n.name].is_null().to_numpy() for n in fitted.numbers if n.indicator]
    indices = [_indices(c.values, rows[c.name], 1, 0) for c in fitted.categories]
    return Encoded(
        _beside([*numbers, *missing], rows.height, np.float32),
        _beside(indices, rows.height, np.int64),
        _targets(fitted.target, rows),
    )


def _ordered(column: pl.Series) -> tuple[str, ...]:
    """The different values in order: as numbers if all are numbers, else as text."""
    names = sorted(column.drop_nulls().unique())
    try:
        return tuple(sorted(names, key=float))
    except ValueError:
        return tuple(names)


def _targets(target: Target, rows: pl.DataFrame) -> np.ndarray:
    known = target.name in rows.columns
    if target.labels:
        if not known:
            return np.full(rows.height, ABSENT, np.int64)
        return _indices(target.labels, rows[target.name], 0, ABSENT)
    if not known:
        return np.full((rows.height, 1), np.nan, np.float32)
    values = rows[target.name].fill_null(float("nan")).to_numpy()
    return ((values - target.mean) / target.scale).astype(np.float32)[:, None]


def _scaled(number: Number, column: pl.Series) -> np.ndarray:
    return (column.fill_null(number.fill).to_numpy() - number.center) / number.scale


def _indices(values: Sequence[str], column: pl.Series, first: int, unknown: int) -> np.ndarray:
    index = {value: first + i for i, value in enumerate(values)}
    return np.array([index.get(value, unknown) for value in column], np.int64)


def _beside(columns: list[np.ndarray], rows: int, dtype: type) -> np.ndarray:
    return np.stack(columns, 1).astype(dtype) if columns else np.zeros((rows, 0), dtype)
