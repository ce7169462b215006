"""Processes for costly operations: parsing, lineage and planning of what users send.

In the event loop, such an operation would delay all other requests; a thread would as well, and
could not be ended.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self
from uuid import UUID
from weakref import WeakValueDictionary

from engine.errors import TooCostly
from engine.http import operation_process
from engine.http.counts import KeyCounts
from engine.http.frames import CostlyOperation, Outcome, Start, framed, receive_frame
from engine.service.service import Service

_GRACE_SECONDS = 5.0
_COMMAND = (sys.executable, "-P", "-m", operation_process.__name__)


class CostlyOperations:
    """Up to ``processes``, started when needed and kept; an org never occupies all of them.

    An operation is ended after ``seconds``. Each org may have ``most`` operations at once, those
    that wait included.
    """

    def __init__(self, service: Service, processes: int, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._service = service
        self._idle: list[_Process] = []
        self._slots = asyncio.Semaphore(processes)
        self._share = max(processes - 1, 1)
        self._shares: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()
        self._counts = KeyCounts(most, "costly requests", holder="an org")

    async def run(self, operation: CostlyOperation) -> bytes:
        """Return the encoded result. Raises its errors, RequestError and TooCostly."""
        async with self._slot(operation.caller.org.id):
            process = await self._process()
            try:
                outcome = await self._outcome(process, operation)
            except BaseException:
                await process.kill()
                raise
            self._idle.append(process)
        if outcome.error is not None:
            raise outcome.error
        if outcome.body is None:
            raise RuntimeError("a costly operation failed: its error precedes this line")
        return outcome.body

    async def close(self) -> None:
        """End the idle processes; those at work have ended with their requests."""
        while self._idle:
            await self._idle.pop().kill()

    @asynccontextmanager
    async def _slot(self, org: UUID) -> AsyncIterator[None]:
        with self._counts.counted(str(org)):
            share = self._shares.setdefault(org, asyncio.Semaphore(self._share))
            async with share, self._slots:
                yield

    async def _process(self) -> "_Process":
        while self._idle:
            process = self._idle.pop()
            if process.is_alive:
                return process
        return await _Process.start(Start(self._service.opening, self._seconds + _GRACE_SECONDS))

    async def _outcome(self, process: "_Process", operation: CostlyOperation) -> Outcome:
        try:
            async with asyncio.timeout(self._seconds):
                return await process.run(operation)
        except TimeoutError:
            raise TooCostly(
                f"the request was ended after {self._seconds:g} seconds: send less at once, or "
                "have an operator raise KNOCKON_HTTP_OPERATION_SECONDS"
            ) from None
        except (EOFError, OSError):  # IncompleteReadError is an EOFError
            raise TooCostly(
                "the request was ended, probably for lack of memory: send less at once"
            ) from None


class _Process:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        assert process.stdin is not None  # noqa: S101
        assert process.stdout is not None  # noqa: S101
        self._requests, self._outcomes = process.stdin, process.stdout

    @classmethod
    async def start(cls, start: Start) -> Self:
        """Start a process."""
        process = await asyncio.create_subprocess_exec(
            *_COMMAND,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,  # Ctrl-C reaches the service only, which ends its requests
        )
        started = cls(process)
        started._requests.write(framed(start))
        return started

    @property
    def is_alive(self) -> bool:
        return self._process.returncode is None

    async def run(self, operation: CostlyOperation) -> Outcome:
        """Run an operation. Raises IncompleteReadError, OSError if the process ends."""
        self._requests.write(framed(operation))
        await self._requests.drain()
        outcome: Outcome = await receive_frame(self._outcomes)
        return outcome

    async def kill(self) -> None:
        """End the process, and thereby its transaction."""
        if self.is_alive:
            self._process.kill()
        await self._process.wait()
