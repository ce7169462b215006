"""Tasks of workers without a connection to the database: claim, heartbeat, complete and fail.

A claim needs a key. All further calls need only the token of the task, which ends with its lease.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from engine.errors import InvalidInput
from engine.flow.execution.attempts import store_running_logs
from engine.flow.execution.claim import Claimant, claim
from engine.flow.execution.fail import fail
from engine.flow.execution.heartbeat import heartbeat
from engine.flow.execution.worker_leases import StoredLease, held_lease, lease_lost, store_leases
from engine.flow.shared.org_context import OrgContext
from engine.model.dataset import Dataset
from engine.model.states import ExecutionStrategy, KeyScope, Role
from engine.model.task import Lease, Output
from engine.model.task_token import TaskToken
from engine.service.caller import Caller, requires
from engine.service.completion_batches import Report, complete_together
from engine.service.service import Service
from engine.store.database import Connection

MOST_TASKS: Final = 100
LEASE_SECONDS: Final = (5, 3600)
_LONGEST_NAME: Final = 200
_LARGEST: Final = 2**63 - 1


class ClaimedInput(msgspec.Struct, frozen=True):
    """An input of a task.

    ``partitions`` maps keys to content versions, null for a partition without one. ``cursor`` is
    the value up to which rows were read; null: none, or the input is not followed.
    """

    dataset: str
    partitioning: Any
    columns: Sequence[str] | None
    storage: Mapping[str, Any]
    location: str | None
    partitions: Mapping[str, datetime | None]
    cursor: str | None


class ClaimedOutput(msgspec.Struct, frozen=True):
    """An output of a task."""

    dataset: str
    partitioning: Any
    columns: Sequence[str] | None
    storage: Mapping[str, Any]
    location: str | None


class ClaimedTask(msgspec.Struct, frozen=True):
    """A claimed task. ``token`` is needed to report on it; ``row_filters`` are those of a lease."""

    id: UUID
    token: str
    dag: str
    job: str
    operator: str
    config: Mapping[str, Any]
    strategy: ExecutionStrategy
    unique_key: Sequence[str]
    partitions: Sequence[str]
    attempt: int
    expires_at: datetime
    timeout_seconds: int | None
    inputs: Mapping[str, ClaimedInput]
    outputs: Sequence[ClaimedOutput]
    row_filters: Sequence[Mapping[str, Any] | None]


class ExtendedTask(msgspec.Struct, frozen=True):
    """The new end of a lease."""

    expires_at: datetime


@requires(Role.WRITER, scope=KeyScope.WORKER)
async def claim_tasks(
    caller: Caller,
    service: Service,
    worker: str,
    *,
    runtimes: Sequence[str] = ("external",),
    jobs: Sequence[str] = (),
    operators: Sequence[str] = (),
    limit: int = 1,
    lease_seconds: int = 30,
) -> list[ClaimedTask]:
    """Claim up to ``limit`` queued tasks for a worker; the list is empty if none is queued.

    ``jobs`` and ``operators`` limit the tasks to those of such jobs. Tasks of the operator ``sql``
    run on workers at the database only, and those whose inputs or outputs are hidden from the user
    of the key are not claimed. Raises InvalidInput, UnknownName.
    """
    _check(worker, limit, lease_seconds)
    async with service.transaction(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        every = (await org.lineage(conn)).order
        claimant = Claimant(
            worker,
            tuple(runtimes),
            lease_seconds,
            tuple(jobs),
            tuple(operators),
            is_remote=True,
            hidden=frozenset(job.full_name for job in every if not visible.sees_work_of(job)),
        )
        leases = await claim(conn, org, claimant, limit)
        if leases:
            await store_leases(
                conn, org, leases, lease_seconds, key=caller.key_id, user=caller.user_id
            )
    return [_claimed(caller.org.id, lease) for lease in leases]


@requires(Role.WRITER, task=True)
async def extend_task(caller: Caller, service: Service, log: str | None = None) -> ExtendedTask:
    """Extend the lease of a task, and store the output of the run so far. Raises LeaseLost."""
    async with _held(caller, service) as (conn, _, stored):
        task_id = stored.lease.task_id
        extended = await heartbeat(conn, [stored.lease], stored.lease_seconds)
        if task_id not in extended:
            raise lease_lost(task_id)
        if log is not None:
            await store_running_logs(conn, [(stored.lease, log)])
        return ExtendedTask(extended[task_id])


@requires(Role.WRITER, task=True)
async def complete_task(
    caller: Caller,
    service: Service,
    outputs: Sequence[Output] = (),
    *,
    cursors: Mapping[str, str] | None = None,
    log: str = "",
) -> None:
    """Record a success. ``cursors`` maps followed datasets to the new values.

    Raises LeaseLost; InvalidInput for outputs that the task does not have, or such cursors.
    """
    _check_outputs(outputs)
    assert caller.task is not None  # noqa: S101  required by the decorator
    report = Report(caller, caller.task, tuple(outputs), cursors or {}, log)
    await service.batches(complete_together).add(caller.org.id, report)


@requires(Role.WRITER, task=True)
async def fail_task(
    caller: Caller, service: Service, error: str, *, retryable: bool = True, log: str = ""
) -> None:
    """Record a failed attempt. Raises LeaseLost."""
    async with _held(caller, service) as (conn, org, stored):
        await fail(conn, org, stored.lease, error, retryable=retryable, log=log)


@asynccontextmanager
async def _held(
    caller: Caller, service: Service
) -> AsyncIterator[tuple[Connection, OrgContext, StoredLease]]:
    """Lend a transaction with the lease of the caller's task."""
    assert caller.task is not None  # noqa: S101  required by the decorator
    async with service.transaction(caller) as (conn, org):
        yield conn, org, await held_lease(conn, caller.task)


