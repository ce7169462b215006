"""Verification: recompute a sample of built partitions beside the existing data, and compare.

Evidence cannot show every error: a SELECT that calls something changeable, a table edited by hand,
or wrongly declared lineage. Only partitions without known staleness and without pending work are
compared, each in one snapshot that is rolled back.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from math import ceil
from uuid import UUID

import psycopg

from engine.errors import InvalidInput, TaskFailed
from engine.flow.execution.terms import Terms
from engine.flow.planning.pending_work import Verdict, load_pending_work
from engine.flow.shared.load_partitions import load_existing
from engine.flow.shared.org_context import OrgContext
from engine.flow.shared.stale import stale_partitions
from engine.flow.shared.task_inputs import InputVersions, input_versions
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.model.states import UpdateStrategy
from engine.model.task import Lease
from engine.planner.first_runs import SINGLE_RUN_KEY
from engine.store.clock import load_now
from engine.store.database import Connection, Database
from engine.store.failures import full_text
from engine.store.ids import new_id
from engine.store.outages import is_transient
from engine.worker.operators.sql.recompute import (
    Comparison,
    compare,
    discarded_snapshot,
)


class Outcome(StrEnum):
    """Outcome of the verification of a partition."""

    EQUAL = "equal"
    DIFFERENT = "different"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Verified:
    """A verified partition of a job, ``*`` for all partitions of a single-run job.

    ``detail`` is the reason for a skip or a failure.
    """

    dag: str
    job: str
    partition: str
    outcome: Outcome
    detail: str | None = None
    comparisons: tuple[Comparison, ...] = ()


def obstacle(job: Job) -> str | None:
    """Return the reason why no partition of a job can be recomputed beside the data, if any."""
    if job.operator != "sql":
        return f"the {job.operator or job.runtime} job decides where it writes"
    if job.is_per_update:
        return "its content depends on the order in which rows were read"
    if job.update_strategy == UpdateStrategy.APPEND:
        return "it keeps rows of earlier runs"
    return None


async def verify(
    database: Database, org: OrgContext, jobs: Sequence[Job], share: float, seed: int
) -> AsyncIterator[Verified]:
    """Verify a share of the built partitions of each job, at least one. ``seed`` repeats a sample.

    Jobs with an `obstacle` are left out.
    """
    for job in jobs:
        if job.is_source or obstacle(job) is not None:
            continue
        async with database.connection() as conn:
            keys = await _built(conn, org, job)
        for key in _sample(keys, share, f"{seed} {job.full_name}"):
            yield await _verify(database, org, job, key)


async def _built(conn: Connection, org: OrgContext, job: Job) -> list[str]:
    async with conn.transaction():
        lineage = await org.lineage(conn)
        if lineage.find_job(job.id) is None:
            return []
        existing = await load_existing(conn, lineage, job.outputs[0])
    if not existing:
        return []
    return [SINGLE_RUN_KEY] if job.is_single_run else list(existing.space.keys(existing))


def _sample(keys: Sequence[str], share: float, seed: str) -> list[str]:
    """Return a share of the keys, at least one, the same for the same seed."""
    by_hash = sorted(keys, key=lambda key: sha256(f"{seed} {key}".encode()).digest())
    return sorted(by_hash[: ceil(share * len(keys))])


async def _verify(database: Database, org: OrgContext, job: Job, key: str) -> Verified:
    try:
        async with discarded_snapshot(database) as conn:
            lineage = await org.lineage(conn)
            if lineage.find_job(job.id) is None:
                return _verified(job, key, Outcome.SKIPPED, "the job was changed by a deploy")
            keys = () if job.is_single_run else (key,)
            (read,) = await input_versions(conn, lineage, [(job, keys)])
            if reason := await _unsettled(conn, org, lineage, job, key, read):
                return _verified(job, key, Outcome.SKIPPED, reason)
            lease = _lease(lineage, job, keys, read, await load_now(conn))
            compared = await compare(conn, org.id, lease)
    except (TaskFailed, InvalidInput) as error:
        return _verified(job, key, Outcome.FAILED, str(error))
    except psycopg.Error as error:
        if is_transient(error):
            raise
        return _verified(job, key, Outcome.FAILED, full_text(error))
    is_equal = all(comparison.is_equal for comparison in compared)
    outcome = Outcome.EQUAL if is_equal else Outcome.DIFFERENT
    return Verified(job.dag_name, job.name, key, outcome, None, tuple(compared))


def _verified(job: Job, key: str, outcome: Outcome, detail: str) -> Verified:
    return Verified(job.dag_name, job.name, key, outcome, detail)


async def _unsettled(
    conn: Connection, org: OrgContext, lineage: Lineage, job: Job, key: str, read: InputVersions
) -> str | None:
    """Return the reason why a difference would not be an error, if there is any.

    A stale input counts, because an attempt may have written a part of it.
    """
    if await stale_partitions(conn, lineage, [(job, [key])]):
        return "it is stale"
    verdict, reason = (await load_pending_work(conn, org, lineage, job, [key])).of(key)
    if verdict == Verdict.IN_HAND:
        return reason
    stale = await stale_partitions(conn, lineage, list(_produced_inputs(lineage, read)))
    names = sorted({lineage.dataset(lineage.job(id_).outputs[0]).name for id_, _ in stale})
    return f"its input {names[0]!r} is stale" if names else None


def _produced_inputs(lineage: Lineage, read: InputVersions) -> Iterator[tuple[Job, Sequence[str]]]:
    """Yield the producers of the inputs, with the existing partitions that were read."""
    for dataset, versions in read.items():
        job = lineage.producer(UUID(dataset))
        if not job.is_source:
            yield job, [key for key, version in versions.items() if version is not None]


def _lease(
    lineage: Lineage, job: Job, keys: tuple[str, ...], read: InputVersions, now: datetime
) -> Lease:
    """Return a lease of a run that nobody has claimed."""
    terms = Terms.of(lineage, job)
    return Lease(
        task_id=new_id(),
        token=new_id(),
        job=job,
        block_key=SINGLE_RUN_KEY,
        partitions=keys,
        attempt=1,
        expires_at=now,
        worker_id="verify",
        inputs=terms.inputs,
        outputs=terms.outputs,
        sources=terms.sources,
        input_versions=read,
    )
