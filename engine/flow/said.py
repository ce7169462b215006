"""Said: of what runs make, the columns in which anybody has said that they may come out new.

A plan reckons with all that may come out new in front of a job; here it is known what did. And a
run may read more than that, which is there already while nobody has spoken of it. It does not
count until somebody does, and then for whoever has read it, too.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple
from uuid import UUID

from engine.flow.outputs import PartitionRow
from engine.flow.reading import input_keys
from engine.flow.scene import Scene
from engine.lineage.columns import (
    PRUNED,
    DirtyColumns,
    common,
    propagate,
    read_columns,
    widest,
)
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.model.task import Completion, Lease
from engine.store.database import Connection
from engine.store.run import execute, fetch

_MOST = 250_000
"""Pairs of an output and an input of one task; above that, the plan's word is taken."""
_NOTHING: DirtyColumns = frozenset()

_Made = tuple[UUID, UUID, str]
"""(task, dataset, partition key)."""
_Read = tuple[UUID, str]
"""(dataset, partition key)."""


class _Part(NamedTuple):
    """What a task makes of the same reads: one partition, or (no ``key``) all of them.

    ``since`` is the task on whose run it stands until now.
    """

    task: UUID
    since: UUID
    key: str | None


class _Standing(NamedTuple):
    """A partition that is about to be written, and the columns that the plans reckon with."""

    part: _Part
    planned: DirtyColumns


async def note_said(
    conn: Connection, scene: Scene, completions: Sequence[Completion], rows: Sequence[PartitionRow]
) -> None:
    """Fill in the ``said_columns`` of what runs are about to write; their inputs are recorded.

    They stay None, any column, of what is new or made anew, and of what nobody reads by column.
    """
    lineage = await scene.lineage(conn)
    counts = cache(partial(_counts, lineage))
    leases = {c.lease.task_id: c.lease for c in completions if counts(c.lease.outputs[0].id)}
    if not leases:
        return
    standing = await _standing(conn, leases, [row for row in rows if row.task_id in leases])
    said = await _said(conn, lineage, leases, {each.part for each in standing.values()})
    for row in rows:
        made = standing.get((row.task_id, row.dataset_uuid, row.partition_key))
        if made:
            known = said[made.part][row.dataset_uuid] if made.part in said else None
            row.said_columns = common(made.planned, known)
    await _remember(conn, lineage, leases)


def _counts(lineage: Lineage, output: UUID) -> bool:
    """Whether anybody reads some columns of what a job makes, and it can be known which are new."""
    job = lineage.producer(output)
    return any(
        columns is not None for edge in lineage.inputs(job.id) for columns in edge.columns
    ) and any(
        read_columns(edge.columns) is not None
        for each in job.outputs
        for edge in lineage.readers(each)
    )


def _job(lineage: Lineage, lease: Lease) -> Job:
    """The job as it is now: a deploy that leaves it as it was gives it another id."""
    return lineage.producer(lease.outputs[0].id)


async def _standing(
    conn: Connection, leases: Mapping[UUID, Lease], rows: Sequence[PartitionRow]
) -> dict[_Made, _Standing]:
    """What is there already, and was made of the same inputs as it will be now."""
    found = await fetch(
        conn,
        "partitions.standing",
        tasks=[row.task_id for row in rows],
        datasets=[row.dataset_uuid for row in rows],
        versions=[row.dataset_version for row in rows],
        keys=[row.partition_key for row in rows],
    )
    standing = {}
    for row in found:
        task, key, planned = row["task_id"], row["partition_key"], row["columns"] or ()
        part = _Part(task, row["since"], None if _is_one(leases[task]) else key)
        columns = None if row["is_hit"] and row["columns"] is None else frozenset(planned)
        standing[task, row["dataset_uuid"], key] = _Standing(part, columns)
    return standing


def _is_one(lease: Lease) -> bool:
    """Whether all that a task makes is made of all that it reads."""
    return lease.job.is_unit or len(lease.partitions) == 1


