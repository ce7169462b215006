"""Whether a partition is fresh, and if not, why; and what changed upstream and spared it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from engine.api.not_run import LONG_AGO, PlanNotRun, not_run
from engine.api.spared import Spared, spared
from engine.errors import InvalidPartition
from engine.flow.cutoff import reads
from engine.flow.reading import of_their_own
from engine.flow.scene import Scene
from engine.lineage.graph import Lineage
from engine.model.dataset import Dataset
from engine.model.job import Job
from engine.partitions import PartitionSet, PartitionSpace
from engine.store.database import Connection
from engine.store.run import Row, fetch

_SHOWN = 4


@dataclass(frozen=True, slots=True)
class NewerInput:
    """An input partition that has changed, in what is read of it, since the partition was made."""

    dataset: str
    partition: str
    read: datetime | None
    now: datetime


@dataclass(frozen=True, slots=True)
class UnfinishedTask:
    """A task that is still to make the partition."""

    id: UUID
    job: str
    slot: str
    status: str
    outcome: str | None
    error_message: str | None


@dataclass(frozen=True, slots=True)
class ExplainedPartition:
    """``stale`` holds every reason to be so, in words; fresh where it is empty.

    ``materialized_at`` is the stamp of its content: null where it has never been made. A run that
    gave the same content again left it as it was.
    """

    dataset: str
    partition: str
    job: str
    is_source: bool
    materialized_at: datetime | None
    row_count: int | None
    task_id: UUID | None
    stale: tuple[str, ...]
    newer_inputs: tuple[NewerInput, ...]
    unfinished: tuple[UnfinishedTask, ...]
    open_invalidations: tuple[UUID, ...]
    not_run: tuple[PlanNotRun, ...]
    spared: tuple[Spared, ...]


async def explain_partition(
    conn: Connection, scene: Scene, dataset: str, partition: str
) -> ExplainedPartition:
    """Tell how one partition stands. Raises UnknownName, InvalidPartition."""
    lineage = await scene.lineage(conn)
    found = lineage.dataset_named(dataset)
    key = _one_key(lineage, found, partition)
    job = lineage.producer(found.id)
    where = {"dataset": found.id, "version": found.version, "keys": [key]}
    rows = await fetch(conn, "partitions.of_dataset", **where)
    newer = await _newer_inputs(conn, scene, lineage, job, where)
    unfinished = await fetch(conn, "views.unfinished_over", job_id=job.id, partition=key)
    covering = await _open_over(conn, scene, lineage, found, key)
    made: dict[str, Any] = rows[0] if rows else {}
    unrun = await not_run(conn, scene, lineage, job, key, made)
    return ExplainedPartition(
        dataset=dataset,
        partition=key,
        job=job.name,
        is_source=job.activation == "source",
        materialized_at=made.get("materialized_at"),
        row_count=made.get("row_count"),
        task_id=made.get("task_id"),
        stale=tuple(_reasons(job, made, newer, unfinished, covering, unrun)),
        newer_inputs=tuple(newer),
        unfinished=tuple(UnfinishedTask(**row) for row in unfinished),
        open_invalidations=tuple(covering),
        not_run=tuple(unrun),
        spared=tuple(await spared(conn, scene, lineage, job, key)),
    )


def _one_key(lineage: Lineage, dataset: Dataset, text: str) -> str:
    space = lineage.space(dataset.id)
    named = space.parse(text)
    if not named.is_finite or named.count() != 1:
        raise InvalidPartition(f"{text!r} is not one partition of {dataset.name!r}: give one key")
    return next(iter(space.keys(named)))


async def _newer_inputs(
    conn: Connection, scene: Scene, lineage: Lineage, job: Job, where: Mapping[str, Any]
) -> list[NewerInput]:
    """The inputs with newer stamps than were read, but for those of which a plan spared the job."""
    rows = await fetch(
        conn, "partitions.newer_inputs", **where, job=job.id, reads=Jsonb(reads(lineage, [job.id]))
    )
    newer = [_newer(lineage, row) for row in await of_their_own(conn, lineage, rows)]
    if not newer:
        return []
    spared = await fetch(
        conn,
        "views.spared_since",
        org_id=scene.org_id,
        since=min((each.read for each in newer if each.read), default=LONG_AGO),
        job=job.name,
        datasets=list({each.dataset for each in newer}),
    )
    return [each for each in newer if {"dataset": each.dataset} not in spared]


def _newer(lineage: Lineage, row: Row) -> NewerInput:
    name = lineage.dataset(row["input_dataset_uuid"]).name
    read, now = row["input_version"], row["now_version"]
    return NewerInput(name, row["input_partition_key"], read, now)


async def _open_over(
    conn: Connection, scene: Scene, lineage: Lineage, dataset: Dataset, key: str
) -> list[UUID]:
    """The invalidations of the partition that no planner has taken yet, or that are set aside.

    One that names what the dataset cannot have may mean any partition.
    """
    space = lineage.space(dataset.id)
    one = space.parse(key)
    rows = await fetch(conn, "invalidations.open_over", org_id=scene.org_id, dataset=dataset.id)
    return [row["id"] for row in rows if _covers(space, row["partition_key"], one)]


def _covers(space: PartitionSpace, text: str | None, one: PartitionSet) -> bool:
    try:
        return space.parse(text).covers(one)
    except InvalidPartition:
        return True


def _reasons(
    job: Job,
    made: Row,
    newer: Sequence[NewerInput],
    unfinished: Sequence[Row],
    covering: Sequence[UUID],
    unrun: Sequence[PlanNotRun],
) -> Iterator[str]:
    if not made:
        yield "it has never been made"
    elif job.activation != "source" and made["config_hash"] != job.config_hash:
        yield f"the definition of job {job.name!r} has changed since it was made"
    for dataset in dict.fromkeys(each.dataset for each in newer):
        keys = [each.partition for each in newer if each.dataset == dataset]
        more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
        shown = f"{', '.join(keys[:_SHOWN])}{more}"
        yield f"its input {dataset} has changed since it was read: {shown}"
    if covering:
        yield "it was found stale, and is not planned yet"
    for plan in unrun:
        end = str(plan.id)[-8:]
        if plan.state == "held":
            yield f"plan {end} would make it, and is held for approval"
        else:
            yield f"plan {end} would have made it, and was rejected"
    for row in unfinished:
        yield f"a task that makes it {'has' if row['status'] == 'failed' else 'is'} {row['status']}"
