"""A worker process of no-ops: ``python -m tests.benchmarks.drain URL BATCH``.

It prints a line once it is connected, waits for a line, drains the queue, and prints how many tasks
it has completed.
"""

import asyncio
import sys
from dataclasses import dataclass

from engine.flow.execution.claim import Claimant, claim
from engine.flow.execution.complete import complete_all
from engine.flow.shared.org_context import OrgContext
from engine.garbage_collection import tune_gc
from engine.model.task import Completion, Lease, Output
from engine.store.database import Connection, Database
from engine.store.orgs import org_id

_LANES = 3
"""Batches at once: one waits for the server while another is prepared."""
_PAUSE_SECONDS = 0.002


@dataclass(slots=True)
class Worker:
    """Worker that completes tasks without running anything; ``completed`` counts them."""

    database: Database
    org: OrgContext
    batch: int
    busy_lanes: int = 0
    completed: int = 0

    async def drain(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(_LANES):
                group.create_task(self._run_lane())

    async def _run_lane(self) -> None:
        """Run batches until nothing is queued while no other lane can unblock anything."""
        async with self.database.connection() as conn:
            while True:
                self.busy_lanes += 1
                has_run = await self._run_batch(conn)
                self.busy_lanes -= 1
                if has_run:
                    continue
                if not self.busy_lanes:
                    return
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _run_batch(self, conn: Connection) -> bool:
        leases = await claim(conn, self.org, Claimant("bench"), self.batch)
        if leases:
            completions = [_completion(lease) for lease in leases]
            completed = await complete_all(conn, self.org, completions)
            self.completed += len(completed)
        return bool(leases)


def _completion(lease: Lease) -> Completion:
    output = Output(lease.outputs[0].name, lease.partitions[0], fingerprint=str(lease.token))
    return Completion(lease, (output,))


async def _main(url: str, batch: int) -> None:
    async with await Database.open(url) as database:
        async with database.connection() as conn:
            org = OrgContext(await org_id(conn, "default"))
            await org.lineage(conn)
        tune_gc()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        worker = Worker(database, org, batch)
        await worker.drain()
        print(worker.completed, flush=True)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
