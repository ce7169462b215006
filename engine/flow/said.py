"""Said: of what runs make, the columns in which anybody has said that they may come out new.

A plan reckons with all that may come out new in front of a job; here it is known what did. And a
run may read more than that, which is there already while nobody has spoken of it. It does not
count: whoever speaks of it later finds by the stamps whom it concerns.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from uuid import UUID

from engine.flow.outputs import PartitionRow
from engine.flow.reading import Reads, input_keys
from engine.flow.scene import Scene
from engine.lineage.columns import PRUNED, DirtyColumns, propagate, read_columns, widest
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.model.task import Completion, Lease
from engine.store.database import Connection
from engine.store.run import Row, fetch

_Runs = tuple[UUID, UUID]
"""A task, and the run that stands until it is done."""
_Made = tuple[UUID, UUID, str]
"""(task, dataset, partition key)."""


async def note_said(
    conn: Connection, scene: Scene, completions: Sequence[Completion], rows: Sequence[PartitionRow]
) -> None:
    """Fill in the ``said_columns`` of what runs are about to write.

    They stay None, any column, of what is new or made anew, and where nobody can tell.
    """
    lineage = await scene.lineage(conn)
    leases = {c.lease.task_id: c.lease for c in completions if _counts(lineage, c.lease.job)}
    last_runs = await _last_runs(conn, [row for row in rows if row.task_id in leases])
    moved = await _moved(conn, lineage, leases, set(last_runs.values()))
    own = await _own_reads(conn, lineage, [leases[task] for task, _ in moved])

    @cache
    def said(runs: _Runs, key: str | None) -> Mapping[UUID, DirtyColumns]:
        read = _read(moved[runs], own.get((runs[0], key)))
        return _carried(lineage, leases[runs[0]].job, read)

    for row in rows:
        runs = last_runs.get((row.task_id, row.dataset_uuid, row.partition_key))
        if runs in moved:
            key = row.partition_key if (row.task_id, row.partition_key) in own else None
            row.said_columns = said(runs, key).get(row.dataset_uuid)


def _counts(lineage: Lineage, job: Job) -> bool:
    """Whether anybody reads some columns only, and it can be known which ones may be new."""
    return any(
        columns is not None for edge in lineage.inputs(job.id) for columns in edge.columns
    ) and any(
        read_columns(edge.columns) is not None
        for output in job.outputs
        for edge in lineage.readers(output)
    )


async def _last_runs(conn: Connection, rows: Sequence[PartitionRow]) -> Mapping[_Made, _Runs]:
    if not rows:
        return {}
    found = await fetch(
        conn,
        "partitions.last_runs",
        tasks=[row.task_id for row in rows],
        datasets=[row.dataset_uuid for row in rows],
        versions=[row.dataset_version for row in rows],
        keys=[row.partition_key for row in rows],
    )
    return {
        (row["task_id"], row["dataset_uuid"], row["partition_key"]): (row["task_id"], row["since"])
        for row in found
    }


async def _moved(
    conn: Connection, lineage: Lineage, leases: Mapping[UUID, Lease], runs: Iterable[_Runs]
) -> Mapping[_Runs, list[Row]]:
    """What each task has read that has moved since the run before, and in which columns."""
    reads = [
        (*each, UUID(dataset), lineage.dataset(UUID(dataset)).version, key)
        for each in runs
        for dataset, keys in leases[each[0]].input_versions.items()
        for key in keys
    ]
    if not reads:
        return {}
    tasks, since, datasets, versions, keys = (list(column) for column in zip(*reads, strict=True))
    moved: dict[_Runs, list[Row]] = defaultdict(list)
    for row in await fetch(
        conn,
        "partitions.moved_since",
        tasks=tasks,
        since=since,
        datasets=datasets,
        versions=versions,
        keys=keys,
    ):
        moved[row["task_id"], row["since"]].append(row)
    return moved


async def _own_reads(
    conn: Connection, lineage: Lineage, leases: Iterable[Lease]
) -> Mapping[tuple[UUID, str | None], Reads]:
    """By task and key, what is read for that key, where tasks make several, each of its own."""
    places = [
        (lease, key)
        for lease in {each.task_id: each for each in leases}.values()
        if not lease.job.is_unit and len(lease.partitions) > 1
        for key in lease.partitions
    ]
    reads = await input_keys(conn, lineage, [(lease.job, [key]) for lease, key in places])
    return {(lease.task_id, key): read for (lease, key), read in zip(places, reads, strict=True)}


def _read(moved: Iterable[Row], own: Reads | None) -> Mapping[UUID, set[DirtyColumns]]:
    """By dataset, the sets of columns in which it has moved."""
    read: dict[UUID, set[DirtyColumns]] = defaultdict(set)
    for row in moved:
        dataset, columns = row["dataset_uuid"], row["columns"]
        if own is None or row["partition_key"] in own.get(dataset, ()):
            read[dataset].add(None if columns is None else frozenset(columns))
    return read


def _carried(
    lineage: Lineage, job: Job, moved: Mapping[UUID, set[DirtyColumns]]
) -> Mapping[UUID, DirtyColumns]:
    """The columns of each output that those of the inputs shape; nothing where none has moved."""
    said: dict[UUID, DirtyColumns] = dict.fromkeys(job.outputs, frozenset())
    for edge in lineage.inputs(job.id):
        # Of nothing said of an input nothing follows, whatever the edge carries.
        for dirty in moved.get(edge.dataset, set()) - {frozenset()}:
            for output, columns in zip(job.outputs, edge.columns, strict=True):
                carried = propagate(columns, dirty)
                if carried is not PRUNED:
                    said[output] = widest(said[output], carried)
    return said if any(each != frozenset() for each in said.values()) else {}
