"""Histories of a partition: no reader stays stale, for any reports of runs and any plans."""

from collections.abc import Callable
from typing import Any, get_args

from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.lineage.scope import EVERYTHING, Scope
from tests.property.lineage.partition import COLUMNS, ROWS, Partition, Report

_X, _Y = frozenset({"x"}), frozenset({"y"})
_ROW = {"row": ROWS[0]}
READERS = (Scope(_X), Scope(_Y), Scope(_X | _Y), EVERYTHING, Scope(_X, _ROW), Scope(None, _ROW))
"""No reader reads ``z`` alone, so reports may omit the fingerprint of ``z``."""

_columns = st.none() | st.frozensets(st.sampled_from(COLUMNS), min_size=1, max_size=2)
_scopes = st.builds(Scope, _columns, st.sampled_from([None, *({"row": each} for each in ROWS)]))
_values = st.lists(st.integers(0, 1), max_size=6)
# A worker mostly reports in one way, and many faults require repeated reports of the same kind.
_workers = st.lists(st.sampled_from(get_args(Report)), min_size=1, max_size=3)


def _step(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(st.just(name), *arguments)


_steps = st.one_of(
    _step("change", _scopes, _values),
    _step("plan", st.builds(lambda at, n: slice(at, at + n), st.integers(0, 1), st.integers(1, 3))),
    _step(
        "complete",
        st.integers(0, 5),
        st.integers(-9, 9),
        st.sampled_from([True, True, True, False]),
    ),
    _step("read", st.integers(0, len(READERS) - 1)),
    _step("read_all_queued"),
    _step("read_all_queued"),
    _step("cancel"),
    _step("die"),
)


_READ_EARLY = [
    ("change", Scope(_X), [1, 1]),
    ("change", Scope(_Y), [1, 1]),
    ("plan", slice(1, 2)),
    ("complete", 0, 1, True),
    ("read_all_queued",),
    ("plan", slice(1)),
    ("cancel",),
]
"""The run for the second change reads the first as well; then the task of the first is canceled."""


@example(history=_READ_EARLY, workers=["whole"])
@given(history=st.lists(_steps, min_size=4, max_size=24), workers=_workers)
@settings(max_examples=1500)
def test_a_reader_of_outdated_content_is_stale_and_will_be_rebuilt(
    history: list[Any], workers: list[Report]
) -> None:
    partition = Partition(READERS)
    for name, *arguments in [*history, ("plan", slice(None)), ("complete", 0, 0, True)]:
        match name:
            case "complete":
                worker, seconds, is_known = arguments
                report = workers[worker % len(workers)]
                assert partition.complete(report, seconds, is_known=is_known) == []
            case "cancel":
                assert partition.cancel() == []
            case "read":
                partition.read(partition.readers[arguments[0]])
            case _:
                step: Callable[..., None] = getattr(partition, name)
                step(*arguments)
