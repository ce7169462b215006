"""The parts of the benchmarks that depend on the schema, at a small size."""

from consumers.manual import invalidate
from engine.flow.planning.plan import plan
from engine.model.event import SourceEvent
from engine.store.database import Database
from tests.benchmarks.drain import Worker
from tests.benchmarks.neighbourhoods import Asked, over_http, over_the_operation
from tests.benchmarks.stored import store
from tests.benchmarks.worlds import chain, layered


async def test_a_worker_completes_the_tasks_of_a_stored_lineage(database: Database) -> None:
    world = chain(3)
    async with database.connection() as conn:
        org = await store(conn, world)
        days = SourceEvent(dataset=world.datasets[0].name, partitions=("2013-01-01..2013-01-05",))
        await invalidate(conn, org, days)
        planned = await plan(conn, org)
    assert planned is not None
    worker = Worker(database, org, batch=2)
    await worker.drain()
    assert worker.completed == planned.tasks == 10


async def test_a_stored_lineage_has_all_edges(database: Database) -> None:
    world = layered(100, 3, 500)
    async with database.connection() as conn:
        lineage = await (await store(conn, world)).lineage(conn)
    assert lineage.graph().edges == world.lineage().graph().edges


async def test_a_neighbourhood_is_read_by_the_operation_and_over_http(database: Database) -> None:
    world = layered(400, 3, 2_000)
    async with database.connection() as conn:
        await store(conn, world)
    asked = Asked(world.datasets[200].name, nodes=100, times=2)
    assert len(await over_the_operation(database, asked)) == 2
    assert len(await over_http(database, asked)) == 2
