"""Whether a partition is fresh, and if not, why; and what changed upstream and spared it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from engine.api.invalidations import named_invalidations
from engine.api.pruning import PrunedEdge, pruned_edges
from engine.errors import InvalidPartition
from engine.flow.cutoff import reads
from engine.flow.scene import Scene
from engine.lineage.graph import Lineage
from engine.model.dataset import Dataset
from engine.model.job import Job
from engine.partitions import PartitionSpace
from engine.store.database import Connection
from engine.store.run import Row, fetch

_MOST_PLANS = 20
_MOST_FACTS = 50
_SHOWN = 4
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


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
class Spared:
    """A change upstream that did not reach the partition: where it stopped, and by which rule."""

    dataset: str
    reason: str
    at: datetime
    pruned: tuple[PrunedEdge, ...]


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
    return ExplainedPartition(
        dataset=dataset,
        partition=key,
        job=job.name,
        is_source=job.activation == "source",
        materialized_at=made.get("materialized_at"),
        row_count=made.get("row_count"),
        task_id=made.get("task_id"),
        stale=tuple(_reasons(job, made, newer, unfinished, covering)),
        newer_inputs=tuple(newer),
        unfinished=tuple(UnfinishedTask(**row) for row in unfinished),
        open_invalidations=tuple(covering),
        spared=tuple(await _spared(conn, scene, lineage, job, key)),
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
        conn, "partitions.newer_inputs", **where, reads=Jsonb(reads(lineage, [job.id]))
    )
    newer = [_newer(lineage, row) for row in rows]
    if not newer:
        return []
    spared = await fetch(
        conn,
        "views.spared_since",
        org_id=scene.org_id,
        since=min((each.read for each in newer if each.read), default=_LONG_AGO),
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
    """The invalidations of the partition that no planner has taken yet."""
    space = lineage.space(dataset.id)
    one = space.parse(key)
    rows = await fetch(conn, "invalidations.open_over", org_id=scene.org_id, dataset=dataset.id)
    return [row["id"] for row in rows if space.parse(row["partition_key"]).covers(one)]


def _reasons(
    job: Job,
    made: Row,
    newer: Sequence[NewerInput],
    unfinished: Sequence[Row],
    covering: Sequence[UUID],
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
    for row in unfinished:
        yield f"a task that makes it {'has' if row['status'] == 'failed' else 'is'} {row['status']}"


async def _spared(
    conn: Connection, scene: Scene, lineage: Lineage, job: Job, key: str
) -> list[Spared]:
    """Recent changes of anything upstream that did not reach the partition."""
    jobs, datasets = _upstream(lineage, job)
    plans = await fetch(
        conn, "plans.touching", org_id=scene.org_id, datasets=list(datasets), limit=_MOST_PLANS
    )
    names = {lineage.dataset(each).name for each in datasets}
    spared = []
    for plan in plans:
        why = tuple(_why_spared(lineage, plan["document"], job, key, jobs))
        facts = await named_invalidations(conn, scene, plan["invalidation_ids"][:_MOST_FACTS])
        fact = next((each for each in facts if each.dataset in names), None)
        if why and fact:
            spared.append(Spared(fact.dataset, fact.reason, plan["created_at"], why))
    return spared


def _why_spared(
    lineage: Lineage, document: Mapping[str, Any], job: Job, key: str, upstream: set[str]
) -> Iterator[PrunedEdge]:
    """Nothing where the plan hit the partition."""
    step = next((each for each in document["steps"] if each["name"] == job.name), None)
    if step is None:
        yield from (each for each in pruned_edges(document) if each.job in upstream)
    elif not _holds(lineage.job_space(job), step["partitions"], key):
        via, touched = step["via"][0]["dataset"], ", ".join(step["partitions"][:3])
        yield PrunedEdge(via, job.name, "partitions", f"it touched {touched} only")


def _holds(space: PartitionSpace, texts: Sequence[str], key: str) -> bool:
    """Whether a set has a key; texts of an older partitioning count as having it not."""
    try:
        return space.from_keys(texts).covers(space.parse(key))
    except InvalidPartition:
        return False


def _upstream(lineage: Lineage, job: Job) -> tuple[set[str], set[UUID]]:
    """The names of a job and of all that it depends on, and the datasets that they read."""
    jobs, datasets, left = {job.name}, set[UUID](), [job]
    while left:
        for edge in lineage.inputs(left.pop().id):
            datasets.add(edge.dataset)
            producer = lineage.producer(edge.dataset)
            if producer.name not in jobs:
                jobs.add(producer.name)
                left.append(producer)
    return jobs, datasets
