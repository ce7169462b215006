"""A run after a rejected plan propagates only what it has changed."""

from engine.flow.planning.approve import reject
from engine.store.database import Database
from engine.store.orgs import set_setting
from tests.support.workers import sql_job, work
from tests.support.worlds import World, source

DAY = "2013-02-13"
TOTALS = "SELECT dt, sum(amount) AS total, count(*) AS n FROM orders GROUP BY dt"


async def _world(database: Database) -> World:
    async with database.connection() as conn:
        await conn.execute("CREATE TABLE orders (dt date, amount int)")
        await conn.execute("INSERT INTO orders VALUES ('2013-02-13', 1)")
    orders = source("orders")
    orders["outputs"][0]["columns"] = ["dt", "amount"]
    world = await World.made(
        database,
        orders,
        sql_job("totals", "orders", sql=TOTALS),
        sql_job("sums", "totals", sql="SELECT dt, total FROM totals"),
        sql_job("counts", "totals", sql="SELECT dt, n FROM totals"),
    )
    await world.changed("orders", DAY)
    await work(world)
    return world


async def _reject_a_change(world: World) -> None:
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", 0)
        await world.change("orders", DAY, columns=("amount",))
        planned = await world.plan()
        assert planned is not None
        assert planned.plan_id is not None
        await reject(conn, world.org, planned.plan_id)
        await set_setting(conn, world.org.id, "blast_radius", None)


async def _statuses(world: World) -> dict[str, list[str]]:
    """Return the statuses of the tasks of each job, in order."""
    found: dict[str, list[str]] = {}
    rows = await world.rows(
        "SELECT j.name, t.status FROM tasks t JOIN jobs j ON j.id = t.job_id ORDER BY t.id"
    )
    for row in rows:
        found.setdefault(row["name"], []).append(row["status"])
    return found


async def test_an_unchanged_result_invalidates_nothing_else(database: Database) -> None:
    world = await _world(database)
    await _reject_a_change(world)
    await world.changed("orders", DAY, columns=("amount",))
    await work(world)
    assert await world.plan() is None
    assert await _statuses(world) == {
        "totals": ["succeeded", "succeeded"],
        "sums": ["succeeded", "skipped"],
        "counts": ["succeeded"],
    }


async def test_a_result_with_the_rejected_change_reaches_its_readers(database: Database) -> None:
    world = await _world(database)
    await world.rows("INSERT INTO orders VALUES ('2013-02-13', 2) RETURNING 1")
    await _reject_a_change(world)
    await world.changed("orders", DAY, columns=("amount",))
    while True:
        await work(world)
        if await world.plan() is None:
            break
    statuses = await _statuses(world)
    assert statuses["sums"].count("succeeded") == 2
    assert statuses["counts"] == ["succeeded", "succeeded"]
