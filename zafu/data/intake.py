"""Samples that come one at a time, as a server is given them: each is read by itself, then many go
through a model together.

What cannot be read is told of the sample that it is in, so that it spoils no other one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from zafu.data.files import refuse
from zafu.spec import did_you_mean, show

if TYPE_CHECKING:
    from zafu.batch import Batch
    from zafu.data.columns import Fitted


class Asked(NamedTuple):
    """A column that a row must have."""

    name: str
    number: bool  # else text
    values: tuple[str, ...] = ()  # the texts that are known, where they are
    usual: float | None = None  # the mean of a number


class Intake(NamedTuple):
    """How raw samples become inputs, by what was fitted."""

    takes: Literal["rows", "pictures"]
    read: Callable[[Any], Any]
    """A sample, a mapping of columns or the bytes of a picture -> what `batch` takes.

    Raises DataError with every fault of it.
    """
    batch: Callable[[Sequence[Any]], Batch]
    columns: tuple[Asked, ...] = ()  # of a row
    shape: tuple[int, int, int] = (0, 0, 0)  # channels, height and width to which pictures come


def asked(fitted: Fitted) -> tuple[Asked, ...]:
    """The columns of a raw row, and what is known of each."""
    values = {category.name: category.values for category in fitted.categories}
    means = {number.name: number.fill for number in fitted.numbers}
    return tuple(
        Asked(read.name, read.number, values.get(read.name, ()), means.get(read.name))
        for read in fitted.reads
    )


def row(
    given: Mapping[str, object],
    columns: Sequence[Asked],
    *,
    unused: frozenset[str],
    missing: frozenset[str],
) -> dict[str, float | str | None]:
    """The values of a raw row: a number or None for a column of numbers, else text or None.

    Columns that are `unused` are passed over, texts in `missing` are no values. Raises DataError
    with a fault for each column that is absent, unknown or holds something else.
    """
    known = [column.name for column in columns]
    faults = [
        f"column {show(name)}: expected one of the {len(known)} columns; "
        + (did_you_mean(name, known) or f"they are {', '.join(known[:20])}")
        for name in given
        if name not in known and name not in unused
    ]
    found: dict[str, float | str | None] = {}
    for column in columns:
        if column.name not in given:
            faults.append(f"column {column.name!r}: expected a value or null, found no such column")
            continue
        value = given[column.name]
        if value is None or (isinstance(value, str) and value in missing):
            found[column.name] = None
            continue
        read = _number(value) if column.number else _text(value)
        if read is None:
            kind = "a finite number" if column.number else "text"
            faults.append(f"column {column.name!r}: expected {kind} or null")
        found[column.name] = read
    refuse(faults)
    return found


def _number(value: object) -> float | None:
    """A number, or the one that a text spells; None if it is neither."""
    if not isinstance(value, (bool, int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _text(value: object) -> str | None:
    """A text, or how a table's reader would have written a number; None if it is neither."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(value)
    return value if isinstance(value, str) else None
