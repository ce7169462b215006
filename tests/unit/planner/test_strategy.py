"""Steps by the job's strategy: partitions that must run, and partitions that run if stale."""

import pytest

from tests.support.lineages import DAY, change, lineage, made, planned, source, texts

A, B = source("a", DAY), source("b", DAY)
FEBRUARY = {"dt": {"time": "day", "start": "2013-02-01", "end": "2013-03-01"}}
FIRST, SECOND = "2013-02-13", "2013-02-14"


def _found(name: str, partitions: str):
    """A change made and versioned by a run."""
    return change(name, partitions, reason="found")


def test_partitions_triggered_only_by_a_reported_change_run_if_stale() -> None:
    world = lineage(A, B, made("c", DAY, "a", "b"))
    (step,) = planned(world, _found("a", f"{FIRST}..{SECOND}"), change("b", SECOND)).steps
    assert texts(step.directly_invalidated) == SECOND
    assert texts(step.if_stale) == FIRST


@pytest.mark.parametrize("other", [None, "b"])
def test_a_single_run_runs_if_stale_unless_otherwise_triggered(other: str | None) -> None:
    world = lineage(A, B, made("c", FEBRUARY, "a", "b", strategy="Full"))
    changes = [_found("a", FIRST), *([change(other, SECOND)] if other else [])]
    existing = {"c": "2013-02-01..2013-02-28"}
    (step,) = planned(world, *changes, existing=existing).steps
    assert bool(step.if_stale) is (other is None)
    assert bool(step.directly_invalidated) is (other is not None)


@pytest.mark.parametrize("other", [(), ("b",)])
def test_a_single_run_runs_for_partitions_outside_of_its_last_run(
    other: tuple[str, ...],
) -> None:
    """Even if another trigger may produce an unchanged result."""
    world = lineage(A, B, made("d", DAY, "b"), made("c", DAY, "a", "d", strategy="Full"))
    existing = {"a": f"{FIRST}..{SECOND}", "c": FIRST}
    changes = [_found("a", SECOND), *(change(name, FIRST) for name in other)]
    step = planned(world, *changes, existing=existing).steps[-1]
    assert not step.if_stale
    assert texts(step.directly_invalidated) == f"{FIRST}..{SECOND}"
