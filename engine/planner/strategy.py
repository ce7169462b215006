"""Derive a job's step from its triggers, by execution strategy.

A `PerPartition` job recomputes the triggered partitions. `Full` and `PerUpdate` jobs are
single-run: any trigger causes one run for the whole output, in one task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any

from engine.lineage.columns import PRUNED, union_columns
from engine.lineage.rows import RowFilter
from engine.model.job import Job
from engine.model.states import ExecutionStrategy
from engine.partitions import PartitionSet
from engine.planner.bounds import Extents
from engine.planner.dirty import DirtyScope, coalesce
from engine.planner.plan import Trigger

MAX_FILTERS = 50
"""Limit on the row filters of a task; more are widened to all rows, also where tasks are merged."""

_NEW_ROWS = RowFilter()


def recomputed(job: Job, extents: Extents, triggers: Sequence[Trigger]) -> PartitionSet:
    """Return the step's output partitions; if single-run, all within bounds, else all known.

    Of the partitions within bounds, those still to come are left out.
    """
    partitions = PartitionSet.union([trigger.partitions for trigger in triggers])
    if not job.is_single_run:
        return partitions
    universe = partitions.space.universe
    if not universe.is_finite:
        return extents.of_job(job) | partitions
    return extents.in_being(job, universe)


def must_run(
    job: Job, extents: Extents, triggers: Sequence[Trigger], partitions: PartitionSet
) -> tuple[PartitionSet, PartitionSet]:
    """Return the step's directly invalidated partitions, and those that run if stale.

    For a single-run job, each is all or none. Most steps of a wave have neither.
    """
    direct, if_stale = [], []
    for trigger in triggers:
        if trigger.dirty.only_if_stale:
            if_stale.append(trigger.partitions)
        elif trigger.from_job is None:
            direct.append(trigger.partitions)
    none = must = partitions.space.empty
    if if_stale and _finds_new(job, extents, if_stale):
        return partitions, none
    if direct:
        is_all = job.is_single_run or len(direct) == len(triggers)
        must = partitions if is_all else PartitionSet.union(direct)
    return must, _without_others(job, triggers, if_stale, partitions) if if_stale else none


def _without_others(
    job: Job,
    triggers: Sequence[Trigger],
    if_stale: Sequence[PartitionSet],
    partitions: PartitionSet,
) -> PartitionSet:
    """Return the partitions triggered only by changes found by a run."""
    others = [trigger.partitions for trigger in triggers if not trigger.dirty.only_if_stale]
    if not others:
        return partitions
    if job.is_single_run:
        return partitions.space.empty
    return PartitionSet.union(if_stale) - PartitionSet.union(others)


def _finds_new(job: Job, extents: Extents, versioned: Sequence[PartitionSet]) -> bool:
    """Return True if a `Full` job is to build partitions not named by any task.

    A change found by a run gives them, or they have come into being as time passed. The last run of
    the job may have read the change, but was not asked for such partitions.
    """
    if job.strategy != ExecutionStrategy.FULL:
        return False
    return not all(
        extents.known(output).covers(partitions)
        for output in job.outputs
        for partitions in versioned
    )


def row_filters(job: Job, triggers: Sequence[Trigger]) -> tuple[Mapping[str, Any] | None, ...]:
    """Return the rows that a `PerUpdate` job reads of its cursor input; empty for other jobs.

    Any of: a filter's rows, ``{}`` for the new rows past the cursor, None for all rows.
    """
    if not job.is_per_update:
        return ()
    wanted = [_read_again(trigger) for trigger in triggers]
    distinct = dict.fromkeys(wanted)
    if None in distinct or len(distinct) > MAX_FILTERS:
        return (None,)
    return tuple(rows.spec() for rows in distinct if rows is not None)


def _read_again(trigger: Trigger) -> RowFilter | None:
    """Return the rows concerned by a trigger; a filter without conditions means the new rows."""
    if trigger.edge is None or trigger.edge.input.cursor is None:
        return None
    return trigger.dirty.rows or (_NEW_ROWS if trigger.dirty.has_grown else None)


def dirty_output(
    job: Job, output: int, triggers: Sequence[Trigger], partitions: PartitionSet
) -> Sequence[DirtyScope]:
    """Return the scopes made dirty by a step in one of the job's outputs, by output index."""
    scopes = [
        trigger.dirty.passed_on(trigger.partitions, columns, trigger.rows)
        for trigger in triggers
        if (columns := trigger.columns[output]) is not PRUNED
    ]
    return _as_one(job, triggers, scopes, partitions) if job.is_single_run else coalesce(scopes)


def _as_one(
    job: Job, triggers: Sequence[Trigger], scopes: Sequence[DirtyScope], partitions: PartitionSet
) -> Sequence[DirtyScope]:
    """Return one scope of all partitions, for any dirty rows.

    A run on new rows is expected to add rows only. If it changes others, its completion lets
    followers read all rows (see `flow.execution.followers`).
    """
    if not scopes or not partitions:
        return ()
    columns = reduce(union_columns, (scope.columns for scope in scopes))
    invalidations = reduce(or_, (scope.invalidations for scope in scopes))
    grows = all(_read_again(trigger) == _NEW_ROWS for trigger in triggers)
    return [DirtyScope(partitions, columns, None, invalidations, in_place=False, has_grown=grows)]
