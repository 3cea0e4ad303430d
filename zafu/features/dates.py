"""Dates: points in time as the parts that have a meaning of their own.

ISO 8601 text (`2013-02-28`, `2013-02-28 17:05`, `2013-02-28T17:05:59.5+01:00`) is brought to UTC,
or taken as it stands where it names no zone; numbers are seconds since 1970. A part that comes
around can be a point on the circle, so that 23 h and 0 h are neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING, Literal, final

import numpy as np
from pydantic import Field

from zafu.errors import Fault
from zafu.features import frames
from zafu.features.contract import Feature, State
from zafu.spec import show

if TYPE_CHECKING:
    import polars as pl

Part = Literal["year", "month", "day", "weekday", "hour", "minute", "days"]
PERIODS = {"month": 12, "day": 31, "weekday": 7, "hour": 24, "minute": 60}
FARTHEST = 253_402_300_800  # seconds from 1970 to the year 10,000: more are likely milliseconds
_ISO = r"^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(:\d{2})?(?:[.,]\d+)?)?\s*(Z|[+-]\d{2}:?\d{2})?$"


@final
class Dates(Feature):
    """Parts of dates as columns `name.part`, missing where the date is."""

    kind: Literal["dates"] = "dates"
    columns: tuple[str, ...] = Field(min_length=1)
    """Columns of ISO 8601 text or of seconds since 1970."""
    parts: tuple[Part, ...] = Field(default=("month", "weekday", "hour", "days"), min_length=1)
    """Any of year, month (1 to 12), day (1 to 31), weekday (Monday 0), hour, minute, and days
    since `epoch`."""
    cyclic: bool = False
    """Whether parts that come around (all but year and days) become `name.part.sin` and `.cos`."""
    epoch: str = "1970-01-01"
    """The date from which days are counted, `YYYY-MM-DD`."""
    keep: bool = False
    """Whether the dates stay beside their parts."""

    def check(self) -> Iterable[Fault]:
        """Each part once; a circle and an epoch where there is a part that has them."""
        if len(set(self.parts)) < len(self.parts):
            yield Fault("parts", "each part once", ", ".join(self.parts))
        if self.cyclic and PERIODS.keys().isdisjoint(self.parts):
            yield Fault("cyclic", f"false, or one of {', '.join(PERIODS)} among parts", "true")
        try:
            date.fromisoformat(self.epoch)
        except ValueError:
            yield Fault("epoch", "a date YYYY-MM-DD", show(self.epoch))

    def needed(self) -> Iterable[str]:
        """The dates."""
        return self.columns

    def fit(self, rows: pl.DataFrame, target: pl.Series, *, seed: int) -> State:
        """Nothing but the names: what there is to see is that the dates can be read."""
        frames.refuse(frames.absent(rows, self.columns))
        made = self._made(rows)
        frames.foresee(rows, self._gone(), list(made))
        return {"columns": frames.texts(self.columns)}

    def apply(self, state: State, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with the parts; raises DataError for what is no date."""
        return frames.beside(rows, self._gone(), self._made(rows))

    def _made(self, rows: pl.DataFrame) -> dict[str, pl.Series]:
        read = {name: moments(rows[name]) for name in self.columns}
        frames.refuse(fault for name, found in read.items() for fault in unread(rows[name], found))
        return {
            f"{name}.{end}": values
            for name, found in read.items()
            for part in self.parts
            for end, values in self._columns(part, found)
        }

    def _columns(self, part: Part, found: pl.Series) -> Iterable[tuple[str, pl.Series]]:
        import polars as pl

        values = self._part(part, found).cast(pl.Float64)
        if not (self.cyclic and part in PERIODS):
            yield part, values
            return
        first = 1 if part in ("month", "day") else 0
        angle = (values - first) * (2 * np.pi / PERIODS[part])
        yield f"{part}.sin", angle.sin()
        yield f"{part}.cos", angle.cos()

    def _part(self, part: Part, found: pl.Series) -> pl.Series:
        import polars as pl

        match part:
            case "year":
                return found.dt.year()
            case "month":
                return found.dt.month()
            case "day":
                return found.dt.day()
            case "weekday":
                return found.dt.weekday() - 1
            case "hour":
                return found.dt.hour()
            case "minute":
                return found.dt.minute()
            case "days":
                start = date.fromisoformat(self.epoch).toordinal() - date(1970, 1, 1).toordinal()
                seconds = (found.dt.epoch("s") - start * 86400).cast(pl.Float64)
                # numpy, as polars multiplies by 1 / 86400, after which a whole day may not be whole
                return pl.Series(seconds.to_numpy() / 86400).fill_nan(None)

    def _gone(self) -> tuple[str, ...]:
        return () if self.keep else self.columns


def moments(column: pl.Series) -> pl.Series:
    """Points in time in UTC, to the second; null for what is missing or cannot be read."""
    import polars as pl

    if column.dtype.is_numeric():
        near = column.abs() < FARTHEST
        seconds = column.to_frame().select(pl.when(near).then(pl.first())).to_series()
        return pl.Series(pl.from_epoch(seconds.floor().cast(pl.Int64), time_unit="s"))
    text = column.str.strip_chars()
    day, clock, second, zone = (text.str.extract(_ISO, group) for group in (1, 2, 3, 4))
    whole = day + " " + clock.fill_null("00:00") + second.fill_null(":00")
    local = whole.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)
    sign = pl.when(zone.str.starts_with("-")).then(-1).otherwise(1)
    digits = zone.str.replace_all(r"\D", "").str.zfill(4)
    minutes = digits.str.head(2).cast(pl.Int64, strict=False) * 60
    minutes += digits.str.tail(2).cast(pl.Int64, strict=False)
    offset = pl.select(sign * pl.lit(minutes.fill_null(0))).to_series()
    return local - pl.select(pl.duration(minutes=pl.lit(offset))).to_series()


def unread(column: pl.Series, found: pl.Series) -> Iterable[str]:
    """A fault with an example and how many there are, if values that are there are no dates."""
    if bad := (found.is_null() & column.is_not_null()).arg_true().to_list():
        what = "seconds since 1970" if column.dtype.is_numeric() else "a date as ISO 8601"
        yield (
            f"column {column.name!r}: expected {what}, found {show(column[bad[0]])} "
            f"in {len(bad):,} of {len(column):,} rows"
        )
