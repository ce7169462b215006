"""Cutoff: a result reaches the tasks behind it only through partitions and columns that changed.

And only over the edges that a plan has crossed: a task may wait for another merely so as to read
what it leaves, while what is dirty there does not reach it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from psycopg.types.json import Jsonb

from engine.flow.outputs import PartitionRow
from engine.flow.reading import input_keys
from engine.flow.scene import Scene
from engine.lineage.columns import DirtyColumns, reaches, read_columns
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.model.task import Completion, Lease
from engine.store.database import Connection
from engine.store.run import Row, execute, fetch

_Keys = Mapping[UUID, Collection[str]]
_Said = dict[tuple[UUID, str], DirtyColumns]
"""By (dataset, partition key), the columns in which it was said to be new."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What came out changed: ``whole`` tasks in all that they made, others in ``parts`` of it.

    A part has a ``dataset_uuid``, a ``partition_key``, and ``columns``; null: all of them.
    ``told`` is what was said by task of all that it made, whether that is new or not.
    """

    whole: Collection[UUID] = ()
    parts: Mapping[UUID, Sequence[Row]] = field(default_factory=dict)
    told: Mapping[UUID, _Said] = field(default_factory=dict)

    @staticmethod
    def of(
        lineage: Lineage,
        completions: Sequence[Completion],
        made: Sequence[PartitionRow],
        changed: Sequence[Row],
    ) -> Changes:
        """Tell them apart: ``changed`` is what `partitions.write` found so of what was ``made``."""
        single = {c.lease.task_id for c in completions if _is_read_by_all(lineage, c.lease.job)}
        entirely = Counter(row["task_id"] for row in changed if row["columns"] is None)
        written = Counter(row.task_id for row in made if row.task_id in single)
        whole = {task for task, count in written.items() if entirely[task] == count}
        parts: dict[UUID, list[Row]] = {}
        for row in changed:
            if row["task_id"] not in whole:
                parts.setdefault(row["task_id"], []).append(row)
        return Changes(whole, parts, _told(completions, made))

    @property
    def tasks(self) -> set[UUID]:
        """All tasks of which anything changed."""
        return {*self.whole, *self.parts}


UNCHANGED: Final = Changes()


async def uncross(conn: Connection, scene: Scene, told: Mapping[UUID, _Said]) -> None:
    """Forget the edges over which a plan came to a task for columns that were not said after all.

    It reckoned with all that might come out new in front of what has ended now. Belongs before
    `reached`, and into the same transaction.
    """
    if not told:
        return
    lineage = await scene.lineage(conn)
    rows = [
        {"task_id": row["id"], "depends_on": row["depends_on"], "datasets": left}
        for row, read in await _behind(conn, lineage, told)
        if (left := _still_crossed(lineage, row, read, told[row["depends_on"]])) != row["datasets"]
    ]
    if rows:
        await execute(conn, "tasks.uncross", rows=Jsonb(rows))


async def reached(conn: Connection, scene: Scene, parts: Mapping[UUID, Sequence[Row]]) -> set[UUID]:
    """Of the tasks that wait behind those that changed in parts, those that read such a part."""
    if not parts:
        return set()
    lineage = await scene.lineage(conn)
    return {
        row["id"]
        for row, read in await _behind(conn, lineage, parts)
        if any(
            part["dataset_uuid"] in row["datasets"] and _is_read(lineage, row["job_id"], read, part)
            for part in parts[row["depends_on"]]
        )
    }


async def _behind(
    conn: Connection, lineage: Lineage, ended: Collection[UUID]
) -> list[tuple[Row, _Keys]]:
    """What waits directly behind tasks, each with what it reads."""
    behind = await fetch(conn, "tasks.behind", ended=list(ended))
    needs = [(lineage.job(row["job_id"]), row["partitions"]) for row in behind]
    reads = [
        {dataset: frozenset(keys) for dataset, keys in each.items()}
        for each in await input_keys(conn, lineage, needs)
    ]
    return list(zip(behind, reads, strict=True))


def _told(completions: Sequence[Completion], made: Sequence[PartitionRow]) -> dict[UUID, _Said]:
    """By task, what was said of all that it made, if anything was."""
    told: dict[UUID, _Said] = {row.task_id: {} for row in made if row.said_columns}
    for row in made:
        if row.task_id in told:
            told[row.task_id][row.dataset_uuid, row.partition_key] = row.said_columns
    leases = (each.lease for each in completions if each.lease.task_id in told)
    return {each.task_id: told[each.task_id] for each in leases if _is_all(each, told)}


def _is_all(lease: Lease, told: Mapping[UUID, _Said]) -> bool:
    """Whether a run has made all that its task was for, and left nothing as it was."""
    made = told[lease.task_id]
    return all((each.id, key) in made for each in lease.outputs for key in lease.partitions)


def _still_crossed(lineage: Lineage, row: Row, read: _Keys, made: _Said) -> list[UUID]:
    """The datasets of which a task reads something that was said, or nothing that was made."""
    left = []
    for dataset in row["datasets"]:
        said = {made[dataset, key] for key in read.get(dataset, ()) if (dataset, key) in made}
        # Of nothing that was said nothing is read, whatever an edge carries.
        if not said or any(
            _are_read(lineage, row["job_id"], dataset, each) for each in said - {frozenset()}
        ):
            left.append(dataset)
    return left


def _is_read_by_all(lineage: Lineage, job: Job) -> bool:
    """Whether who waits for a task of the job reads what it makes, for certain.

    Who reads a block, or what has no end, waits for more than it reads.
    """
    return job.has_task_for_each_key and all(
        edge.mapping.is_identity for output in job.outputs for edge in lineage.readers(output)
    )


def _is_read(lineage: Lineage, job: UUID, read: _Keys, part: Row) -> bool:
    columns: DirtyColumns = None if part["columns"] is None else frozenset(part["columns"])
    return part["partition_key"] in read.get(part["dataset_uuid"], ()) and _are_read(
        lineage, job, part["dataset_uuid"], columns
    )


def _are_read(lineage: Lineage, job: UUID, dataset: UUID, columns: DirtyColumns) -> bool:
    return any(
        reaches(edge.columns, columns) for edge in lineage.inputs(job) if edge.dataset == dataset
    )


def reads(lineage: Lineage, jobs: Collection[UUID]) -> list[dict[str, object]]:
    """What jobs read: rows of job, dataset, columns; an input that is read whole has none."""
    return [
        {"job": job, "dataset": edge.dataset, "columns": sorted(columns)}
        for job in jobs
        for edge in lineage.inputs(job)
        if (columns := read_columns(edge.columns)) is not None
    ]
