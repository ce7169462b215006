from uuid import UUID

import pytest

from engine.lineage.columns import (
    ALL_COLUMNS,
    PRUNED,
    column_map,
    column_maps,
    propagate_columns,
    read_columns,
    union_columns,
)

AVERAGE = column_map([("mean_delay", "dep_delay"), ("delayed", "dep_delay"), ("*", "origin")])


@pytest.mark.parametrize(
    ("dirty", "expected"),
    [
        pytest.param({"dep_delay"}, {"mean_delay", "delayed"}, id="the outputs it shapes"),
        pytest.param({"dep_delay", "notes"}, {"mean_delay", "delayed"}, id="unread ones aside"),
        pytest.param(
            {"origin"}, ALL_COLUMNS, id="a column that shapes all makes every output dirty"
        ),
        pytest.param({"dep_delay", "origin"}, ALL_COLUMNS, id="even beside one that does not"),
        pytest.param({"notes"}, PRUNED, id="unread"),
        pytest.param(set(), PRUNED, id="nothing dirty"),
        pytest.param(ALL_COLUMNS, ALL_COLUMNS, id="unknown, or rows inserted or deleted"),
    ],
)
def test_dirty_columns_propagate_to_dependent_outputs(dirty, expected):
    found = propagate_columns(AVERAGE, dirty if dirty is ALL_COLUMNS else frozenset(dirty))

    assert found == (frozenset(expected) if isinstance(expected, set) else expected)


def test_an_edge_without_column_lineage_reads_everything():
    assert propagate_columns(None, frozenset({"notes"})) is ALL_COLUMNS


def test_an_output_of_any_input_column_is_dirty_with_each():
    assert propagate_columns(column_map([("hash", "*")]), frozenset({"notes"})) == {"hash"}


def test_all_outputs_is_kept_when_more_pairs_follow():
    assert column_map([("*", "a"), ("x", "a"), ("y", "b")]) == {"a": ALL_COLUMNS, "b": ("y",)}


def test_a_job_has_a_column_map_for_each_pair_of_datasets():
    output, one, two = UUID(int=1), UUID(int=2), UUID(int=3)
    text = f'[["{output}", "{one}", ["x", "y"], ["a", "a"]], ["{output}", "{two}", ["*"], ["b"]]]'

    assert column_maps(text) == {
        (output, one): {"a": ("x", "y")},
        (output, two): {"b": ALL_COLUMNS},
    }
    assert column_maps(None) == {}


def test_no_pairs_read_nothing():
    assert column_map([]) == {}


def test_lineage_may_declare_that_no_column_is_read():
    nothing = column_map([("*", "")])

    assert nothing == {}
    assert propagate_columns(nothing, frozenset({"a"})) is PRUNED
    assert column_map([("*", ""), ("x", "a")]) == {"a": ("x",)}


def test_the_union_with_all_columns_is_all_columns():
    assert union_columns(frozenset("a"), frozenset("b")) == {"a", "b"}
    assert union_columns(frozenset("a"), ALL_COLUMNS) is ALL_COLUMNS


def test_the_columns_read_are_those_that_shape_any_output():
    named = column_map([("x", "a"), ("*", "b")])

    assert read_columns([named, column_map([("y", "c")])]) == {"a", "b", "c"}
    assert read_columns([named, None]) is ALL_COLUMNS
    assert read_columns([named, column_map([("hash", "*"), ("y", "c")])]) is ALL_COLUMNS
    assert read_columns([column_map([("*", "")])]) == frozenset()
