"""Instants: a column of numbers, dates or texts of dates as numbers that sort by time."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from zafu.data.files import refuse
from zafu.spec import show

_SHOWN = 5  # samples that an error names
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = 10**6  # microseconds


def instants(values: np.ndarray, what: str) -> np.ndarray:
    """Each value as a number, `(n,)` float64 or int64 microseconds, later ones greater.

    Texts are all numbers or all ISO 8601, with a time zone in each or in none. Raises DataError
    that names the samples (`what`, from 1) without a value and those of another form.
    """
    if values.dtype.kind == "M":
        missing = np.isnat(values)
        found = values.astype("datetime64[us]").astype(np.int64)
    elif values.dtype.kind in "iufb":
        missing = values != values
        found = values if values.dtype.kind in "iu" else values.astype(np.float64)
    else:
        told = ["" if value is None else str(value).strip() for value in values.tolist()]
        missing = np.array([not value for value in told], bool)
        refuse(_faults_of_missing(missing, what))
        found = _read(told, what)
    refuse(_faults_of_missing(missing, what))
    return found


def named(rows: np.ndarray, what: str) -> str:
    """Up to five positions, from 1, as an error names them."""
    more = f" and {len(rows) - _SHOWN:,} more" if len(rows) > _SHOWN else ""
    return f"{what} {', '.join(str(row + 1) for row in rows[:_SHOWN].tolist())}{more}"


def _faults_of_missing(missing: np.ndarray, what: str) -> list[str]:
    rows = np.flatnonzero(missing)
    if not len(rows):
        return []
    return [f"{named(rows, what)}: expected a time to split by, found none: fill it or remove them"]


def _read(told: list[str], what: str) -> np.ndarray:
    """Texts as numbers, if all of them are, else as moments of time."""
    different = dict.fromkeys(told)
    numbers = {text: number for text in different if (number := _number(text)) is not None}
    if len(numbers) == len(different):
        return np.array([numbers[text] for text in told], np.float64)
    moments = {text: moment for text in different if (moment := _moment(text)) is not None}
    zoned = [text for text, moment in moments.items() if moment.tzinfo is not None]
    bad = np.flatnonzero([text not in moments for text in told])
    form = "a time as ISO 8601 (2026-11-23T10:00:00) in every row, or a number in every row"
    if len(bad):
        refuse([f"{named(bad, what)}: expected {form}, found {show(told[int(bad[0])])}"])
    if zoned and len(zoned) < len(moments):
        bad = np.flatnonzero([moments[text].tzinfo is None for text in told])
        found = show(told[int(bad[0])])
        refuse([f"{named(bad, what)}: expected a time zone, as others have, found {found}"])
    known = {text: _microseconds(moment) for text, moment in moments.items()}
    return np.array([known[text] for text in told], np.int64)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _microseconds(moment: datetime) -> int:
    """Since 1970; a moment without a zone is taken for UTC, which keeps the order."""
    gone = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _FIRST
    return (gone.days * 86400 + gone.seconds) * _SECOND + gone.microseconds
