"""pgqueuer, a queue on PostgreSQL, as a peer: with the same driver, and its own schema."""

from time import perf_counter

from pgqueuer import PgQueuer, PsycopgDriver, Queries
from pgqueuer.models import Job
from pgqueuer.types import QueueExecutionMode
from psycopg import AsyncConnection


async def drained_per_second(url: str, jobs: int, batch: int) -> float:
    """Enqueue no-op jobs and drain them in batches."""
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        driver = PsycopgDriver(connection)
        queries = Queries(driver)
        if not await queries.has_table("pgqueuer"):
            await queries.install()
        await queries.enqueue(["noop"] * jobs, [None] * jobs, [0] * jobs)
        await connection.execute("VACUUM ANALYZE")
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