def _check(worker: str, limit: int, lease_seconds: int) -> None:
    least, most = LEASE_SECONDS
    if not 0 < len(worker) <= _LONGEST_NAME or not worker.isprintable():
        raise InvalidInput(f"the name of a worker has 1 to {_LONGEST_NAME} printable characters")
    if not 0 < limit <= MOST_TASKS:
        raise InvalidInput(f"a claim is for 1 to {MOST_TASKS} tasks, not {limit}: claim again")
    if not least <= lease_seconds <= most:
        raise InvalidInput(f"a lease lasts {least} to {most} seconds, not {lease_seconds}")


def _check_outputs(outputs: Sequence[Output]) -> None:
    """Raise InvalidInput for a partition reported twice, or a number that cannot be stored."""
    reported = {(output.dataset, output.partition) for output in outputs}
    if len(reported) < len(outputs):
        raise InvalidInput("a partition is reported more than once: report each partition once")
    for output in outputs:
        for name in ("row_count", "bytes"):
            number = getattr(output, name)
            if number is not None and not 0 <= number <= _LARGEST:
                raise InvalidInput(
                    f"{name} of partition {output.partition!r} is {number}: report a number from 0 "
                    f"to {_LARGEST}"
                )


def _claimed(org_id: UUID, lease: Lease) -> ClaimedTask:
    job = lease.job
    return ClaimedTask(
        id=lease.task_id,
        token=str(TaskToken(org_id, lease.task_id, lease.token)),
        dag=job.dag_name,
        job=job.name,
        operator=job.operator,
        config=job.config,
        strategy=ExecutionStrategy(job.strategy),
        unique_key=job.unique_key,
        partitions=lease.partitions,
        attempt=lease.attempt,
        expires_at=lease.expires_at,
        timeout_seconds=job.timeout_seconds,
        inputs={alias: _input(lease, dataset) for alias, dataset in lease.inputs.items()},
        outputs=[ClaimedOutput(**_described(dataset)) for dataset in lease.outputs],
        row_filters=lease.row_filters,
    )


def _input(lease: Lease, dataset: Dataset) -> ClaimedInput:
    return ClaimedInput(
        **_described(dataset),
        partitions=lease.input_versions.get(str(dataset.id), {}),
        cursor=lease.cursors.get(dataset.id),
    )


def _described(dataset: Dataset) -> dict[str, Any]:
    return {
        "dataset": dataset.name,
        "partitioning": msgspec.json.decode(dataset.partitioning),
        "columns": dataset.columns,
        "storage": dataset.storage,
        "location": dataset.location,
    }
