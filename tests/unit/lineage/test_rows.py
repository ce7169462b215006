import math

import pytest

from engine.errors import InvalidFilter
from engine.lineage.rows import RowFilter


@pytest.mark.parametrize(
    "spec",
    [
        {"origin": "JFK"},
        {"delayed": True, "origin": {"in": ["EWR", "JFK"]}},
        {"dep_delay": {"gte": 15, "lt": 60.5}},
        {"day": {"gt": "2013-02-01", "lte": "2013-02-28"}},
        {"at": {"gte": "2013-02-01T00:00:00+05:00", "lt": "2013-02-01T00:00:00"}},
        # a date is the whole day
        {"at": {"gt": "2013-02-01T12:00", "lte": "2013-02-01"}},
        {},
    ],
)
def test_a_filter_reads_back_from_its_json(spec):
    rows = RowFilter.parse(spec)

    assert rows.spec() == spec
    assert RowFilter.parse(rows.spec()) == rows
    assert bool(rows) is bool(spec)


def test_equal_filters_are_equal_values_however_written():
    left = RowFilter.parse({"b": {"lt": 2, "gte": 1}, "a": {"in": ["y", "x", "y"]}, "c": 1})
    right = RowFilter.parse({"c": {"in": [1]}, "a": {"in": ["x", "y"]}, "b": {"gte": 1, "lt": 2}})

    assert left == right
    assert hash(left) == hash(right)


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ([], "an object"),
        ({"": 1}, "are texts"),
        ({7: 1}, "are texts"),
        ({"nope": 1}, "no column 'nope'; the columns are day, origin"),
        ({"day": None}, "not a text, a number or a boolean"),
        ({"day": [1]}, "not a text"),
        ({"day": math.nan}, "not a number to compare with"),
        ({"day": "\0"}, "NUL"),
        ({"day": {}}, "is not a test"),
        ({"day": {"like": "x%"}}, "is not a test"),
        ({"day": {"in": [1], "gt": 0}}, "is not a test"),
        ({"day": {"in": []}}, "at least one value"),
        ({"day": {"in": "JFK"}}, "needs a list"),
        ({"day": {"in": [1, "x"]}}, "different types"),
        ({"day": {"in": [1, True]}}, "different types"),
        ({"day": {"gt": 1, "gte": 1}}, "not both"),
        ({"day": {"gt": True}}, "not a bound"),
        ({"day": {"gt": 1, "lt": "2"}}, "different types"),
        ({"day": {"gt": 2, "lt": 1}}, "no value lies within"),
        ({"day": {"gte": 1, "lt": 1}}, "no value lies within"),
        ({"day": {"gte": "2013-03-01", "lte": "2013-02-01"}}, "no value lies within"),
    ],
)
def test_an_invalid_filter_is_rejected_with_the_reason(spec, complaint):
    with pytest.raises(InvalidFilter, match=complaint):
        RowFilter.parse(spec, columns=("origin", "day"))


def test_a_filter_propagates_along_preserved_columns():
    rows = RowFilter.parse({"origin": "JFK", "dep_delay": {"gt": 15}})

    passed = rows.propagate({"origin": ["departs_from", "airport"]})

    assert passed == RowFilter.parse({"departs_from": "JFK", "airport": "JFK"})
    assert rows.propagate({}) is None


def test_conditions_are_passed_to_sql_as_data():
    rows = RowFilter.parse({"o'rigin": {"in": ["JFK", "'; --"]}, "n": {"gt": 1, "lte": 5}})

    assert [(c.column, c.operator, c.value) for c in rows.conditions] == [
        ("n", "gt", 1),
        ("n", "lte", 5),
        ("o'rigin", "in", ("'; --", "JFK")),
    ]


@pytest.mark.parametrize(
    "spec",
    [
        {"a": "x", "b": {"gte": "y"}},
        {"a": "x", "b": "y"},
        {"a": {"gte": "m"}, "b": {"gte": "a"}},
        {"a": {"in": ["x", "y"]}, "b": "x"},
    ],
)
def test_conditions_of_two_columns_preserved_in_one_are_dropped(spec):
    rows = RowFilter.parse(spec | {"c": 1})

    assert rows.propagate({"a": ["k"], "b": ["k"]}) is None
    assert rows.propagate({"a": ["k"], "b": ["k"], "c": ["c"]}) == RowFilter.parse({"c": 1})
    assert rows.propagate({"a": ["k", "q"], "b": ["k"]}) == RowFilter.parse({"q": spec["a"]})


def test_two_bounds_of_one_column_stay_together():
    rows = RowFilter.parse({"a": {"gt": 1, "lte": 5}})

    passed = rows.propagate({"a": ["k", "k"], "b": ["k"]})

    assert passed is not None
    assert passed == RowFilter.parse({"k": {"gt": 1, "lte": 5}})
    assert RowFilter.parse(passed.spec()) == passed


@pytest.mark.parametrize("text", ["a\0b", "half \ud800"])
def test_a_text_that_no_column_can_contain_is_rejected(text):
    with pytest.raises(InvalidFilter, match="a text column cannot contain"):
        RowFilter.parse({"a": text})
