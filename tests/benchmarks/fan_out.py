"""One partition of a source changes above 1,000 daily jobs with a year of partitions."""

from collections.abc import AsyncIterator

from engine.flow.planning.plan import plan
from engine.flow.shared.org_context import OrgContext
from engine.store.database import Connection
from tests.benchmarks.figure import Figure, Peer, stopwatch
from tests.benchmarks.planning import measure
from tests.benchmarks.server import Server
from tests.benchmarks.stored import store
from tests.benchmarks.worlds import World, chain, star

_DAYS = [f"2013-02-{day:02}" for day in range(1, 12)]
_YEAR = """
    INSERT INTO partition_versions
        (org_id, dataset_uuid, dataset_version, partition_key, materialized_at)
    SELECT d.org_id, d.dataset_uuid, d.dataset_version, day::date::text, now()
    FROM dag_version_datasets d, generate_series('2013-01-01', '2013-12-31', '1 day'::interval) day
"""


async def figures(server: Server) -> AsyncIterator[Figure]:
    """Figures for the jobs in parallel, in a chain, and for a plan with no work."""
    for shape, world in {"999 beside": star(1_000), "999 in a row": chain(1_000)}.items():
        async with server.database() as database, database.connection() as conn:
            org = await _stand(conn, world)
            found = await measure(conn, org, world.datasets[0], _DAYS)
            copy = Peer("COPY", [1000 * each for each in found.copied])
            assert found.tasks == 999, found.tasks
            yield Figure(f"{shape}: planned", [1000 * each for each in found.pure], "ms", 50)
            emitted = [1000 * each for each in found.emitted]
            yield Figure(f"{shape}: emitted", emitted, "ms", 500, copy)
            empty = [1000 * await stopwatch(plan(conn, org)) for _ in range(100)]
    yield Figure("planned when nothing changed", empty, "ms")


async def _stand(conn: Connection, world: World) -> OrgContext:
    org = await store(conn, world)
    await conn.execute(_YEAR.encode())
    await conn.execute("ANALYZE")
    return org
