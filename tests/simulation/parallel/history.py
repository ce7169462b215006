"""History of a parallel trial: edits, a kill and a deploy while the processes run."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from uuid import UUID

from consumers.manual import invalidate
from tests.simulation.events import event_text
from tests.simulation.invariants import Broken
from tests.simulation.tables.edits import Edits
from tests.simulation.tables.laws import check_at_rest, stuck_jobs
from tests.simulation.tables.state import TableState
from tests.support.processes import Processes

SERVICES = ("engine", "engine-2", "worker", "worker-2")
TIMEOUT_SECONDS = 120.0
_PAUSE_SECONDS = 0.1
_UNPLANNED = "SELECT id FROM data_invalidations WHERE org_id = %s AND processed_at IS NULL"
_OPEN = """
SELECT DISTINCT j.name FROM tasks t JOIN jobs j ON j.id = t.job_id
WHERE t.org_id = %s AND t.status IN ('blocked', 'queued', 'running', 'failed')
"""
_LOSE = """
UPDATE tasks SET lease_expires_at = '2000-01-01' WHERE id IN (
    SELECT id FROM tasks WHERE org_id = %s AND status = 'running' AND worker_id LIKE %s
    FOR UPDATE SKIP LOCKED)
RETURNING id
"""
_RETRY_NOW = """
UPDATE tasks SET next_retry_at = NULL WHERE id IN (
    SELECT id FROM tasks WHERE org_id = %s AND status = 'queued' AND next_retry_at IS NOT NULL
    FOR UPDATE SKIP LOCKED)
RETURNING id
"""
_ATTEMPTS = "SELECT id, attempts FROM tasks WHERE org_id = %s AND attempts > 1"
_FAILED = re.compile(r"task failed .*task=(\S+) why=(.*)")
_NO_TABLE = "there is no table"


class History:
    """Actions during the run of the processes, until all are at rest."""

    def __init__(self, state: TableState, rng: Random, services: Processes, patch: str) -> None:
        self.state = state
        self.rng = rng
        self.services = services
        self.patch = patch
        self.edits = Edits(state.engine.database, state.world, state.schema)
        self._org = state.engine.org.id
        self._killed: list[str] = []
        """Patterns for the ids of killed workers."""
        self._lost: set[UUID] = set()

    async def run(self) -> None:
        """Edit and publish, kill and restart a process, and wait for rest. Raises Broken."""
        await self._until(self._are_up, "all processes start")
        rounds = self.rng.randint(8, 14)
        kill_at, deploy_at = self.rng.randrange(rounds), self.rng.randrange(2 * rounds)
        for n in range(rounds):
            self.state.now = n
            await self._change()
            await asyncio.sleep(self.rng.uniform(0, 0.3))  # the moment of the kill is drawn
            if n == kill_at:
                self._kill()
            if n == deploy_at:
                await self._deploy()
        await self._until(self._is_at_rest, "all work completes")
        await self._check_attempts()
        await check_at_rest(self.state, self.edits.named_by_events)

    async def _change(self) -> None:
        existing = await self.state.existing()
        for _ in range(self.rng.choice([1, 2, 4])):
            kind, event = await self.edits.edit(self.rng, existing)
            self.state.log_line(f"{kind}: {event_text(event)}", "parallel: event")
            async with self.state.engine.conn() as conn:
                await invalidate(conn, self.state.engine.org, event)

    def _kill(self) -> None:
        victim = self.rng.choice(SERVICES)
        kind = victim.partition("-")[0]
        self.state.log_line(f"kill {victim}", f"parallel: {kind} killed")
        if kind == "worker":
            self._killed.append(f"%:{self.services.pid(victim)}:%")
        self.services.kill(victim)
        self.services.start(victim, patch=self.patch)

    async def _deploy(self) -> None:
        """Deploy a job with other constants in its SELECTs."""
        job = self.rng.choice(self.state.world.world.derived_jobs)
        self.state.log_line(f"deploy {job.name}", "parallel: deploy")
        await self.state.deploy(self.state.world.with_salt(job.name, self.rng.randrange(100)))

    # -- rest ----------------------------------------------------------------------------------

    async def _until(self, condition: Callable[[], Awaitable[bool]], law: str) -> None:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not await condition():
            if time.monotonic() > deadline:
                raise Broken(law, self._org)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _are_up(self) -> bool:
        return all(self.services.logged(name, "is up") for name in SERVICES)

    async def _is_at_rest(self) -> bool:
        """Return whether no work is left. Leases of killed workers expire at once."""
        rows = self.state.engine.rows
        for worker in self._killed:
            self._lost |= {row["id"] for row in await rows(_LOSE, self._org, worker)}
        await rows(_RETRY_NOW, self._org)
        if await rows(_UNPLANNED, self._org):
            return False
        stuck = stuck_jobs(self.state.world.world, await self.state.existing())
        return {row["name"] for row in await rows(_OPEN, self._org)} <= stuck

    async def _check_attempts(self) -> None:
        """Check for one attempt per task, plus one per failed attempt or killed worker."""
        self.state.counts["parallel: lease of a killed worker"] += len(self._lost)
        failed = Counter(task for name in SERVICES for task in self._failed(name))
        for row in await self.state.engine.rows(_ATTEMPTS, self._org):
            ended = failed[str(row["id"])] + (row["id"] in self._lost)
            if row["attempts"] > 1 + ended:
                raise Broken("an attempt starts only after the previous one has ended", row)

    def _failed(self, name: str) -> list[str]:
        """Return the tasks of failed attempts, which fail only for a missing table."""
        failures = _FAILED.findall(self.services.log_of(name).read_text(errors="replace"))
        for task, error in failures:
            if _NO_TABLE not in error:
                raise Broken("no attempt fails", (task, error))
        return [task for task, _ in failures]
