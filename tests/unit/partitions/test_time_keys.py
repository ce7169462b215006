from datetime import UTC, datetime, timedelta

import pytest

from engine.errors import InvalidPartition
from engine.partitions import PartitionSpace, TimeDimension

HOUR = timedelta(hours=1)


def space(grain: str, zone: str = "UTC") -> PartitionSpace:
    return PartitionSpace.from_spec({"t": {"time": grain, "zone": zone}})


def length(grain: str, zone: str, key: str) -> timedelta:
    start, end = TimeDimension(grain, zone).window(key)
    return end - start


def listed(grain: str, zone: str, text: str) -> list[str]:
    each = space(grain, zone)
    return list(each.keys(each.parse(text)))


@pytest.mark.parametrize(
    ("grain", "key", "start", "end"),
    [
        ("hour", "2013-02-13T05", "2013-02-13T05:00", "2013-02-13T06:00"),
        ("day", "2013-02-13", "2013-02-13", "2013-02-14"),
        ("week", "2013-W07", "2013-02-11", "2013-02-18"),
        ("week", "2013-W01", "2012-12-31", "2013-01-07"),
        ("month", "2013-02", "2013-02-01", "2013-03-01"),
        ("quarter", "2013-Q4", "2013-10-01", "2014-01-01"),
        ("year", "1969", "1969-01-01", "1970-01-01"),
    ],
)
def test_a_key_has_a_half_open_window(grain: str, key: str, start: str, end: str) -> None:
    window = tuple(datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (start, end))
    assert TimeDimension(grain).window(key) == window


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("America/New_York", "2013-03-10", 23),
        ("America/New_York", "2013-11-03", 25),
        ("America/New_York", "2013-11-04", 24),
        ("Asia/Kolkata", "2013-03-10", 24),
        ("Australia/Lord_Howe", "2013-04-07", 24.5),
        ("Australia/Lord_Howe", "2013-10-06", 23.5),
    ],
)
def test_the_length_of_a_day_follows_the_clock(zone: str, day: str, hours: float) -> None:
    assert length("day", zone, day) == hours * HOUR


def test_an_hour_shown_twice_has_two_keys() -> None:
    assert listed("hour", "America/New_York", "2013-11-03T00..2013-11-03T02") == [
        "2013-11-03T00",
        "2013-11-03T01",
        "2013-11-03T01-0500",
        "2013-11-03T02",
    ]


def test_an_hour_may_always_include_its_offset() -> None:
    hours = space("hour", "America/New_York")
    assert hours.parse("2013-11-03T01-0400") == hours.parse("2013-11-03T01")
    assert hours.values("2013-02-13T05-0500")["t"].key == "2013-02-13T05"
    with pytest.raises(InvalidPartition, match="another offset"):
        hours.parse("2013-02-13T05-0400")


def test_a_skipped_hour_has_no_key() -> None:
    assert listed("hour", "America/New_York", "2013-03-10T01..2013-03-10T03") == [
        "2013-03-10T01",
        "2013-03-10T03",
    ]
    with pytest.raises(InvalidPartition, match="the clock skips this time"):
        space("hour", "America/New_York").parse("2013-03-10T02")


def test_hours_start_on_the_half_hour_of_utc_in_kolkata() -> None:
    start, end = TimeDimension("hour", "Asia/Kolkata").window("2013-02-13T05")
    assert start == datetime(2013, 2, 12, 23, 30, tzinfo=UTC)
    assert end - start == HOUR


def test_a_clock_change_by_half_an_hour_changes_the_length_of_an_hour() -> None:
    assert length("hour", "Australia/Lord_Howe", "2013-04-07T01") == 1.5 * HOUR
    assert length("hour", "Australia/Lord_Howe", "2013-10-06T02") == 0.5 * HOUR
    assert len(listed("hour", "Australia/Lord_Howe", "2013-04-07T00..2013-04-07T23")) == 24


def test_a_day_skipped_by_a_zone_has_no_key() -> None:
    assert listed("day", "Pacific/Apia", "2011-12-29..2011-12-31") == ["2011-12-29", "2011-12-31"]
    with pytest.raises(InvalidPartition):
        space("day", "Pacific/Apia").parse("2011-12-30")


def test_a_day_with_a_skipped_midnight_starts_late() -> None:
    start, _ = TimeDimension("day", "America/Sao_Paulo").window("2013-10-20")
    assert start == datetime(2013, 10, 20, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("grain", "key"),
    [
        ("hour", "2013-02-13"),
        ("hour", "2013-02-13T24"),
        ("day", "2013-02-30"),
        ("day", "20130213"),
        ("day", "2013-W07-3"),
        ("day", "0001-01-01"),
        ("day", "9999-12-31"),
        ("day", "\uff12\uff1013-02-13"),
        ("week", "2013-W53"),
        ("month", "2013-13"),
        ("month", "2013-2"),
        ("quarter", "2013-Q5"),
        ("quarter", "2013-01"),
        ("year", "13"),
        ("year", "2013-01"),
    ],
)
def test_an_invalid_key_is_rejected_with_a_valid_example(grain: str, key: str) -> None:
    with pytest.raises(InvalidPartition, match=r"dimension 't': .* write one like 2013"):
        space(grain).parse(key)


@pytest.mark.parametrize(
    ("grain", "zone", "message"),
    [("minute", "UTC", "no time grain 'minute'"), ("day", "Mars/Base", "no time zone 'Mars/Base'")],
)
def test_an_unknown_grain_or_zone_is_rejected(grain: str, zone: str, message: str) -> None:
    with pytest.raises(InvalidPartition, match=message):
        space(grain, zone)


@pytest.mark.parametrize(
    "spec",
    [
        *({"time": grain} for grain in ("hour", "day", "week", "month", "quarter", "year")),
        {"time": "hour", "zone": "America/New_York"},
        {"time": "week", "starts_on": "sunday"},
        {"every": "15m"},
        {"cron": "0 6 * * 1"},
        {"cron": "0 6,18 * * *"},
    ],
)
def test_every_key_can_be_read_again(spec: dict[str, str]) -> None:
    """At the edges of the calendar there is an error instead of a key."""
    dimension = dict(PartitionSpace.from_spec({"t": spec}).dimensions)["t"]
    assert isinstance(dimension, TimeDimension)
    edges = (datetime(year, 1, 1, tzinfo=UTC) for year in (1000, 9999))
    for at in dimension.calendar.at([int(edge.timestamp()) for edge in edges]):
        errors = 0
        for ordinal in range(at - 20, at + 20):
            try:
                key = dimension.format(ordinal)
            except InvalidPartition:
                errors += 1
            else:
                assert dimension.ordinal(key, "t") == ordinal
        assert 0 < errors < 40
