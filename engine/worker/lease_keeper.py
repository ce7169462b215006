"""Lease keeper: one heartbeat renews all leases of a process, and a lost lease stops its run."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog

from engine.errors import LeaseLost
from engine.model.task import Lease
from engine.monitor.metrics import WORKER_HEARTBEAT
from engine.monitor.pulse import pulsing
from engine.store.outages import is_starved, is_transient

_log = structlog.get_logger(__name__)
_TICK_SECONDS = 0.2

Renew = Callable[[Sequence[Lease]], Awaitable[Mapping[UUID, datetime]]]


@dataclass(slots=True)
class _RunningLease:
    """A lease with a run in progress; ``scope`` cancels the run when the lease expires."""

    lease: Lease
    scope: asyncio.Timeout
    seconds: float
    due: float

    def renewed(self, requested_at: float) -> None:
        """Restart the lease at the time of the request, since the database may answer late."""
        self.scope.reschedule(requested_at + self.seconds)
        self.due = requested_at + self.seconds / 3

    def lost(self, now: float) -> None:
        self.scope.reschedule(now)


class LeaseKeeper:
    """Renew leases through ``renew``, which may fail, as long as any run is in progress."""

    def __init__(self, renew: Renew, lease_seconds: int) -> None:
        self._renew = renew
        self._lease_seconds = lease_seconds
        self._running: dict[UUID, _RunningLease] = {}
        self._renewals: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def hold(self, lease: Lease) -> AsyncIterator[None]:
        """Hold a lease while the body runs; if it is lost, cancel the body and raise LeaseLost.

        A lease is lost when the database reports the loss, and when no renewal has succeeded for
        as long as the lease lasts.
        """
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._add(lease, scope)
                yield
        except TimeoutError:
            if not scope.expired():
                raise
            raise LeaseLost(
                f"the lease of task {lease.task_id} expired or was revoked: the run was stopped, "
                "and its result is discarded"
            ) from None
        finally:
            self._running.pop(lease.task_id, None)

    async def close(self) -> None:
        """Stop the heartbeat."""
        if self._renewals is not None:
            self._renewals.cancel()
            with suppress(asyncio.CancelledError):
                await self._renewals

    def _add(self, lease: Lease, scope: asyncio.Timeout) -> None:
        seconds = lease.job.heartbeat_timeout_seconds or self._lease_seconds
        running = _RunningLease(lease, scope, seconds, due=0)
        running.renewed(asyncio.get_running_loop().time())
        self._running[lease.task_id] = running
        WORKER_HEARTBEAT.set_to_current_time()  # a new lease is as good as a renewed one
        if self._renewals is None or self._renewals.done():
            self._renewals = asyncio.create_task(self._renew_when_due())

    async def _renew_when_due(self) -> None:
        loop = asyncio.get_running_loop()
        with pulsing("heartbeat", _TICK_SECONDS) as pulse:
            while self._running:
                pulse.beat()
                await asyncio.sleep(_TICK_SECONDS)
                if any(running.due <= loop.time() for running in self._running.values()):
                    await self._renew_all(loop.time())

    async def _renew_all(self, requested_at: float) -> None:
        requested = list(self._running.values())
        try:
            renewed = await self._renew([running.lease for running in requested])
        except Exception as error:
            if not (is_transient(error) or is_starved(error)):
                _log.exception("could not renew leases")
            return
        WORKER_HEARTBEAT.set_to_current_time()
        for running in filter(self._is_in_progress, requested):
            if running.lease.task_id in renewed:
                running.renewed(requested_at)
            else:
                running.lost(requested_at)

    def _is_in_progress(self, running: _RunningLease) -> bool:
        """Return False if the run ended, or its lease expired, during the request."""
        return self._running.get(running.lease.task_id) is running and not running.scope.expired()
