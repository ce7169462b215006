"""Keys and windows of weeks from any day, days from any hour, steps and cron expressions."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from engine.errors import InvalidPartition
from engine.partitions import Mapping, PartitionSpace, TimeDimension

SUNDAYS = {"time": "week", "starts_on": "sunday"}
MORNINGS = {"time": "day", "starts_at": "06:00"}
QUARTERS = {"every": "15m"}
SHIFTS = {"every": "8h", "starts_at": "06:00"}
HALVES = {"cron": "0 0 1,15 * *"}
OFFICE = {"cron": "*/30 9-10 * * MON-FRI"}
NEW_YORK = {"zone": "America/New_York"}


def space(**spec: Any) -> PartitionSpace:
    return PartitionSpace.from_spec({"t": spec})


def keys(spec: dict[str, Any], text: str) -> list[str]:
    return list(space(**spec).keys(space(**spec).parse(text)))


@pytest.mark.parametrize(
    ("spec", "key", "start", "end"),
    [
        (SUNDAYS, "2013-02-10", "2013-02-10 00:00", "2013-02-17 00:00"),
        (SUNDAYS | {"starts_at": "18:30"}, "2013-02-10", "2013-02-10 18:30", "2013-02-17 18:30"),
        (
            {"time": "week", "starts_at": "06:00"},
            "2013-W07",
            "2013-02-11 06:00",
            "2013-02-18 06:00",
        ),
        (MORNINGS, "2013-02-13", "2013-02-13 06:00", "2013-02-14 06:00"),
        (MORNINGS | NEW_YORK, "2013-02-13", "2013-02-13 11:00", "2013-02-14 11:00"),
        (
            {"time": "month", "starts_at": "06:00"},
            "2013-02",
            "2013-02-01 06:00",
            "2013-03-01 06:00",
        ),
        (QUARTERS, "2013-02-13T05:45", "2013-02-13 05:45", "2013-02-13 06:00"),
        ({"every": "4h"}, "2013-02-13T04", "2013-02-13 04:00", "2013-02-13 08:00"),
        (SHIFTS, "2013-02-13T22", "2013-02-13 22:00", "2013-02-14 06:00"),
        (HALVES, "2013-02-15", "2013-02-15 00:00", "2013-03-01 00:00"),
        ({"cron": "0 6 L * *"}, "2012-02-29", "2012-02-29 06:00", "2012-03-31 06:00"),
        (OFFICE, "2013-02-15T10:30", "2013-02-15 10:30", "2013-02-18 09:00"),
        ({"cron": "0 0 29 2 *"}, "2096-02-29", "2096-02-29 00:00", "2104-02-29 00:00"),
    ],
)
def test_a_key_has_a_window(spec: dict[str, Any], key: str, start: str, end: str) -> None:
    value = space(**spec).values(key)["t"]
    window = tuple(datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (start, end))
    assert (value.key, value.start, value.end) == (key, *window)


def test_a_repeated_hour_has_each_quarter_twice() -> None:
    assert keys(QUARTERS | NEW_YORK, "2013-11-03T01:30..2013-11-03T01:15-0500") == [
        "2013-11-03T01:30",
        "2013-11-03T01:45",
        "2013-11-03T01:00-0500",
        "2013-11-03T01:15-0500",
    ]


def test_a_skipped_hour_has_no_quarters() -> None:
    found = keys(QUARTERS | NEW_YORK, "2013-03-10T01:45..2013-03-10T03:00")
    assert found == ["2013-03-10T01:45", "2013-03-10T03:00"]
    with pytest.raises(InvalidPartition, match="the clock skips this time"):
        space(**QUARTERS, **NEW_YORK).parse("2013-03-10T02:15")


@pytest.mark.parametrize(("day", "hours"), [("2013-03-10", 3), ("2013-11-03", 5)])
def test_a_step_around_a_clock_change_is_shorter_or_longer(day: str, hours: int) -> None:
    value = space(every="4h", **NEW_YORK).values(f"{day}T00")["t"]
    assert isinstance(value.start, datetime)
    assert value.end == value.start + timedelta(hours=hours)


def test_a_repeated_time_of_an_expression_starts_no_second_window() -> None:
    spec = {"cron": "*/30 0-2 * * *", **NEW_YORK}
    found = keys(spec, "2013-11-03T00:30..2013-11-03T02:00")
    assert found == [f"2013-11-03T{t}" for t in ("00:30", "01:00", "01:30", "02:00")]
    value = space(**spec).values("2013-11-03T01:30")["t"]
    assert value.start == datetime(2013, 11, 3, 5, 30, tzinfo=UTC)
    assert value.end == datetime(2013, 11, 3, 7, 0, tzinfo=UTC)


def test_skipped_times_of_an_expression_have_one_window() -> None:
    spec = {"cron": "*/30 1-3 * * *", **NEW_YORK}
    found = keys(spec, "2013-03-10T01:30..2013-03-10T03:30")
    assert found == ["2013-03-10T01:30", "2013-03-10T03:00", "2013-03-10T03:30"]
    with pytest.raises(InvalidPartition, match=r"2013-03-10T02:30.*the clock skips this time"):
        space(**spec).parse("2013-03-10T02:30")


def test_a_long_range_is_one_interval() -> None:
    """Skipped times are not numbered, so they do not split a range."""
    quarters = space(cron="*/15 * * * *", **NEW_YORK)
    decades = quarters.parse("1970-01-01T00:00..2069-12-31T23:45")
    (box,) = decades.boxes
    assert len(box[0].spans) == 1
    assert quarters.texts(decades) == ["1970-01-01T00:00..2069-12-31T23:45"]
    assert decades.count() == 4 * 24 * 36525 - 4 * _springs(1970, 2070)


def _springs(first: int, end: int) -> int:
    """Return the number of times that the clock skips an hour."""
    zone = ZoneInfo("America/New_York")
    noons = [datetime(y, m, 1, 12, tzinfo=zone) for y in range(first, end) for m in (1, 6)]
    pairs = zip(noons[::2], noons[1::2], strict=True)
    return sum(winter.utcoffset() != summer.utcoffset() for winter, summer in pairs)


def test_days_that_start_in_the_morning_are_related_to_two_calendar_days() -> None:
    mapping = Mapping.from_spec(None, space(**MORNINGS), space(time="day"), "test")
    down = mapping.down(mapping.source.parse("2013-02-13"))
    assert mapping.target.texts(down) == ["2013-02-13..2013-02-14"]
    up = mapping.up(mapping.target.parse("2013-02-13"))
    assert mapping.source.texts(up) == ["2013-02-12..2013-02-13"]


@pytest.mark.parametrize(
    ("spec", "stored"),
    [
        ({"time": "week", "starts_on": "monday"}, {"time": "week"}),
        ({"time": "day", "starts_at": "00:00"}, {"time": "day"}),
        ({"every": "60m"}, {"time": "hour"}),
        ({"every": "120m"}, {"every": "2h"}),
        ({"every": "8h", "starts_at": "14:00"}, {"every": "8h", "starts_at": "06:00"}),
        ({"cron": " 0  0 1,15 * * "}, {"cron": "0 0 1,15 * *"}),
        ({"cron": "0 0 * * mon-Fri"}, {"cron": "0 0 * * MON-FRI"}),
        ({"time": "day", "zone": "UTC", "column": "at"}, {"time": "day", "column": "at"}),
    ],
)
def test_equal_grids_have_equal_specs(spec: dict[str, Any], stored: dict[str, Any]) -> None:
    assert space(**spec).to_spec() == {"t": stored}
    assert space(**spec) == space(**stored)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"time": "day", "starts_on": "sunday"}, "starts_on for weeks only"),
        ({"time": "week", "starts_on": "Sunday"}, "as one of monday, tuesday"),
        ({"time": "day", "starts_at": "24:00"}, "'24:00' is not a time of day; .*\"06:00\""),
        ({"time": "day", "starts_at": "6"}, "is not a time of day"),
        ({"every": "7m"}, "every 7m is not a step that divides a day; write one like 15m"),
        ({"every": "1d"}, "use `time: day`"),
        ({"every": "24h"}, "use `time: day`"),
        ({"every": "0m"}, "every 0m is not a step"),
        ({"time": "15m"}, "no time grain '15m'"),
        ({"cron": "0 0 * *"}, r"4 fields instead of 5.*write five fields, like '0 0 1,15 \* \*'"),
        ({"cron": "@daily"}, "'@daily' is not a cron expression"),
        ({"cron": "0 0 30 2 *"}, "is not a cron expression"),
        ({"cron": "0 0 1 * *", "starts_at": "06:00"}, "unknown field 'starts_at'"),
        ({"every": "15m", "starts_on": "sunday"}, "unknown field 'starts_on'"),
        (SUNDAYS | {"start": "2013-02-13"}, r"start: .*its week starts on 2013-02-10"),
        (HALVES | {"end": "2013-02-14"}, "no window starts then, but one at 2013-02-01"),
        (QUARTERS | {"start": "2013-02-13T00:20"}, "not a window of '15m' .*no window starts then"),
        (HALVES | {"start": "2013-02-15", "end": "2013-02-01"}, r"no window of '0 0 1,15 \* \*'"),
    ],
)
def test_an_invalid_grid_is_rejected_with_a_remedy(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidPartition, match=message):
        space(**spec)


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        (SUNDAYS, "2013-W07"),
        (MORNINGS, "2013-02-13T06"),
        (QUARTERS, "2013-02-13T05"),
        (QUARTERS, "2013-02-13T05:20"),
        ({"every": "4h"}, "2013-02-13T04:00"),
        (HALVES, "2013-02-15T00:00"),
        (OFFICE, "2013-02-15"),
        (OFFICE, "2013-02-16T09:00"),
    ],
)
def test_the_key_of_another_grid_is_rejected_with_a_valid_example(
    spec: dict[str, Any], key: str
) -> None:
    grid = space(**spec)
    with pytest.raises(
        InvalidPartition, match=r"dimension 't': .* write one like 2013-02"
    ) as error:
        grid.parse(key)
    example = str(error.value).rpartition(" ")[2]
    assert grid.values(example)["t"].key == example


def test_grids_with_the_same_windows_in_another_form_are_related_by_overlap() -> None:
    """Even so, `identity` needs the same grid."""
    midnight = TimeDimension("0 0 * * *")
    assert not midnight.is_alike(TimeDimension("day"))
    days = midnight.overlapping(TimeDimension("day").windows(midnight.parse("2013-02-13")))
    assert midnight.texts(days) == ["2013-02-13"]
