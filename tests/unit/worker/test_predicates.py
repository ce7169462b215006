"""Sets of partitions as SQL conditions."""

from typing import Any

import pytest

from engine.errors import InvalidInput, TaskFailed
from engine.partitions import PartitionSpace
from engine.worker.operators.sql.predicates import within
from engine.worker.operators.sql.tables import Table

DAY = {"time": "day", "zone": "America/New_York"}


def _where(spec: dict[str, Any], text: str, **columns: str) -> str:
    space = PartitionSpace.from_spec(spec)
    return within(space.parse(text), Table("s", "t", columns)).as_string(None)


@pytest.mark.parametrize(
    ("kind", "start", "end"),
    [
        ("timestamp with time zone", "2013-03-10 05:00:00+00:00", "2013-03-11 04:00:00+00:00"),
        ("timestamp(3) with time zone", "2013-03-10 05:00:00+00:00", "2013-03-11 04:00:00+00:00"),
        ("timestamp without time zone", "2013-03-10 00:00:00", "2013-03-11 00:00:00"),
        ("date", "2013-03-10", "2013-03-11"),
    ],
)
def test_a_window_is_formatted_for_the_type_of_its_column(kind: str, start: str, end: str) -> None:
    found = _where({"dt": DAY}, "2013-03-10", dt=kind)
    assert f"\"dt\" >= '{start}'" in found
    assert f"\"dt\" < '{end}'" in found


def test_a_date_belongs_to_its_day_even_if_midnight_is_skipped() -> None:
    havana = {"dt": {"time": "day", "zone": "America/Havana"}}
    found = _where(havana, "2013-03-10", dt="date")  # this day began at one o'clock
    assert found == "\"dt\" >= '2013-03-10'::date AND \"dt\" < '2013-03-11'::date"
    assert "'2013-03-10 00:00:00'" in _where(havana, "2013-03-10", dt="timestamp without time zone")


def test_local_times_belong_to_one_of_two_repeated_hours() -> None:
    hourly = {"at": {"time": "hour", "zone": "America/New_York"}}
    kind = "timestamp without time zone"
    first = _where(hourly, "2013-11-03T01", at=kind)
    again = _where(hourly, "2013-11-03T01-0500", at=kind)
    assert first.count("2013-11-03 01:00:00") == 2  # empty: from one to one
    assert ">= '2013-11-03 01:00:00'" in again
    assert "< '2013-11-03 02:00:00'" in again


@pytest.mark.parametrize(
    ("spec", "text", "expected"),
    [
        ({}, "*", "TRUE"),
        ({"k": {"dynamic": True}}, "*", "TRUE"),
        ({"k": {"dynamic": True}}, "!a,b", "\"k\" NOT IN ('a', 'b')"),
        ({"k": {"dynamic": True}}, "O'Hare", "\"k\" IN ('O''Hare')"),
        ({"k": {"static": ["b", "a"]}}, "*", "\"k\" IN ('a', 'b')"),
        ({"k": {"range": 10, "column": "id"}}, "10-19", '"id" >= 10 AND "id" < 20'),
        ({"k": {"range": 10}}, "10-19..", '"k" >= 10'),
        ({"k": {"range": 10}}, "*", "TRUE"),
    ],
)
def test_keys_ranges_and_open_ends_are_conditions(
    spec: dict[str, Any], text: str, expected: str
) -> None:
    assert _where(spec, text, k="bigint", id="bigint") == expected


def test_no_partition_selects_no_row() -> None:
    empty = PartitionSpace.from_spec({"k": {"range": 10}}).empty
    assert within(empty, Table("s", "t", {})).as_string(None) == "FALSE"


def test_a_union_of_products_is_filtered_box_by_box() -> None:
    space = PartitionSpace.from_spec({"k": {"range": 10}, "o": {"static": ["a", "b", "c"]}})
    union = space.from_keys(["k=0-9/o=a", "k=0-9/o=b", "k=20-29/o=c"])
    table = Table("s", "t", {"k": "integer", "o": "text"})
    assert within(union, table).as_string(None) == (
        '(("k" >= 0 AND "k" < 10 AND "o" IN (\'a\', \'b\'))'
        ' OR ("k" >= 20 AND "k" < 30 AND "o" IN (\'c\')))'
    )


def test_an_unsuitable_partition_column_is_rejected() -> None:
    with pytest.raises(InvalidInput, match="type text cannot store a time"):
        _where({"dt": DAY}, "2013-03-10", dt="text")
    with pytest.raises(TaskFailed, match=r"s\.t has no partition column 'dt'"):
        _where({"dt": DAY}, "2013-03-10", day="date")
