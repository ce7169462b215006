"""The heart: one beat renews all leases that a process holds, and a lost one stops its run."""

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
from engine.store.database import is_starved, is_transient

_log = structlog.get_logger(__name__)
_TICK_SECONDS = 0.2

Renew = Callable[[Sequence[Lease]], Awaitable[Mapping[UUID, datetime]]]


@dataclass(slots=True)
class _Held:
    """A lease whose run is under way. ``scope`` cancels the run when the lease has run out."""

    lease: Lease
    scope: asyncio.Timeout
    seconds: float
    due: float

    def renewed(self, asked: float) -> None:
        """Count from when the question was put: the database's answer may have been slow."""
        self.scope.reschedule(asked + self.seconds)
        self.due = asked + self.seconds / 3

    def lost(self, now: float) -> None:
        self.scope.reschedule(now)


class Heart:
    """Beats as long as anything is held; ``renew`` asks the database, and may fail."""

    def __init__(self, renew: Renew, lease_seconds: int) -> None:
        self._renew = renew
        self._lease_seconds = lease_seconds
        self._held: dict[UUID, _Held] = {}
        self._beating: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def keeping(self, lease: Lease) -> AsyncIterator[None]:
        """Hold a lease meanwhile. Raises LeaseLost, out of whatever the body awaits.

        It is lost when the database says so, and also when the database has not been heard of
        for as long as the lease lasts.
        """
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._hold(lease, scope)
                yield
        except TimeoutError:
            if not scope.expired():
                raise
            raise LeaseLost(
                f"the lease of task {lease.task_id} ran out, or the task was taken away: its run "
                "was stopped, and whoever holds the task now does the work"
            ) from None
        finally:
            self._held.pop(lease.task_id, None)

    async def close(self) -> None:
        """Stop beating."""
        if self._beating is not None:
            self._beating.cancel()
            with suppress(asyncio.CancelledError):
                await self._beating

    def _hold(self, lease: Lease, scope: asyncio.Timeout) -> None:
        seconds = lease.job.heartbeat_timeout_seconds or self._lease_seconds
        held = _Held(lease, scope, seconds, due=0)
        held.renewed(asyncio.get_running_loop().time())
        self._held[lease.task_id] = held
        WORKER_HEARTBEAT.set_to_current_time()  # a fresh lease is as good as a renewed one
        if self._beating is None or self._beating.done():
            self._beating = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        with pulsing("heartbeat", _TICK_SECONDS) as pulse:
            while self._held:
                pulse.beat()
                await asyncio.sleep(_TICK_SECONDS)
                if any(each.due <= loop.time() for each in self._held.values()):
                    await self._renew_all(loop.time())

    async def _renew_all(self, asked: float) -> None:
        held = list(self._held.values())
        try:
            renewed = await self._renew([each.lease for each in held])
        except Exception as error:
            if not (is_transient(error) or is_starved(error)):
                _log.exception("leases cannot be renewed")
            return
        WORKER_HEARTBEAT.set_to_current_time()
        for each in filter(self._is_held, held):
            if each.lease.task_id in renewed:
                each.renewed(asked)
            else:
                each.lost(asked)

    def _is_held(self, held: _Held) -> bool:
        """Whether its run goes on: it may have ended, or run out, while the database was asked."""
        return self._held.get(held.lease.task_id) is held and not held.scope.expired()
