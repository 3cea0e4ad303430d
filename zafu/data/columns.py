"""What a table's training rows teach about its columns, and how any row is encoded by it.

Numbers: on a scale of `normalize.py`; a missing one becomes the mean, and where training rows lack
some a column of 0 and 1 says so. Categories: an index each, 0 for what is missing, rare or new.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import Field

from zafu.data import normalize
from zafu.data.files import refuse
from zafu.data.moments import Moments
from zafu.data.normalize import Normalize, Scaler
from zafu.data.smote import Rows, Smote, made
from zafu.spec import Spec, did_you_mean, show

if TYPE_CHECKING:
    import polars as pl

    from zafu.data.frame import Frame
    from zafu.signature import Columns

ABSENT = -100  # the class of a row whose target is not known; for numbers it is nan


class Scales(Spec):
    """A scale for most columns of numbers, and another for some."""

    default: Normalize = "z-score"
    """Scale of the columns that are not named."""
    columns: dict[str, Normalize]
    """Scales by the name of the column."""

    def of(self, name: str) -> Normalize:
        """The scale of a column."""
        return self.columns.get(name, self.default)


class Read(Spec):
    """A column as a file must have it."""

    name: str
    number: bool
    """Whether it holds numbers; else it is text."""


class Number(Spec):
    """A numeric column on its scale."""

    name: str
    fill: float
    """The mean, which stands for a missing value."""
    scaler: Scaler
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

    reads: tuple[Read, ...]
    """The columns that new rows must have, before features are made of them."""
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


def fit(
    train: pl.DataFrame, scales: Normalize | Scales, min_count: int
) -> tuple[tuple[Number, ...], tuple[Category, ...], list[str]]:
    """What training rows, of float64 or text, teach of their columns, and the faults of these."""
    numbers: list[Number] = []
    categories: list[Category] = []
    faults = [] if isinstance(scales, str) else _unknown(scales, train)
    for column in train:
        where = f"column {column.name!r}"
        if not column.dtype.is_numeric():
            categories.append(fit_category(column, min_count))
            if not categories[-1].values:
                faults.append(
                    f"{where}: expected a value in at least {min_count} "
                    "training rows (data.min_count), found none: name it in data.ignore"
                )
        elif column.null_count() == len(column):
            faults.append(f"{where}: expected values in training, found none")
        else:
            kind = scales if isinstance(scales, str) else scales.of(column.name)
            try:
                numbers.append(fit_number(column, kind))
            except ValueError:
                largest = f"{column.abs().max():.3g}"
                faults.append(f"{where}: expected numbers with a spread, found up to {largest}")
    return tuple(numbers), tuple(categories), faults


def _unknown(scales: Scales, train: pl.DataFrame) -> list[str]:
    """A fault for each column that gets a scale and that is no number."""
    known = [column.name for column in train if column.dtype.is_numeric()]
    return [
        f"data.normalize.columns: expected a column of numbers, found {show(name)}; "
        + (did_you_mean(name, known) or f"they are {', '.join(known)}")
        for name in scales.columns
        if name not in known
    ]


def fit_number(column: pl.Series, kind: Normalize) -> Number:
    """The statistics of float64 values with nulls; at least one is there.

    Raises ValueError if they are so large that their mean or spread is no number.
    """
    values = column.drop_nulls().to_numpy()
    return Number(
        name=column.name,
        fill=float(Moments.of(values).mean[0]),
        scaler=normalize.fit(kind, values),
        indicator=len(values) < len(column),
    )


def fit_category(column: pl.Series, min_count: int) -> Category:
    """The values that occur at least `min_count` times, sorted."""
    counts = column.drop_nulls().alias("value").value_counts()
    common = counts.filter(counts["count"] >= min_count)["value"]
    return Category(name=column.name, values=tuple(sorted(common)))


def fit_target(train: pl.Series, everywhere: pl.Series) -> tuple[Target, list[str]]:
    """Classes of a text column or statistics of a float64 one, and the faults of it."""
    if train.dtype.is_numeric():
        found = Moments.of(train.to_numpy())
        mean, scale = float(found.mean[0]), float(found.std[0])
        faults = [] if scale else [f"column {train.name!r}: is constant in the training rows"]
        return Target(name=train.name, mean=mean, scale=scale or 1.0), faults
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


def encode(fitted: Fitted, rows: pl.DataFrame) -> Encoded:
    """Rows whose columns are float64 or text, in float32 and indices; targets may be absent."""
    numbers = [n.scaler.apply(filled(rows[n.name], n.fill)) for n in fitted.numbers]
    missing = [rows[n.name].is_null().to_numpy() for n in fitted.numbers if n.indicator]
    indices = [_indices(c.values, rows[c.name], 1, 0) for c in fitted.categories]
    return Encoded(
        _beside([*numbers, *missing], rows.height, np.float32),
        _beside(indices, rows.height, np.int64),
        _targets(fitted.target, rows),
    )


def interface(fitted: Fitted) -> dict[str, Any]:
    """How a row becomes what a model reads, column by column, as plain data."""
    numbers = [
        {
            "column": number.name,
            "missing_becomes": number.fill,
            **(
                {"place_among": number.scaler.quantiles, "as_normal": number.scaler.normal}
                if number.scaler.quantiles
                else {"subtract": number.scaler.center, "then_divide": number.scaler.scale}
            ),
        }
        for number in fitted.numbers
    ]
    gaps = [{"column": n.name, "is_missing": "1, else 0"} for n in fitted.numbers if n.indicator]
    names = [{"column": c.name, "values": c.values, "first": 1} for c in fitted.categories]
    rule = "the place of the value in `values`, counted from `first`; missing or unknown: 0"
    return {"kind": "row", "numbers": [*numbers, *gaps], "categories": names, "index": rule}


def enlarged(
    fitted: Fitted, rows: Encoded, smote: Smote, *, seed: int
) -> tuple[Encoded, dict[str, int]]:
    """The rows and, after them, those made up for rarer classes; how many by label.

    Raises DataError that names the classes which have too few rows to make more of.
    """
    labels = fitted.target.labels
    sizes = np.bincount(rows.targets, minlength=len(labels))
    wanted = smote.wanted(rows.targets)
    refuse(
        f"data.smote: expected 2 training rows or more of each class, found {sizes[label]} of "
        f"{labels[label]!r}: add some, or leave the class out"
        for label in wanted
        if sizes[label] < 2
    )
    count = len(fitted.numbers)
    gaps = rows.numbers[:, count:].astype(np.int64)  # the indicators
    known = Rows(rows.numbers[:, :count], np.concatenate([rows.categories, gaps], 1))
    new = made(known, rows.targets, smote, seed=seed)
    kinds, gaps = np.split(new.rows.categories, [rows.categories.shape[1]], 1)
    more = np.concatenate([new.rows.numbers, gaps.astype(np.float32)], 1)
    enlarged = Encoded(
        np.concatenate([rows.numbers, more]),
        np.concatenate([rows.categories, kinds]),
        np.concatenate([rows.targets, new.targets]),
    )
    return enlarged, {labels[label]: number for label, number in wanted.items()}


def faults_of_targets(target: Target, table: Frame) -> list[str]:
    """The first row without a target, and the first with a class that training had not."""
    column = table.rows[target.name]
    where = f"column {target.name!r}: expected"
    kind = f"one of the {len(target.labels)} classes" if target.labels else "a number"
    none = column.is_null().arg_true().to_list()
    faults = [f"{table.place(at)}, {where} {kind}, found nothing{_more(none)}" for at in none[:1]]
    texts = column.drop_nulls().cast(str) if target.labels else column[:0]
    strange = texts.filter(~texts.is_in(target.labels)).to_list() if len(texts) else []
    for text in strange[:1]:
        at = (column.cast(str) == text).fill_null(False).arg_true()[0]
        hint = did_you_mean(text, target.labels) or f"such as {target.labels[0]!r}"
        found = f"found {show(text)}{_more(strange)}; {hint}"
        faults.append(f"{table.place(at)}, {where} {kind}, {found}")
    return faults


def _more(rows: Sequence[object]) -> str:
    return f" and {len(rows) - 1} more" if len(rows) > 1 else ""


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


def filled(column: pl.Series, value: float) -> np.ndarray:
    """Numbers with a value in place of those that are missing."""
    return column.fill_null(value).to_numpy()


def _indices(values: Sequence[str], column: pl.Series, first: int, unknown: int) -> np.ndarray:
    index = {value: first + i for i, value in enumerate(values)}
    return np.array([index.get(value, unknown) for value in column], np.int64)


def _beside(columns: list[np.ndarray], rows: int, dtype: type) -> np.ndarray:
    return np.stack(columns, 1).astype(dtype) if columns else np.zeros((rows, 0), dtype)
