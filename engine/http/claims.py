"""Claims that wait for tasks, with one listener of a process for all of them."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Any

from engine.http.authentication import caller_of
from engine.http.call import RequestCall
from engine.http.counts import KeyCounts
from engine.service.commands.worker_tasks import ClaimedTask, claim_tasks
from engine.service.service import NotificationListener, Service, Waker
from engine.stopping import unless_stopped

_POLL_SECONDS = 2.0
"""Tasks repeated after a delay become claimable without a notification."""


class Claims:
    """The claims of a process; waiting ones end when ``stopped`` is set."""

    def __init__(self, service: Service, stopped: asyncio.Event, most_waiting: int) -> None:
        self._service = service
        self._stopped = stopped
        self._listener: NotificationListener | None = None
        self._listening: asyncio.Task[None] | None = None
        self._waiting = KeyCounts(most_waiting, "waiting claims")

    async def claim(
        self, call: RequestCall, wanted: Mapping[str, Any], seconds: float
    ) -> list[ClaimedTask]:
        """Claim tasks as ``wanted``, and wait up to some seconds for one. Raises RequestError."""
        if not seconds:
            return await call.run(claim_tasks, **wanted)
        with self._waiting.counted(call.request.state.key_prefix), self._waker(call) as waker:
            tasks = await call.run(claim_tasks, **wanted)
            deadline = monotonic() + seconds
            while not tasks and await self._wait(waker, deadline):
                # A task must not be claimed for a client that is gone, or whose key is revoked.
                if await call.request.is_disconnected():
                    break
                caller = await caller_of(self._service, call.request.state.key)
                tasks = await claim_tasks(caller, self._service, **wanted)
            return tasks

    @contextmanager
    def _waker(self, call: RequestCall) -> Iterator[Waker]:
        """Lend a waker for the caller's org; the first starts the listener."""
        if self._listener is None:
            self._listener = self._service.task_notifications()
            self._listening = asyncio.create_task(self._listener.run(self._stopped))
        with self._listener.waker(call.caller.org.id) as waker:
            yield waker

    async def _wait(self, waker: Waker, deadline: float) -> bool:
        """Wait for a reason to claim again; return whether there is time left."""
        seconds = min(_POLL_SECONDS, deadline - monotonic())
        if seconds <= 0 or self._stopped.is_set():
            return False
        await unless_stopped(self._stopped, waker.wait(seconds))
        return not self._stopped.is_set()
