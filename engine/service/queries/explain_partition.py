"""State of a partition: why it is stale, and which upstream changes did not reach it."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from engine.errors import InvalidPartition
from engine.flow.planning.pending_work import Verdict, load_standing, verdict_of_covering
from engine.flow.shared.load_partitions import load_expected
from engine.flow.shared.org_context import OrgContext
from engine.flow.shared.stale import Reason, Rule, stale_partitions
from engine.lineage.graph import Lineage
from engine.model.dataset import Dataset
from engine.model.job import Job
from engine.partitions import PartitionSet, PartitionSpace
from engine.planner.first_runs import SINGLE_RUN_KEY
from engine.service.caller import Caller, Role, requires
from engine.service.queries.not_run import PlanNotRun, not_run
from engine.service.queries.spared import Spared, spared
from engine.service.service import Service
from engine.store.database import Connection
from engine.store.run import Row, fetch

_SHOWN = 4
AuditVerdict = Literal[Verdict, "fresh", "waiting"]


class NewerInput(msgspec.Struct, frozen=True):
    """An input partition with changes that reach the partition and are newer than its last run."""

    dataset: str
    partition: str
    read: datetime | None
    now: datetime | None


class UnfinishedTask(msgspec.Struct, frozen=True):
    """A task for the partition that has not ended."""

    id: UUID
    job: str
    block_key: str
    status: str
    outcome: str | None
    error_message: str | None
    waiting_for: Mapping[str, Sequence[str]] | None


class ExplainedPartition(msgspec.Struct, frozen=True):
    """State of a partition; ``stale`` has the reasons, and is empty for a fresh partition.

    ``verdict`` is that of the audit, with what leads to the partition or the decision that leaves
    it. A partition is waiting if it was never built and its first run is not due.
    ``materialized_at`` is its content version: null where it has never been made. A run that
    gave the same content again left it as it was.
    """

    dataset: str
    partition: str
    job: str
    is_source: bool
    materialized_at: datetime | None
    row_count: int | None
    task_id: UUID | None
    verdict: AuditVerdict
    because: str | None
    stale: tuple[str, ...]
    newer_inputs: tuple[NewerInput, ...]
    unfinished: tuple[UnfinishedTask, ...]
    open_invalidations: tuple[UUID, ...]
    not_run: tuple[PlanNotRun, ...]
    spared: tuple[Spared, ...]


@requires(Role.READER)
async def explain_partition(
    caller: Caller, service: Service, dataset: str, partition: str
) -> ExplainedPartition:
    """Explain the state of one partition. Raises UnknownName, InvalidPartition."""
    async with service.snapshot(caller) as (conn, org):
        return await _explain(conn, org, dataset, partition)


async def _explain(
    conn: Connection, org: OrgContext, dataset: str, partition: str
) -> ExplainedPartition:
    lineage = await org.lineage(conn)
    found = lineage.dataset_named(dataset)
    key = _one_key(lineage, found, partition)
    job = lineage.producer(found.id)
    where = {"dataset": found.id, "version": found.version, "keys": [key]}
    rows = await fetch(conn, "partitions.of_dataset", **where)
    reasons = await _stale(conn, lineage, job, key)
    newer = _newer_inputs(reasons)
    unfinished = await fetch(conn, "views.unfinished_over", job_id=job.id, partition=key)
    covering = await _open_over(conn, org, lineage, found, key)
    made: dict[str, Any] = rows[0] if rows else {}
    verdict, because = await _verdict(conn, org, lineage, job, key, made, reasons, covering)
    unrun = await not_run(conn, org, lineage, job, key, made)
    return ExplainedPartition(
        dataset=dataset,
        partition=key,
        job=job.name,
        is_source=job.activation == "source",
        materialized_at=made.get("materialized_at"),
        row_count=made.get("row_count"),
        task_id=made.get("task_id"),
        verdict=verdict,
        because=because,
        stale=tuple(_reasons(job, made, reasons, newer, unfinished, covering, unrun)),
        newer_inputs=tuple(newer),
        unfinished=tuple(UnfinishedTask(**row) for row in unfinished),
        open_invalidations=tuple(row["id"] for row in covering),
        not_run=tuple(unrun),
        spared=tuple(await spared(conn, org, lineage, job, key)),
    )


def _one_key(lineage: Lineage, dataset: Dataset, text: str) -> str:
    space = lineage.space(dataset.id)
    named = space.parse(text)
    if not named.is_finite or named.count() != 1:
        raise InvalidPartition(f"{text!r} is not one partition of {dataset.name!r}: give one key")
    return next(iter(space.keys(named)))


def _newer_inputs(reasons: Sequence[Reason]) -> list[NewerInput]:
    """Return the inputs that changed, appeared or disappeared in what reaches the partition."""
    return [
        NewerInput(each.dataset, each.partition or "*", each.recorded, each.version)
        for each in reasons
        if each.dataset is not None
    ]


async def _stale(conn: Connection, lineage: Lineage, job: Job, key: str) -> Sequence[Reason]:
    if job.activation == "source":
        return ()
    stale = await stale_partitions(conn, lineage, [(job, [key])])
    reasons = stale.get((job.id, SINGLE_RUN_KEY if job.is_single_run else key), ())
    is_unbuilt = not job.is_single_run and any(each.rule == "never built" for each in reasons)
    if is_unbuilt and not await _is_expected(conn, lineage, job, key):
        return ()
    return reasons


async def _is_expected(conn: Connection, lineage: Lineage, job: Job, key: str) -> bool:
    """Return whether existing inputs give the job this partition: only then the audit judges it."""
    return (await load_expected(conn, lineage, job)).covers(lineage.job_space(job).parse(key))


async def _verdict(
    conn: Connection,
    org: OrgContext,
    lineage: Lineage,
    job: Job,
    key: str,
    made: Row,
    reasons: Sequence[Reason],
    covering: Sequence[Row],
) -> tuple[AuditVerdict, str | None]:
    """Return the verdict of the audit, which lists what is stale or covered by an invalidation."""
    if covering and not reasons:
        return verdict_of_covering(covering)
    if made and not reasons:
        return "fresh", None
    subject = SINGLE_RUN_KEY if job.is_single_run else key
    verdict, because = (await load_standing(conn, org, lineage, job, [subject])).of(subject)
    return verdict if reasons else "waiting", because


async def _open_over(
    conn: Connection, org: OrgContext, lineage: Lineage, dataset: Dataset, key: str
) -> list[Row]:
    """Return the invalidations of the partition that are unplanned or set aside.

    An invalidation with a partition that the dataset cannot have may mean any partition.
    """
    space = lineage.space(dataset.id)
    one = space.parse(key)
    rows = await fetch(conn, "invalidations.open_over", org_id=org.id, dataset=dataset.id)
    return [row for row in rows if _covers(space, row["partition_key"], one)]


def _covers(space: PartitionSpace, text: str | None, one: PartitionSet) -> bool:
    try:
        return space.parse(text).covers(one)
    except InvalidPartition:
        return True


def _own_reasons(job: Job, made: Row, rules: Collection[Rule]) -> Iterator[str]:
    if not made:
        yield "it has never been made"
    elif "definition" in rules:
        yield f"the definition of job {job.name!r} has changed since it was made"
    if "partly written" in rules:
        yield "an attempt that may have written it did not complete"
    if "declared wrong" in rules:
        yield "an invalidation declared it wrong"
    if "rows not read" in rules:
        yield "rows that were to be read again were not, because that was canceled or rejected"


def _reasons(
    job: Job,
    made: Row,
    reasons: Sequence[Reason],
    newer: Sequence[NewerInput],
    unfinished: Sequence[Row],
    covering: Sequence[Row],
    unrun: Sequence[PlanNotRun],
) -> Iterator[str]:
    yield from _own_reasons(job, made, {each.rule for each in reasons})
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
