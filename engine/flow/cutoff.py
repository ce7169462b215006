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
from engine.model.task import Completion
from engine.store.database import Connection
from engine.store.run import Row, execute, fetch

_Keys = Mapping[UUID, Collection[str]]


@dataclass(frozen=True, slots=True)
class Changes:
    """What came out changed: ``whole`` tasks in all that they made, others in ``parts`` of it.

    A part has a ``dataset_uuid``, a ``partition_key``, and ``columns``; null: all of them.
    ``made`` holds all that those have made of which it is known what was said to be new.
    """

    whole: Collection[UUID] = ()
    parts: Mapping[UUID, Sequence[Row]] = field(default_factory=dict)
    made: Mapping[UUID, Sequence[PartitionRow]] = field(default_factory=dict)

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
        return Changes(whole, parts, _told(made))

    @property
    def tasks(self) -> set[UUID]:
        """All tasks of which anything changed."""
        return {*self.whole, *self.parts}


UNCHANGED: Final = Changes()


async def uncross(
    conn: Connection, scene: Scene, made: Mapping[UUID, Sequence[PartitionRow]]
) -> None:
    """Forget the edges over which a plan came to a task for columns that were not said after all.

    It reckoned with all that might come out new in front of what has ended now. Belongs before
    `reached`, and into the same transaction.
    """
    if not made:
        return
    lineage = await scene.lineage(conn)
    rows = [
        {"task_id": row["id"], "depends_on": row["depends_on"], "datasets": left}
        for row, read in await _behind(conn, lineage, made)
        if (left := _still_crossed(lineage, row, read, made[row["depends_on"]])) != row["datasets"]
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


def _told(made: Sequence[PartitionRow]) -> dict[UUID, list[PartitionRow]]:
    """By task, all that it made, where of some of it only some columns were said."""
    told: dict[UUID, list[PartitionRow]] = {
        row.task_id: [] for row in made if row.said_columns is not None
    }
    for row in made:
        if row.task_id in told:
            told[row.task_id].append(row)
    return told


def _still_crossed(
    lineage: Lineage, row: Row, read: _Keys, made: Sequence[PartitionRow]
) -> list[UUID]:
    """The datasets of which a task reads something that was said; or nothing that was made."""
    said: dict[UUID, set[DirtyColumns]] = {}
    for each in made:
        if each.partition_key in read.get(each.dataset_uuid, ()):
            said.setdefault(each.dataset_uuid, set()).add(each.said_columns)
    # Of nothing that was said nothing is read, whatever an edge carries.
    return [
        dataset
        for dataset in row["datasets"]
        if dataset not in said
        or any(_are_read(lineage, row["job_id"], dataset, e) for e in said[dataset] - {frozenset()})
    ]


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