async def _said(
    conn: Connection, lineage: Lineage, leases: Mapping[UUID, Lease], parts: Iterable[_Part]
) -> dict[_Part, Mapping[UUID, DirtyColumns]]:
    """By output, the columns in which it was said of each part; none of those of too much."""
    reads = await _reads(conn, lineage, leases, parts)
    moved = await _moved(conn, lineage, reads)
    said = {}
    for part, read in reads.items():
        dirty: dict[UUID, set[DirtyColumns]] = defaultdict(set)
        for dataset, key in read:
            dirty[dataset].add(moved.get((part.task, part.since, dataset, key), _NOTHING))
        said[part] = _carried(lineage, _job(lineage, leases[part.task]), dirty)
    return said


async def _reads(
    conn: Connection, lineage: Lineage, leases: Mapping[UUID, Lease], parts: Iterable[_Part]
) -> dict[_Part, list[_Read]]:
    """What each part is made of."""
    by_task: dict[UUID, list[_Part]] = defaultdict(list)
    for part in parts:
        by_task[part.task].append(part)
    reads: dict[_Part, list[_Read]] = {}
    for task, its_own in by_task.items():
        lease = leases[task]
        whole = list(_read(lineage, lease))
        if len(whole) * len(its_own) > _MOST:
            continue
        if _is_one(lease):
            reads |= dict.fromkeys(its_own, whole)
            continue
        needs = [(_job(lineage, lease), [str(part.key)]) for part in its_own]
        for part, keys in zip(its_own, await input_keys(conn, lineage, needs), strict=True):
            reads[part] = [(dataset, key) for dataset, each in keys.items() for key in each]
    return reads


def _read(lineage: Lineage, lease: Lease) -> Iterator[_Read]:
    for text, keys in lease.input_versions.items():
        if dataset := lineage.find_dataset(UUID(text)):
            yield from ((dataset.id, key) for key in keys)


async def _moved(
    conn: Connection, lineage: Lineage, reads: Mapping[_Part, Sequence[_Read]]
) -> Mapping[tuple[UUID, UUID, UUID, str], DirtyColumns]:
    """By task, run before, and input: the columns in which that has moved."""
    asked = {(part.task, part.since, *read) for part, each in reads.items() for read in each}
    if not asked:
        return {}
    found = await fetch(conn, "partitions.moved_since", **_table(lineage, asked, "tasks", "since"))
    return {
        (row["task_id"], row["since"], row["dataset_uuid"], row["partition_key"]): (
            None if row["columns"] is None else frozenset(row["columns"])
        )
        for row in found
    }


def _carried(
    lineage: Lineage, job: Job, moved: Mapping[UUID, set[DirtyColumns]]
) -> Mapping[UUID, DirtyColumns]:
    """By output, the columns that those of the inputs shape."""
    said: dict[UUID, DirtyColumns] = dict.fromkeys(job.outputs, _NOTHING)
    for edge in lineage.inputs(job.id):
        # Of nothing nothing follows, whatever the edge carries.
        for dirty in moved.get(edge.dataset, set()) - {_NOTHING}:
            for output, columns in zip(job.outputs, edge.columns, strict=True):
                carried = propagate(columns, dirty)
                if carried is not PRUNED:
                    said[output] = widest(said[output], carried)
    return said


async def _remember(conn: Connection, lineage: Lineage, leases: Mapping[UUID, Lease]) -> None:
    """Note with what runs have read what has been said of it by now.

    Of the rest nobody knows whether it is new; when it is said, they have read it already.
    """
    read = [(task, *each) for task, lease in leases.items() for each in _read(lineage, lease)]
    if read:
        await execute(conn, "partitions.remember_said", **_table(lineage, read, "tasks"))


def _table(lineage: Lineage, rows: Iterable[tuple[Any, ...]], *first: str) -> dict[str, list[Any]]:
    """Rows that end in a dataset and a key, as columns for a statement."""
    columns = dict(
        zip((*first, "datasets", "keys"), map(list, zip(*rows, strict=True)), strict=True)
    )
    versions = [lineage.dataset(dataset).version for dataset in columns["datasets"]]
    return columns | {"versions": versions}
