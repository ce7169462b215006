"""Code of a python job that a test blocks and releases."""

import asyncio
import sys
from types import ModuleType

import pytest

from engine.worker import Context

CODE = {"callable": "jobs_of_test:run"}
"""The config of a job with the installed code."""


class Code:
    """A job's code that signals its start, and ends when released by the test."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.release = asyncio.Event()
        self.stopped = asyncio.Event()
        self.runs: list[str] = []

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make the code available to jobs with the config `CODE`."""
        module = ModuleType("jobs_of_test")
        module.run = self.run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "jobs_of_test", module)

    async def run(self, context: Context) -> None:
        self.runs.append(context.lease.worker_id)
        self.started.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.stopped.set()
            raise
