"""Cutoff: propagate a result to dependents only through changed partitions and columns.

Only triggering edges of a plan count: a task may wait for another merely to read its output once
finished, although the dirty scope of that output does not reach the task.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from engine.flow.execution.contents import PartitionChange
from engine.flow.execution.followers import Rewritten, rewritten_outputs
from engine.flow.execution.outputs import Report
from engine.flow.shared.org_context import OrgContext
from engine.flow.shared.task_inputs import Reads, input_keys
from engine.lineage.columns import ALL_COLUMNS, DirtyColumns, reaches
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.model.task import Completion
from engine.store.database import Connection
from engine.store.rows.tasks import TriggeredDependent
from engine.store.run import fetch

_Parts = dict[tuple[UUID, str], DirtyColumns]
"""Changed columns by (dataset, partition key)."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Changed outputs of tasks: of ``whole`` tasks all outputs, of others those in ``parts``.

    ``rewritten`` are the outputs that followers must read again.
    """

    whole: Collection[UUID] = ()
    parts: Mapping[UUID, _Parts] = field(default_factory=dict)
    rewritten: Rewritten = field(default_factory=dict)

    @staticmethod
    def of(
        lineage: Lineage,
        completions: Sequence[Completion],
        reports: Sequence[Report],
        changed: Sequence[PartitionChange],
    ) -> Changes:
        """Split tasks into fully and partly changed; ``changed`` is a subset of ``reports``."""
        read_by_all = {
            completion.lease.task_id
            for completion in completions
            if _is_read_by_all(lineage, completion.lease.job)
        }
        written = Counter(report.task_id for report in reports if report.task_id in read_by_all)
        entirely = Counter(
            change.report.task_id for change in changed if change.columns is ALL_COLUMNS
        )
        whole = {task for task, count in written.items() if entirely[task] == count}
        parts: dict[UUID, _Parts] = defaultdict(dict)
        for change in changed:
            report = change.report
            if report.task_id not in whole:
                parts[report.task_id][report.dataset_uuid, report.partition_key] = change.columns
        return Changes(whole, parts, rewritten_outputs(completions, changed))

    def tasks(self) -> set[UUID]:
        """Return all tasks with a changed output."""
        return {*self.whole, *self.parts}


UNCHANGED: Final = Changes()


async def triggered_dependents(
    conn: Connection, org: OrgContext, parts: Mapping[UUID, _Parts]
) -> set[UUID]:
    """Return the dependents of partly changed tasks that read a changed part."""
    if not parts:
        return set()
    dependents = await fetch(
        conn, "tasks.triggered_dependents", TriggeredDependent, ended=list(parts)
    )
    lineage = await org.lineage(conn)
    needs = [(lineage.job(row.job_id), row.partitions) for row in dependents]
    reads = await input_keys(conn, lineage, needs)
    return {
        row.id
        for row, read in zip(dependents, reads, strict=True)
        if _is_triggered(lineage, row, read, parts[row.depends_on])
    }


def _is_triggered(lineage: Lineage, row: TriggeredDependent, read: Reads, changed: _Parts) -> bool:
    """Return True if a task reads a changed part over one of its triggering edges."""
    for edge in lineage.inputs(row.job_id):
        if edge.dataset in row.datasets:
            parts = ((edge.dataset, key) for key in read.get(edge.dataset, ()))
            columns = {changed[part] for part in parts if part in changed}
            if any(reaches(edge.columns, names) for names in columns):
                return True
    return False


def _is_read_by_all(lineage: Lineage, job: Job) -> bool:
    """Return True if every dependent of a task of the job is certain to read its outputs.

    Readers of a block of partitions or of an unbounded set wait for more tasks than they read from.
    """
    return job.has_task_for_each_key and all(
        edge.mapping.is_identity for output in job.outputs for edge in lineage.readers(output)
    )
