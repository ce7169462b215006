"""Keys of unusual values."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from consumers.formats.keys import Kind, key_of
from engine.errors import InvalidEvent
from engine.partitions import PartitionSpace

DAY = {"time": "day"}
NEW_YORK = {"time": "hour", "zone": "America/New_York"}


def key(dimension: dict[str, Any], value: Any, **kind: Any) -> str | None:
    space = PartitionSpace.from_spec({"d": dimension})
    return key_of(space["d"], Kind(**kind))(value)


@pytest.mark.parametrize(
    ("value", "kind", "found"),
    [
        (date(2013, 11, 3), {}, "2013-11-03T00"),
        ("2013-11-03T00:59:59", {}, "2013-11-03T00"),
        ("2013-11-03T01:30:00", {}, "2013-11-03T01..2013-11-03T01-0500"),  # occurs twice
        ("2013-11-03T05:30:00Z", {}, "2013-11-03T01"),
        ("2013-11-03T06:30:00Z", {}, "2013-11-03T01-0500"),
        ("2013-11-03T06:30:00Z", {"clock": "local"}, "2013-11-03T06"),
        (datetime(2013, 11, 3, 6, 30, tzinfo=UTC), {}, "2013-11-03T01-0500"),
        (1383460200, {"unit": "seconds"}, "2013-11-03T01-0500"),
        (1383460200.9, {"unit": "seconds"}, "2013-11-03T01-0500"),
        (1383460200, {"unit": "seconds", "clock": "numbers"}, "2013-11-03T06"),
        (-1, {"unit": "nanos", "clock": "local"}, "1969-12-31T23"),
    ],
)
def test_times_around_a_clock_change_have_keys(value: Any, kind: Any, found: str) -> None:
    assert key(NEW_YORK, value, **kind) == found


def test_a_skipped_local_time_becomes_an_existing_one() -> None:
    assert key(NEW_YORK, "2013-03-10T02:30:00") == "2013-03-10T03"


@pytest.mark.parametrize("value", ["0-9", 9, 0.5, Decimal("9.99"), "3"])
def test_numbers_map_to_range_keys(value: Any) -> None:
    assert key({"range": 10}, value, unit="decimal") == "0-9"


def test_a_negative_number_is_in_the_bucket_below_zero() -> None:
    assert key({"range": 10}, Decimal("-0.5")) == "-10--1"
    assert key({"range": 10}, "/w==", scale=0) == "-10--1"  # one byte: -1
    assert key({"range": 10}, {"scale": 1, "value": "eQ=="}) == "10-19"  # 12.1


@pytest.mark.parametrize(
    ("dimension", "value", "kind"),
    [
        (DAY, None, {}),
        (DAY, True, {}),
        (DAY, "infinity", {}),
        (DAY, "0001-01-01T00:00:00+23:00", {}),
        (DAY, 2**80, {"unit": "days"}),
        (NEW_YORK, 2**80, {"unit": "days"}),
        (DAY, float("nan"), {"unit": "seconds"}),
        (DAY, float("inf"), {"unit": "seconds"}),
        ({**DAY, "start": "2013-01-01"}, "2012-12-31", {}),
        ({"range": 10}, "BOI=", {}),
        ({"range": 10}, "12", {}),  # may be two bytes of a number
        ({"range": 10}, "1E+999999999", {"unit": "decimal"}),
        ({"range": 10}, {"scale": -999999999, "value": "AQ=="}, {}),
        ({"range": 10}, {"scale": -999999, "value": "AQ=="}, {}),
        ({"range": 10}, float("inf"), {}),
        ({"range": 10}, 10**4000, {}),
        ({"range": 10, "end": 5}, 10, {}),
        ({"static": ["a"]}, "b", {}),
        ({"dynamic": True}, "a/b", {}),
        ({"dynamic": True}, "a\0", {}),
        ({"dynamic": True}, "a" * 101, {}),
        ({"dynamic": True}, 10**4000, {}),
        ({"dynamic": True}, ["a"], {}),
    ],
)
def test_values_outside_of_the_dimension_have_no_key(
    dimension: dict[str, Any], value: Any, kind: Any
) -> None:
    assert key(dimension, value, **kind) is None


@pytest.mark.parametrize(("value", "found"), [("JFK", "JFK"), (7, "7"), (True, "true")])
def test_values_are_formatted_as_by_postgres(value: Any, found: str) -> None:
    assert key({"dynamic": True}, value) == found


def test_a_time_as_a_number_without_a_unit_is_rejected() -> None:
    with pytest.raises(
        InvalidEvent, match=r"the time 20455 is a number without a unit: add `unit:`"
    ):
        key(DAY, 20455)
