"""Client that turns any Python process into a worker.

```python
client = Client(database, org, "my-worker")
for lease in await client.claim(limit=1):
    async with client.running(lease):  # renews the lease; if it is lost, raises LeaseLost
        outputs = await do_the_work(lease)
        await client.complete(lease, outputs)
```
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Self, TypeVar
from uuid import UUID

import structlog

from engine.flow.execution.attempts import add_log, store_running_logs
from engine.flow.execution.claim import Claimant, claim
from engine.flow.execution.complete import complete, complete_all
from engine.flow.execution.fail import fail
from engine.flow.execution.heartbeat import heartbeat
from engine.flow.shared.org_context import OrgContext
from engine.loops.schema_watch import SchemaWatch
from engine.model.presence import Presence, ProcessKind
from engine.model.task import Completion, Lease, Output
from engine.store.database import PATIENCE_SECONDS, Connection, Database, reconnecting
from engine.store.failures import reason_of
from engine.store.orgs import org_id
from engine.worker.lease_keeper import LeaseKeeper
from engine.worker.running_logs import RunningLogs

_log = structlog.get_logger(__name__)

T = TypeVar("T")


class Client:
    """One worker under its own name. All calls retry while the database is unavailable."""

    def __init__(
        self,
        database: Database,
        org: OrgContext,
        worker_id: str,
        *,
        runtimes: Sequence[str] = ("external",),
        lease_seconds: int = 30,
        watch: SchemaWatch | None = None,
    ) -> None:
        self._database = database
        self._watch = watch
        self._org = org
        self._claimant = Claimant(worker_id, tuple(runtimes), lease_seconds)
        self._keeper = LeaseKeeper(self._renew, lease_seconds)
        self._logs = RunningLogs()

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        url: str,
        worker_id: str,
        *,
        direct_url: str | None = None,
        org: str = "default",
        runtimes: Sequence[str] = ("external",),
        lease_seconds: int = 30,
    ) -> AsyncIterator[Self]:
        """Open a client with its own database pool; ``direct_url``: the database without a pooler.

        A migration that requires newer code waits until the client is closed. Raises UnknownName,
        OutdatedCode, ServiceUnavailable.
        """
        async with (
            await Database.open(url, direct_url=direct_url) as database,
            SchemaWatch(database, presence=Presence(org, (ProcessKind.WORKER,))) as watch,
        ):

            async def find_org() -> OrgContext:
                async with database.connection() as conn:
                    return OrgContext(await org_id(conn, org))

            client = cls(
                database,
                await reconnecting(find_org, what="connect", seconds=PATIENCE_SECONDS),
                worker_id,
                runtimes=runtimes,
                lease_seconds=lease_seconds,
                watch=watch,
            )
            try:
                yield client
            finally:
                await client.close()

    async def claim(
        self, limit: int = 1, *, jobs: Collection[str] = (), operators: Collection[str] = ()
    ) -> list[Lease]:
        """Lease up to ``limit`` queued tasks of the runtimes; the list is empty if none is queued.

        ``jobs`` (JOB or DAG.JOB) and ``operators`` limit the tasks to those of such jobs.
        Start each run immediately: a lease lasts ``lease_seconds``, or the job's heartbeat timeout.

        Raises:
            UnknownName, InvalidInput: no job has one of the names, or jobs of several DAGs have.
            OutdatedCode: a migration requires newer code. End the running tasks, close the client,
                and install a newer version.
        """
        if self._watch is not None:
            self._watch.check()
        selected = replace(self._claimant, jobs=tuple(jobs), operators=tuple(operators))
        return await self._with_retries(
            lambda conn: claim(conn, self._org, selected, limit), "claim"
        )

    async def claim_on(self, conn: Connection, limit: int) -> list[Lease]:
        """Claim on a connection of the caller, without retries."""
        return await claim(conn, self._org, self._claimant, limit)

    @asynccontextmanager
    async def running(
        self, lease: Lease, log: Callable[[], str] | None = None
    ) -> AsyncIterator[None]:
        """Renew the lease while the body runs.

        If the lease is lost, the body is canceled, and the context manager raises LeaseLost.
        ``log`` returns the output of the run so far, and is stored with each heartbeat.
        """
        async with self._keeper.hold(lease):
            with self._logs.of(lease, log):
                yield

    async def heartbeat(self, leases: Sequence[Lease]) -> Mapping[UUID, datetime]:
        """Renew leases explicitly; return new expiries by task.

        The lease of a task missing in the result is lost: stop the run.
        """
        return await self._with_retries(
            lambda conn: heartbeat(conn, leases, self._claimant.lease_seconds), "heartbeat"
        )

    async def complete(
        self,
        lease: Lease,
        outputs: Sequence[Output] = (),
        cursors: Mapping[UUID, str] | None = None,
        *,
        log: str = "",
    ) -> None:
        """Record a success, with the run's output. Raises LeaseLost: discard the result."""
        completion = Completion(lease, tuple(outputs), cursors or {}, log)
        await self._with_retries(lambda conn: complete(conn, self._org, completion), "complete")

    async def complete_all(self, completions: Sequence[Completion]) -> set[UUID]:
        """Record the successes of several runs in one transaction; return the completed tasks.

        A task missing in the result has lost its lease: discard its result. If one success is
        rejected, the error is raised and none is recorded.
        """
        return await self._with_retries(
            lambda conn: complete_all(conn, self._org, completions), "complete"
        )

    async def fail(
        self, lease: Lease, error: str, *, retryable: bool = True, log: str = ""
    ) -> None:
        """Record a failed attempt, with the run's output. Raises LeaseLost if it has ended."""
        await self._with_retries(
            lambda conn: fail(conn, self._org, lease, error, retryable=retryable, log=log), "fail"
        )

    async def add_log(self, lease: Lease, log: str) -> None:
        """Store the output of a run that was stopped because its lease was lost."""
        await self._with_retries(lambda conn: add_log(conn, lease, log), "add log")

    async def close(self) -> None:
        """Stop renewing leases; unfinished leases expire."""
        await self._keeper.close()

    async def _renew(self, leases: Sequence[Lease]) -> Mapping[UUID, datetime]:
        """Renew once, without retries: leases expire meanwhile."""
        async with self._database.connection() as conn:
            renewed = await heartbeat(conn, leases, self._claimant.lease_seconds)
            await self._store_logs(conn)
        return renewed

    async def _store_logs(self, conn: Connection) -> None:
        """Store the logs of running tasks; no error costs the leases."""
        try:
            if logs := self._logs.changed():
                await store_running_logs(conn, logs)
        except Exception as error:
            _log.warning("logs of running tasks were not stored", why=reason_of(error))

    async def _with_retries(self, call: Callable[[Connection], Awaitable[T]], what: str) -> T:
        async def once() -> T:
            async with self._database.connection() as conn:
                return await call(conn)

        return await reconnecting(once, what=what)
