"""Cutoff: a result reaches the tasks behind it only through partitions and columns that changed.

And only over the edges that a plan has crossed: a task may wait for another merely so as to read
what it leaves, while what is dirty there does not reach it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
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
_Columns = dict[tuple[UUID, str], DirtyColumns]
"""Columns by (dataset, partition key)."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What came out changed: ``whole`` tasks in all that they made, others in ``parts`` of it.

    ``parts`` are the columns that changed, by task; ``told`` those in which it was said of all
    that a task has made that it is new, whether it is or not.
    """

    whole: Collection[UUID] = ()
    parts: Mapping[UUID, _Columns] = field(default_factory=dict)
    told: Mapping[UUID, _Columns] = field(default_factory=dict)

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
        parts: dict[UUID, _Columns] = defaultdict(dict)
        for row in changed:
            if row["task_id"] not in whole:
                columns = None if row["columns"] is None else frozenset(row["columns"])
                parts[row["task_id"]][row["dataset_uuid"], row["partition_key"]] = columns
        return Changes(whole, parts, _told(completions, made))

    @property
    def tasks(self) -> set[UUID]:
        """All tasks of which anything changed."""
        return {*self.whole, *self.parts}


UNCHANGED: Final = Changes()


async def reached(conn: Connection, scene: Scene, changes: Changes) -> set[UUID]:
    """Of the tasks that wait behind what came out changed in parts, those that read such a part.

    Forgets the edges over which a plan came to a task for columns that were not said after all: it
    reckoned with all that might come out new in front of what has ended now.
    """
    ended = {*changes.parts, *changes.told}
    if not ended:
        return set()
    lineage = await scene.lineage(conn)
    behind = await _behind(conn, lineage, ended)
    await _uncross(conn, lineage, behind, changes.told)
    return {
        row["id"]
        for row, read in behind
        if _is_hit(lineage, row, read, changes.parts.get(row["depends_on"], {}))
    }


async def _uncross(
    conn: Connection,
    lineage: Lineage,
    behind: Sequence[tuple[Row, _Keys]],
    told: Mapping[UUID, _Columns],
) -> None:
    fewer = []
    for row, read in behind:
        left = _still_crossed(lineage, row, read, told.get(row["depends_on"], {}))
        if left != row["datasets"]:
            row["datasets"] = left
            fewer.append({"task_id": row["id"], "depends_on": row["depends_on"], "datasets": left})
    if fewer:
        await execute(conn, "tasks.uncross", rows=Jsonb(fewer))


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


def _told(completions: Sequence[Completion], made: Sequence[PartitionRow]) -> dict[UUID, _Columns]:
    """By task, what was said of all that it made, if anything was."""
    told: dict[UUID, _Columns] = {row.task_id: {} for row in made if row.said_columns}
    for row in made:
        if row.task_id in told:
            told[row.task_id][row.dataset_uuid, row.partition_key] = row.said_columns
    leases = (each.lease for each in completions if each.lease.task_id in told)
    return {each.task_id: told[each.task_id] for each in leases if _is_all(each, told)}


def _is_all(lease: Lease, told: Mapping[UUID, _Columns]) -> bool:
    """Whether a run has made all that its task was for, and left nothing as it was."""
    made = told[lease.task_id]
    return all((each.id, key) in made for each in lease.outputs for key in lease.partitions)


def _still_crossed(lineage: Lineage, row: Row, read: _Keys, said: _Columns) -> list[UUID]:
    """The datasets of which a task reads something that was said, or nothing that was made."""
    found = {dataset: _found(said, read, dataset) for dataset in row["datasets"]}
    return [
        dataset
        for dataset, columns in found.items()
        if not columns or _is_read(lineage, row, dataset, columns)
    ]


def _is_hit(lineage: Lineage, row: Row, read: _Keys, changed: _Columns) -> bool:
    return any(
        _is_read(lineage, row, dataset, _found(changed, read, dataset))
        for dataset in row["datasets"]
    )


def _found(made: _Columns, read: _Keys, dataset: UUID) -> set[DirtyColumns]:
    """The columns of what is read of a dataset, as far as it was made."""
    return {made[dataset, key] for key in read.get(dataset, ()) if (dataset, key) in made}


def _is_read(lineage: Lineage, row: Row, dataset: UUID, columns: set[DirtyColumns]) -> bool:
    """Whether a task reads any of these; of none it reads nothing, whatever an edge carries."""
    return any(
        reaches(edge.columns, each)
        for edge in lineage.inputs(row["job_id"])
        if edge.dataset == dataset
        for each in columns - {frozenset()}
    )


def _is_read_by_all(lineage: Lineage, job: Job) -> bool:
    """Whether who waits for a task of the job reads what it makes, for certain.

    Who reads a block, or what has no end, waits for more than it reads.
    """
    return job.has_task_for_each_key and all(
        edge.mapping.is_identity for output in job.outputs for edge in lineage.readers(output)
    )


def reads(lineage: Lineage, jobs: Collection[UUID]) -> list[dict[str, object]]:
    """What jobs read: rows of job, dataset, columns; an input that is read whole has none."""
    return [
        {"job": job, "dataset": edge.dataset, "columns": sorted(columns)}
        for job in jobs
        for edge in lineage.inputs(job)
        if (columns := read_columns(edge.columns)) is not None
    ]
