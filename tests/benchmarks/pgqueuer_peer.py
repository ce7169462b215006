"""pgqueuer, a queue on PostgreSQL, as a peer: with its fastest driver, and its own schema."""

from time import perf_counter

from asyncpg import create_pool
from pgqueuer import AsyncpgPoolDriver, PgQueuer, Queries
from pgqueuer.models import Job
from pgqueuer.types import QueueExecutionMode

_CONNECTIONS = 10
"""asyncpg's default; with four, the rates are the same."""


async def drained_per_second(url: str, jobs: int, batch: int) -> float:
    """Enqueue no-op jobs and drain them in batches."""
    async with create_pool(url, min_size=_CONNECTIONS, max_size=_CONNECTIONS) as pool:
        driver = AsyncpgPoolDriver(pool)
        queries = Queries(driver)
        if not await queries.has_table("pgqueuer"):
            await queries.install()
        await queries.enqueue(["noop"] * jobs, [None] * jobs, [0] * jobs)
        await pool.execute("VACUUM ANALYZE")
        queuer, done = PgQueuer(driver), 0

        @queuer.entrypoint("noop")
        async def noop(job: Job) -> None:
            nonlocal done
            done += 1

        start = perf_counter()
        await queuer.run(batch_size=batch, mode=QueueExecutionMode.drain)
        seconds = perf_counter() - start
        assert done == jobs, done
    return jobs / seconds
