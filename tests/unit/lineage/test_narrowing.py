import pytest

from engine.lineage.narrowing import certain, named_by, narrow
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
        # a dimension matches by its column and by its name
        (DAY, "2013-02-01..2013-02-28", {"day": "2013-02-13"}, "2013-02-13"),
        (DAY, "2013-02-01..2013-02-28", {"dt": "2013-02-13"}, "2013-02-13"),
        (DAY, "2013-02-01..2013-02-28", {"other": "2013-02-13"}, "2013-02-01..2013-02-28"),
        # windows are half-open, and overlapping windows are kept
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
        # text with an offset is an instant; text without an offset is local time
        (NEW_YORK, "2013-02-12..2013-02-14", {"dt": "2013-02-13T02:00Z"}, "2013-02-12"),
        (NEW_YORK, "2013-02-12..2013-02-14", {"dt": "2013-02-13T02:00"}, "2013-02-13"),
        (
            HOUR,
            "2013-11-03T00..2013-11-03T02",
            {"at": "2013-11-03T01:30"},
            "2013-11-03T01..2013-11-03T01-0500",
        ),
        # an instant of the repeated hour may be stored as wall time, which is in the later one
        (
            HOUR,
            "2013-11-03T00..2013-11-03T02",
            {"at": "2013-11-03T01:30-04:00"},
            "2013-11-03T01..2013-11-03T01-0500",
        ),
        (
            HOUR,
            "2013-02-13T00..2013-02-14T00",
            {"at": "2013-02-13"},
            "2013-02-13T00..2013-02-13T23",
        ),
        # text that is not a date does not narrow
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
        (ORIGIN, "*", {"origin": {"in": ["LGA", "JFK", "SFO"]}}, "JFK LGA"),
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

    conditions = certain(RowFilter.parse(rows), space, columns=())
    left = narrow(conditions, space, space.parse(within))

    assert " ".join(space.texts(left)) == expected


TWO_DAYS = {"day": {"time": "day", "column": "dt"}, "dt": {"time": "day", "column": "sold"}}


@pytest.mark.parametrize(
    ("spec", "columns", "changed", "rows", "expected"),
    [
        pytest.param(DAY, ("id",), None, {"dt": "2013-02-13"}, {"day": "2013-02-13"}, id="alias"),
        pytest.param(
            DAY, ("id", "dt"), None, {"dt": "x"}, {"dt": "x"}, id="a column of the same name"
        ),
        pytest.param(DAY, None, None, {"dt": "2013-02-13"}, {}, id="perhaps such a column"),
        pytest.param(
            TWO_DAYS, None, None, {"dt": "2013-02-13"}, {"dt": "2013-02-13"}, id="another's column"
        ),
        pytest.param(
            DAY, ("id",), None, {"dt": "2013-02-13", "day": "2013-02-14"}, {}, id="under two names"
        ),
        pytest.param(
            DAY, ("id", "a"), {"a"}, {"a": 1, "id": 2}, {"id": 2}, id="a condition on what changed"
        ),
        pytest.param(DAY, ("id",), {"dt"}, {"day": "2013-02-13"}, {}, id="changed by alias"),
        pytest.param(DAY, ("id",), {"day"}, {"dt": "2013-02-13"}, {}, id="its column has changed"),
        pytest.param(DAY, ("id", "a"), {"a"}, {"id": 2}, {"id": 2}, id="another column changed"),
    ],
)
def test_conditions_that_are_certain_are_kept(spec, columns, changed, rows, expected):
    space = PartitionSpace.from_spec(spec)
    dirty = None if changed is None else frozenset(changed)
    assert certain(RowFilter.parse(rows), space, columns, dirty).spec() == expected


def test_a_column_of_one_dimension_is_not_confused_with_another():
    space = PartitionSpace.from_spec(TWO_DAYS)
    left = narrow(RowFilter.parse({"dt": "2013-02-13"}), space, space.universe)
    assert space.texts(left) == ["day=2013-02-13"]


@pytest.mark.parametrize(
    ("spec", "rows", "expected"),
    [
        (DAY, {"day": "2013-02-13"}, "2013-02-13"),
        (DAY, {"day": {"gte": "2013-02-13", "lt": "2013-02-15"}}, "2013-02-13..2013-02-14"),
        (DAY, {"day": {"gte": "2013-02-13"}}, None),
        (DAY, {"id": 7}, None),
        (DAY | TAIL, {"day": "2013-02-13"}, "dt=2013-02-13"),
        (DAY | TAIL, {"day": {"lt": "2013-02-13"}, "tail": "N1"}, None),
        (TAIL, {"tail": {"in": ["N1", "N2"]}}, "N1 N2"),
        (ORIGIN, {"origin": "SFO"}, None),
        ({}, {"id": 7}, None),
    ],
)
def test_conditions_may_name_partitions(spec, rows, expected):
    space = PartitionSpace.from_spec(spec)
    named = named_by(RowFilter.parse(rows), space)
    assert (None if named is None else " ".join(space.texts(named))) == expected
