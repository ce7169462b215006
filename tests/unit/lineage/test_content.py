"""Comparison of contents: every change raises the version, including a return to old content."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.lineage.columns import ALL_COLUMNS, PRUNED
from engine.lineage.content import Content, Written, by_last_change, with_change
from engine.lineage.content_comparison import compare
from engine.lineage.scope import Scope

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_a_change_has_a_newer_version_even_if_the_clock_was_set_back() -> None:
    before = Content(NOON, fingerprint="1", column_fingerprints={"x": "1", "y": "1"})
    written = Written("2", column_fingerprints={"x": "2", "y": "1"})
    outcome = compare(before, written, None, NOON - timedelta(days=1))
    versions = outcome.content.column_versions
    assert versions is not None
    assert versions["x"] > NOON


def test_a_scope_that_reverts_to_compared_content_has_changed() -> None:
    """A reader of the scope may have run on the content in between."""
    x, y = Scope(frozenset({"x"})), Scope(frozenset({"y"}))
    first = compare(Content(NOON, fingerprint="1"), Written("2"), [x], NOON)
    assert first.columns == {"x"}
    back = compare(first.content, Written("1"), [y], NOON)
    assert back.columns == {"y"}


def test_a_scope_outside_of_the_changed_columns_has_not_changed() -> None:
    before = Content(NOON, fingerprint="1", column_fingerprints={"x": "1", "y": "1"})
    written = Written("2", column_fingerprints={"x": "2", "y": "1"})
    outcome = compare(before, written, [Scope(frozenset({"x"}))], NOON)
    assert (outcome.columns, outcome.unpropagated) == ({"x"}, PRUNED)


def test_a_scope_with_other_content_has_changed_after_many_comparisons() -> None:
    x, y = Scope(frozenset({"x"})), Scope(frozenset({"y"}))
    content = compare(Content(NOON, fingerprint="1"), Written("2"), [x], NOON).content
    for number in range(40):
        other = Scope(frozenset({f"c{number}"}))
        content = compare(content, Written("2"), [other], NOON).content
    content = compare(content, Written("1"), [y], NOON).content
    outcome = compare(content, Written("1"), [x], NOON)
    versions = outcome.content.column_versions
    assert versions is not None
    assert versions["x"] == content.changed_at
    assert outcome.content.attributed is not None
    assert len(outcome.content.attributed) <= 16


def test_a_dropped_row_change_does_not_hide_a_later_change_of_its_column() -> None:
    earlier, later = NOON + timedelta(hours=1), NOON + timedelta(hours=2)
    content = with_change(Content(NOON), Scope(frozenset({"x", "y"}), {"row": "1"}), earlier)
    content = with_change(content, Scope(frozenset({"x"})), later)
    merged = content.without(content.row_changes)
    assert merged.column_versions == {"*": NOON, "x": later, "y": earlier}
    assert merged.row_changes == ()


@pytest.mark.parametrize("reported", [Written("2"), Written("2", changed_columns=frozenset())])
def test_unknown_content_is_a_change_not_narrowed_by_reported_columns(
    reported: Written,
) -> None:
    """An attempt has written and failed, and readers may have run before or after the write."""
    outcome = compare(Content(NOON), reported, [Scope(frozenset({"x"}))], NOON)
    assert (outcome.columns, outcome.unpropagated) == (ALL_COLUMNS, ALL_COLUMNS)


def test_other_rows_of_a_rejected_change_are_not_propagated() -> None:
    before = Content(NOON, column_fingerprints={"x": "1", "y": "1"})
    written = Written("2", {"x": "2", "y": "1"})
    outcome = compare(before, written, [Scope(frozenset({"x"}), {"row": "1"})], NOON)
    assert outcome.unpropagated == {"x"}


@pytest.mark.parametrize(
    ("written", "is_same"),
    [
        (Written("1"), True),
        (Written("2"), False),
        (Written("2", is_changed=False), True),
        (Written("1", is_changed=True), False),
    ],
)
def test_the_result_before_a_rejection_is_no_change(written: Written, is_same: bool) -> None:
    before = Content(NOON, unverified_fingerprint="1")
    outcome = compare(before, written, [Scope(frozenset({"x"}))], NOON)
    assert outcome.columns == (PRUNED if is_same else ALL_COLUMNS)
    assert outcome.unpropagated == (PRUNED if is_same else ALL_COLUMNS)
    assert outcome.content.unverified_fingerprint is None


def test_unchanged_columns_are_compared_in_every_row_without_a_fingerprint() -> None:
    """A rejection discards the fingerprint, and a run for some rows finds the same columns."""
    columns = {"x": "1", "y": "1"}
    before = Content(NOON, column_fingerprints=columns)
    rows = Scope(frozenset({"x"}), {"row": "1"})
    outcome = compare(before, Written("1", columns), [rows], NOON)
    assert outcome.columns is PRUNED
    assert outcome.content.attributed is None


def test_an_equal_fingerprint_does_not_override_a_reported_change() -> None:
    """A worker may report equal fingerprints for different contents if it reports a change."""
    x, y = Scope(frozenset({"x"})), Scope(frozenset({"y"}))
    first = compare(
        Content(NOON, fingerprint="1 row"), Written("1 row", is_changed=True), [x], NOON
    )
    again = compare(first.content, Written("1 row", is_changed=False), [y], NOON)
    versions = again.content.column_versions
    assert versions is not None
    assert versions["y"] == first.content.changed_at


@pytest.mark.parametrize("scopes", [None, [Scope(frozenset({"x"}))]])
def test_a_run_with_the_fingerprint_of_a_repair_is_no_change(
    scopes: list[Scope] | None,
) -> None:
    """The repair of a table counts as a change, although its fingerprint is the last recorded."""
    before = Content(NOON, fingerprint="1")
    repaired = compare(before, Written("1", is_changed=True), scopes, NOON)
    assert repaired.columns != PRUNED
    outcome = compare(repaired.content, Written("1"), scopes, NOON + timedelta(days=1))
    assert (outcome.columns, outcome.content.changed_at) == (PRUNED, repaired.content.changed_at)
    other = compare(outcome.content, Written("2"), scopes, NOON + timedelta(days=2))
    assert other.columns != PRUNED


def test_each_change_of_a_column_has_a_newer_version() -> None:
    content = Content(NOON, fingerprint="0", column_fingerprints={"x": "0", "y": "0"})
    for number in range(1, 4):
        written = Written(str(number), {"x": str(number), "y": "0"})
        after = compare(content, written, [Scope(frozenset({"x"}))], NOON).content
        assert after.column_versions is not None
        assert after.column_versions["x"] > content.changed_at
        assert after.column_versions["*"] == NOON
        content = after


def test_added_rows_change_every_column_despite_reported_columns() -> None:
    before = Content(NOON, fingerprint="1", row_count=1)
    written = Written("2", row_count=2, changed_columns=frozenset({"x"}))
    outcome = compare(before, written, [Scope(frozenset({"x"}))], NOON)
    assert (outcome.columns, outcome.unpropagated) == (ALL_COLUMNS, ALL_COLUMNS)


def test_other_rows_of_a_column_have_the_version_of_the_run_that_read_them() -> None:
    of_row = [Scope(frozenset({"x"}), {"row": each}) for each in "12"]
    before = Content(NOON, fingerprint="1", column_fingerprints={"x": "1", "y": "1"})
    written = Written("2", {"x": "2", "y": "1"})
    content = compare(before, written, of_row[:1], NOON).content
    later = compare(content, written, of_row[1:], NOON).content
    assert [(each.scope, each.at) for each in later.row_changes] == [
        (each, content.changed_at) for each in of_row
    ]


@pytest.mark.parametrize("scopes", [None, [Scope(frozenset({"y"}))], [Scope()]])
def test_only_changed_columns_are_unverified_for_rows_never_compared(
    scopes: list[Scope] | None,
) -> None:
    """After a run for some rows, other rows of the changed columns are unverified."""
    before = Content(NOON, fingerprint="1", column_fingerprints={"x": "1", "y": "1"})
    written = Written("2", {"x": "2", "y": "1"})
    rows = Scope(frozenset({"x"}), {"row": "1"})
    content = compare(before, written, [rows], NOON + timedelta(hours=1)).content
    again = compare(content, written, scopes, NOON + timedelta(hours=2))
    versions = again.content.column_versions
    assert versions is not None
    assert versions["*"] == NOON
    assert versions.get("y", NOON) == NOON
    is_open = scopes is None or scopes[0].columns is None
    assert versions.get("x", NOON) == (content.changed_at if is_open else NOON)


def test_columns_changed_by_earlier_runs_keep_the_versions_of_these_runs() -> None:
    """A reader that has run since has read them, whichever rows the runs were planned for."""
    minute = timedelta(minutes=1)
    b, a, whole = Scope(None, {"k": "B"}), Scope(None, {"k": "A"}), Scope()
    both, x = frozenset({"x", "y"}), frozenset({"x"})
    content = Content(NOON, fingerprint="0", row_count=2)
    first = compare(content, Written("1", row_count=2, changed_columns=both), [b], NOON + minute)
    second = compare(
        first.content, Written("2", row_count=2, changed_columns=x), [a], NOON + 2 * minute
    )
    assert second.columns == x
    assert [(each.at, each.scope) for each in second.content.row_changes] == [
        (NOON + minute, Scope(both, {"k": "B"})),
        (NOON + minute, Scope(frozenset({"y"}), {"k": "A"})),
        (NOON + 2 * minute, Scope(x, {"k": "A"})),
    ]
    third = compare(
        second.content, Written("3", row_count=2, changed_columns=x), [whole], NOON + 3 * minute
    )
    versions = third.content.column_versions
    assert versions is not None
    assert (versions["x"], versions["y"]) == (NOON + 3 * minute, NOON + minute)


def test_any_column_may_have_changed_after_a_run_without_column_report() -> None:
    before = Content(NOON, fingerprint="1", column_fingerprints={"x": "1", "y": "1"})
    rows = Scope(frozenset({"x"}), {"row": "1"})
    written = Written("2", {"x": "2", "y": "1"})
    content = compare(before, written, [rows], NOON + timedelta(hours=1)).content
    content = compare(content, Written("3"), [rows], NOON + timedelta(hours=2)).content
    again = compare(content, Written("3"), None, NOON + timedelta(hours=3))
    assert again.content.column_versions is None
    assert again.content.changed_at == NOON + timedelta(hours=2)


def test_an_unpropagated_change_has_its_own_version() -> None:
    """Once planned, the change makes earlier readers stale, and later readers stay fresh."""
    later = NOON + timedelta(hours=1)
    taken_in = compare(Content(NOON, fingerprint="1"), Written("2"), [], later)
    assert taken_in.columns is PRUNED
    assert (taken_in.content.changed_at, taken_in.content.column_versions) == (later, {"*": NOON})
    planned = compare(taken_in.content, Written("2"), [Scope()], later + timedelta(hours=1))
    assert (planned.content.changed_at, planned.content.column_versions) == (later, None)


def test_a_run_sets_its_version_only_on_changed_columns() -> None:
    """Columns left uncompared since an earlier run keep the version of the change before it."""
    unknown = Content(NOON, fingerprint="unreported")
    scopes = [Scope(frozenset({"x"})), Scope(frozenset({"y"}))]
    before = compare(unknown, Written("1", {"x": "1", "y": "1"}), scopes, NOON).content
    later = NOON + timedelta(hours=1)
    outcome = compare(before, Written("2", {"x": "2", "y": "1"}), None, later)
    assert outcome.columns == {"x"}
    assert outcome.content.column_versions == {"*": before.changed_at, "x": later}


SCOPES = st.builds(
    Scope,
    st.none() | st.frozensets(st.sampled_from("xyz"), min_size=1),
    st.none() | st.sampled_from([{"row": "1"}, {"row": "2"}]),
)


@given(st.lists(st.tuples(SCOPES, st.integers(0, 9)), max_size=8))
def test_versions_never_decrease_whatever_the_order_of_the_changes(
    changes: list[tuple[Scope, int]],
) -> None:
    content = Content(NOON)
    for scope, hours in changes:
        before, at = _versions(content), NOON + timedelta(hours=hours)
        content = with_change(content, scope, at)
        after = _versions(content)
        assert content.changed_at == max(after.values())
        changed = "wxyz" if scope.columns is None else scope.columns
        for column in "wxyz":
            assert after[column] == (
                max(before[column], at) if column in changed else before[column]
            )


def _versions(content: Content) -> dict[str, datetime]:
    """Return the version of each column, in whichever rows."""
    groups = by_last_change(content, frozenset("wxyz")).items()
    return {column: version for version, columns in groups for column in columns}


def test_a_change_of_an_earlier_run_does_not_lower_the_version_of_the_content() -> None:
    earlier, later = NOON + timedelta(hours=1), NOON + timedelta(hours=2)
    y = Scope(frozenset({"y"}))
    first = compare(
        Content(NOON, fingerprint="1"),
        Written("2", changed_columns=frozenset({"y"})),
        [Scope(y.columns, {"row": "1"})],
        earlier,
    )
    x = Written("3", changed_columns=frozenset({"x"}))
    second = compare(first.content, x, [Scope(frozenset({"x"}))], later)
    third = compare(second.content, Written("3"), [y], later + timedelta(hours=1))
    assert third.content.changed_at == later
    assert third.content.column_versions == {"*": NOON, "x": later, "y": earlier}
