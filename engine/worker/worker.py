"""The worker: claim tasks of one or all orgs as capacity allows, and run them concurrently."""

import asyncio
import os
import socket
from collections.abc import Mapping
from math import ceil
from uuid import UUID

import structlog

from engine.errors import InvalidInput
from engine.flow.shared.org_context import OrgContext
from engine.loops.notification_listener import NotificationListener
from engine.loops.orgs import OrgList
from engine.loops.periodic import run_periodically
from engine.model.task import Lease
from engine.monitor import metrics
from engine.settings import Settings
from engine.store.database import Connection, Database
from engine.store.ids import new_id
from engine.store.notifications import TASKS
from engine.store.outages import is_transient
from engine.store.rows.tasks import QueuedOrg
from engine.store.run import fetch
from engine.worker.client import Client
from engine.worker.context import Context
from engine.worker.openlineage import Emit, discard, event_emitter
from engine.worker.run import run_task
from engine.worker.runtimes import Runtime, installed_runtimes

_log = structlog.get_logger(__name__)
_HAND_BACK_SECONDS = 5.0
_SPARE_CONNECTIONS = 2
"""Connections reserved for claims and heartbeats, beyond one for each running task."""


class Worker:
    """One worker for one org, or for all orgs of a list; any number may run at once.

    Free slots are divided among the orgs, beginning with the one served least recently, so that an
    org with many tasks cannot keep the others waiting. Raises InvalidInput if the database pool is
    too small for ``concurrency``.
    """

    def __init__(
        self,
        database: Database,
        orgs: OrgContext | OrgList,
        settings: Settings,
        *,
        worker_id: str | None = None,
        runtimes: Mapping[str, Runtime] | None = None,
        grace_seconds: float = 20.0,
    ) -> None:
        needed_connections = settings.concurrency + _SPARE_CONNECTIONS
        if settings.database_pool < needed_connections:
            raise InvalidInput(
                f"{settings.concurrency} concurrent tasks need {needed_connections} database "
                f"connections: set KNOCKON_DATABASE_POOL to {needed_connections} or more, or lower "
                "KNOCKON_CONCURRENCY"
            )
        self._database = database
        self._orgs = orgs
        self._claims = 0
        self._last_claim: dict[UUID, int] = {}
        self._settings = settings
        self._runtimes = installed_runtimes() if runtimes is None else runtimes
        self._grace_seconds = grace_seconds
        self._listener = NotificationListener(database, [TASKS])
        self._running: set[asyncio.Task[None]] = set()
        self._emit: Emit = discard
        self.worker_id = worker_id or f"{socket.gethostname()}:{os.getpid()}:{new_id().hex[-6:]}"
        self._clients: dict[UUID, Client] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set; finish running tasks, or hand them back after the grace."""
        async with event_emitter(self._settings) as self._emit:
            await self._work(stop)

    async def _work(self, stop: asyncio.Event) -> None:
        _log.info("worker is up", worker=self.worker_id)
        seconds, slots = self._settings.poll_seconds, self._settings.concurrency
        metrics.WORKER_SLOTS.inc(slots)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listener.run(stop))
                if isinstance(self._orgs, OrgList):
                    group.create_task(self._orgs.run(stop))
                group.create_task(
                    run_periodically("claim", self._claim, stop, seconds, self._listener.wait)
                )
            await self._until_idle(self._grace_seconds)
        finally:
            metrics.WORKER_SLOTS.dec(slots)
            await self._hand_back()
            for client in self._clients.values():
                await client.close()
        _log.info("worker is down", worker=self.worker_id)

    async def _claim(self) -> bool:
        """Fill the free slots; return True when more tasks may be queued."""
        free_slots = self._settings.concurrency - len(self._running)
        if free_slots < 1:
            return False
        async with self._database.connection() as conn:
            claimed = await self._claim_in_turn(conn, free_slots)
        return claimed == free_slots

    async def _claim_in_turn(self, conn: Connection, free_slots: int) -> int:
        """Claim for each org its share of the slots, then for any org; return the claimed tasks."""
        orgs = await self._in_turn(conn)
        share, left = ceil(free_slots / len(orgs)) if orgs else 0, free_slots
        for most in (share, free_slots):
            for org in orgs:
                if left:
                    left -= await self._claim_for(conn, org, min(most, left))
            if len(orgs) == 1:
                break
        return free_slots - left

    async def _claim_for(self, conn: Connection, org: OrgContext, most: int) -> int:
        client = self._client(org)
        try:
            leases = await client.claim_on(conn, most)
        except Exception as error:
            if isinstance(self._orgs, OrgContext) or is_transient(error):
                raise
            self._served(org)
            metrics.LOOP_ERRORS.labels("claim").inc()
            _log.exception("tasks of an org could not be claimed", org=str(org.id))
            return 0
        for lease in leases:
            self._start(client, org, lease)
        if leases:
            self._served(org)
        return len(leases)

    def _served(self, org: OrgContext) -> None:
        self._claims += 1
        self._last_claim[org.id] = self._claims

    async def _in_turn(self, conn: Connection) -> list[OrgContext]:
        """Return the orgs with queued tasks, beginning with those served least recently."""
        if isinstance(self._orgs, OrgContext):
            return [self._orgs]
        runtimes = list(self._runtimes)
        rows = await fetch(conn, "tasks.orgs_with_queued", QueuedOrg, runtimes=runtimes)
        queued = {row.id for row in rows}
        waiting = [org for org in self._orgs.contexts if org.id in queued]
        return sorted(waiting, key=lambda org: self._last_claim.get(org.id, 0))

    def _client(self, org: OrgContext) -> Client:
        """Return the client for an org, which renews the leases of its tasks."""
        if org.id not in self._clients:
            self._clients[org.id] = Client(
                self._database,
                org,
                self.worker_id,
                runtimes=tuple(self._runtimes),
                lease_seconds=self._settings.lease_seconds,
            )
        return self._clients[org.id]

    def _start(self, client: Client, org: OrgContext, lease: Lease) -> None:
        _count(lease)
        namespace = self._settings.lineage_namespace
        context = Context(lease, self._database, org, namespace)
        task = asyncio.create_task(run_task(client, context, self._runtimes, self._emit))
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._listener.wake.set()
        if not task.cancelled() and task.exception() is not None:
            _log.error("could not record task outcome", exc_info=task.exception())

    async def _hand_back(self) -> None:
        """Cancel running tasks; without a database to record that, their leases expire."""
        for task in self._running:
            task.cancel()
        await self._until_idle(_HAND_BACK_SECONDS)

    async def _until_idle(self, seconds: float) -> None:
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)


def _count(lease: Lease) -> None:
    operator = lease.job.operator
    metrics.TASKS_CLAIMED.labels(operator).inc()
    metrics.TASK_WAIT_SECONDS.labels(operator).observe(max(lease.waited_seconds, 0.0))
    if lease.attempt > 1:
        metrics.TASKS_RETRIED.labels(operator).inc()
