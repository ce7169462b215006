"""Record the successes of concurrent runs in common transactions."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from uuid import UUID

from engine.flow.execution.complete import lease_lost
from engine.model.task import Completion
from engine.store.failures import is_due_to_data

_LARGEST_BATCH = 500
"""Beyond, a transaction gets no cheaper per run, and holds its locks longer."""


@dataclass(frozen=True, slots=True)
class _Success:
    completion: Completion
    recorded: asyncio.Future[None]


class Completer:
    """Record successes with ``record``, which returns the tasks whose leases were still valid.

    Successes gather only while a transaction is in progress: a run that ends alone is recorded
    immediately. Those that are rejected for their data fail alone.
    """

    def __init__(self, record: Callable[[Sequence[Completion]], Awaitable[set[UUID]]]) -> None:
        self._record = record
        self._waiting: list[_Success] = []
        self._recording: asyncio.Task[None] | None = None

    async def complete(self, completion: Completion) -> None:
        """Record one success. Raises LeaseLost, and whatever recording it raises."""
        success = _Success(completion, asyncio.get_running_loop().create_future())
        self._waiting.append(success)
        if self._recording is None:
            self._recording = asyncio.create_task(self._record_waiting())
        await success.recorded

    async def close(self) -> None:
        """Stop recording; callers that are still waiting are canceled."""
        if self._recording is not None:
            self._recording.cancel()
            with suppress(asyncio.CancelledError):
                await self._recording
        for success in self._waiting:
            success.recorded.cancel()

    async def _record_waiting(self) -> None:
        try:
            while batch := self._next_batch():
                await self._record_batch(batch)
        finally:
            self._recording = None

    def _next_batch(self) -> list[_Success]:
        """Return at most one success of each task; canceled callers are done as well."""
        self._waiting = [success for success in self._waiting if not success.recorded.done()]
        by_task: dict[UUID, _Success] = {}
        for success in self._waiting:
            by_task.setdefault(success.completion.lease.task_id, success)
        return [*islice(by_task.values(), _LARGEST_BATCH)]

    async def _record_batch(self, batch: Sequence[_Success]) -> None:
        try:
            completed = await self._record([success.completion for success in batch])
        except Exception as error:
            if len(batch) > 1 and is_due_to_data(error):
                for half in _halves(batch):
                    await self._record_batch(half)
            else:
                _fail_all(batch, error)
        else:
            for success in batch:
                _resolve(success, completed)


def _halves(batch: Sequence[_Success]) -> Iterator[Sequence[_Success]]:
    middle = len(batch) // 2
    yield batch[:middle]
    yield batch[middle:]


def _fail_all(batch: Sequence[_Success], error: Exception) -> None:
    for success in batch:
        if not success.recorded.done():
            success.recorded.set_exception(error)


def _resolve(success: _Success, completed: set[UUID]) -> None:
    if success.recorded.done():
        return
    lease = success.completion.lease
    if lease.task_id in completed:
        success.recorded.set_result(None)
    else:
        success.recorded.set_exception(lease_lost(lease))
