"""Compare the plan shown for a change with the plan that would run now.

Only the work counts: jobs, partitions, the partitions that must run, row filters, and the number of
partitions per task. A new version of the lineage alone is no difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from engine.errors import InvalidPartition
from engine.lineage.graph import Lineage
from engine.partitions import PartitionSpace
from engine.planner.document import partitions_of

JobName = tuple[str, str]
"""(DAG, job)."""
Steps = Mapping[JobName, Mapping[str, Any]]


class DifferenceKind(StrEnum):
    """Kind of a difference: a job is only in the later plan, only in the earlier, or in both."""

    NEW = "new"
    GONE = "gone"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class Difference:
    """Difference in one job's step; ``more`` and ``fewer`` are the added and removed partitions.

    ``notes`` describe other differences of the remaining partitions in words.
    """

    dag: str
    job: str
    kind: DifferenceKind
    more: tuple[str, ...] = ()
    fewer: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def differences(before: Steps, now: Steps, lineage: Lineage) -> tuple[Difference, ...]:
    """Compare the steps of two plans' documents, by job; ``lineage`` is the lineage of ``now``."""
    return (*_came(before, now), *_went(before, now), *_changed(before, now, lineage))


def _came(before: Steps, now: Steps) -> Iterator[Difference]:
    for name, step in now.items():
        if name not in before:
            yield Difference(*name, DifferenceKind.NEW, more=tuple(partitions_of(step)))


def _went(before: Steps, now: Steps) -> Iterator[Difference]:
    for name, step in before.items():
        if name not in now:
            yield Difference(*name, DifferenceKind.GONE, fewer=tuple(partitions_of(step)))


def _changed(before: Steps, now: Steps, lineage: Lineage) -> Iterator[Difference]:
    for name, new in now.items():
        old = before.get(name, new)
        if _what_runs(old) != _what_runs(new) or _has_other_bounds(old, new):
            space = lineage.job_space(lineage.job(UUID(new["job"])))
            yield Difference(
                *name,
                DifferenceKind.DIFFERENT,
                more=_only(space, partitions_of(new), partitions_of(old)),
                fewer=_only(space, partitions_of(old), partitions_of(new)),
                notes=tuple(_notes(old, new)),
            )


def _what_runs(step: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("directly_invalidated", "row_filters", "max_partitions_per_run")
    return tuple(partitions_of(step)), *(step.get(name) for name in names)


def _has_other_bounds(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Return True if equal texts mean other partitions; old plans have no bounds."""
    return "bounds" in old and old["bounds"] != new.get("bounds")


def _only(space: PartitionSpace, these: Sequence[str], those: Sequence[str]) -> tuple[str, ...]:
    """Return the partitions in the first list only; all if the partitioning has changed."""
    try:
        return tuple(space.texts(space.from_keys(these) - space.from_keys(those)))
    except InvalidPartition:
        return tuple(these)


def _notes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    have_partitions = partitions_of(old) and partitions_of(new)
    if have_partitions and old.get("directly_invalidated") != new.get("directly_invalidated"):
        yield f"must run: {_must_run(old)} before, {_must_run(new)} now"
    if _has_other_bounds(old, new):
        yield "the bounds of the dataset have changed"
    if old.get("row_filters") != new.get("row_filters"):
        yield f"rows: {old.get('row_filters')} before, {new.get('row_filters')} now"
    before, now = old.get("max_partitions_per_run"), new.get("max_partitions_per_run")
    if before != now:
        yield f"partitions per task: {before} before, {now} now"


def _must_run(step: Mapping[str, Any]) -> str:
    invalidated = step.get("directly_invalidated", "none")
    return invalidated if isinstance(invalidated, str) else ", ".join(invalidated)
