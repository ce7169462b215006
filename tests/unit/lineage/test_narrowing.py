import pytest

from engine.lineage.narrowing import narrow
from engine.lineage.rows import RowFilter
from engine.partitions import PartitionSpace

DAY = {"dt": {"time": "day", "column": "day"}}
NEW_YORK = {"dt": {"time": "day", "zone": "America/New_York"}}
HOUR = {"at": {"time": "hour", "zone": "America/New_York"}}
WEEK = {"dt": {"time": "week"}}
BUCKET = {"id": {"range": 100}}
ORIGIN = {"origin": {"static": ["EWR", "JFK", "LGA"]}}
MONTH_NUMBER = {"month": {"static": ["1", "2", "3"]}}
PADDED = {"month": {"static": ["01", "02"]}}
TAIL = {"tail": {"dynamic": True}}


@pytest.mark.parametrize(
    ("spec", "within", "rows", "expected"),
    [
        # the column of a dimension, and its name
        (DAY, "2013-02-01..2013-02-28", {"day": "2013-02-13"}, "2013-02-13"),
        (DAY, "2013-02-01..2013-02-28", {"dt": "2013-02-13"}, "2013-02-13"),
        (DAY, "2013-02-01..2013-02-28", {"other": "2013-02-13"}, "2013-02-01..2013-02-28"),
        # windows are half-open, and what overlaps stays
        (DAY, "2013-02-01..2013-02-28", {"dt": {"gte": "2013-02-13"}}, "2013-02-13..2013-02-28"),
        (DAY, "2013-02-01..2013-02-28", {"dt": {"gt": "2013-02-13"}}, "2013-02-13..2013-02-28"),
        (DAY, "2013-02-01..2013-02-28", {"dt": {"lt": "2013-02-13"}}, "2013-02-01..2013-02-12"),
        (DAY, "2013-02-01..2013-02-28", {"dt": {"lte": "2013-02-13"}}, "2013-02-01..2013-02-13"),
        (
            DAY,
            "2013-02-12..2013-02-14",
            {"dt": {"lte": "2013-02-13T00:00"}},
            "2013-02-12..2013-02-13",
        ),
        (
            DAY,
            "2013-02-12..2013-02-14",
            {"dt": {"lt": "2013-02-13T00:00:01"}},
            "2013-02-12..2013-02-13",
        ),
        (DAY, "2013-02-12..2013-02-14", {"dt": "2013-02-12T23:59:59.9Z"}, "2013-02-12"),
        (
            DAY,
            "2013-02-01..2013-02-28",
            {"dt": {"in": ["2013-02-02", "2013-02-05"]}},
            "2013-02-02 2013-02-05",
        ),
        (WEEK, "2013-W05..2013-W09", {"dt": "2013-02-13"}, "2013-W07"),
        # text with an offset is an instant, without one a wall clock's
        (NEW_YORK, "2013-02-12..2013-02-14", {"dt": "2013-02-13T02:00Z"}, "2013-02-12"),
        (NEW_YORK, "2013-02-12..2013-02-14", {"dt": "2013-02-13T02:00"}, "2013-02-13"),
        (
            HOUR,
            "2013-11-03T00..2013-11-03T02",
            {"at": "2013-11-03T01:30"},
            "2013-11-03T01..2013-11-03T01-0500",
        ),
        (
            HOUR,
            "2013-02-13T00..2013-02-14T00",
            {"at": "2013-02-13"},
            "2013-02-13T00..2013-02-13T23",
        ),
        # what is no date says nothing
        (DAY, "2013-02-01..2013-02-28", {"dt": "soon"}, "2013-02-01..2013-02-28"),
        (DAY, "2013-02-01..2013-02-28", {"dt": 20130213}, "2013-02-01..2013-02-28"),
        (DAY, "2013-02-01..2013-02-28", {"dt": {"gte": "0001-01-01"}}, "2013-02-01..2013-02-28"),
        (DAY, "2013-02-01..2013-02-28", {"dt": {"lte": "9999-12-31"}}, "2013-02-01..2013-02-28"),
        # integers
        (BUCKET, "0-99..400-499", {"id": 250}, "200-299"),
        (BUCKET, "0-99..400-499", {"id": {"gte": 100, "lt": 200}}, "100-199"),
        (BUCKET, "0-99..400-499", {"id": {"lte": 100}}, "0-99..100-199"),
        (BUCKET, "0-99..400-499", {"id": {"gt": 99.5}}, "0-99..400-499"),
        (BUCKET, "0-99..400-499", {"id": {"lt": 100.5}}, "0-99..100-199"),
        (BUCKET, "0-99..400-499", {"id": 1e300}, ""),
        (BUCKET, "0-99..400-499", {"id": {"gt": -1e300}}, "0-99..400-499"),
        (BUCKET, "0-99..400-499", {"id": "250"}, "0-99..400-499"),
        # keys
        (ORIGIN, "*", {"origin": "JFK"}, "JFK"),
        (ORIGIN, "*", {"origin": {"in": ["LGA", "JFK", "SFO"]}}, "JFK..LGA"),
        (ORIGIN, "*", {"origin": "SFO"}, ""),
        (ORIGIN, "*", {"origin": {"gt": "JFK"}}, "*"),
        (MONTH_NUMBER, "*", {"month": 2}, "2"),
        (PADDED, "*", {"month": 2}, "*"),
        (TAIL, "*", {"tail": "N1"}, "N1"),
        (TAIL, "*", {"tail": 1}, "*"),
        # several
        (DAY | ORIGIN, "*", {"day": "2013-02-13", "origin": "JFK"}, "dt=2013-02-13/origin=JFK"),
        (DAY | ORIGIN, "dt=2013-02-13", {"day": "2013-02-14"}, ""),
        ({}, "*", {"origin": "JFK"}, "*"),
    ],
)
def test_conditions_on_partition_columns_narrow_to_partitions(spec, within, rows, expected):
    space = PartitionSpace.from_spec(spec)

    left = narrow(RowFilter.parse(rows), space, space.parse(within))

    assert " ".join(space.texts(left)) == expected
