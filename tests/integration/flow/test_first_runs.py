"""A partition built for the first time is new in every column, regardless of the run's cause."""

from engine.store.database import Database
from tests.support.worlds import DAILY, World, job, source

BY_ORIGIN = DAILY | {"origin": {"dynamic": True}}
FIRST, SECOND = "2013-02-13", "2013-02-14"


def _reader(column: str) -> dict[str, object]:
    return job(f"of_{column}", "m", partitioning=BY_ORIGIN, columns={column: [f"m.{column}"]})


async def _begun(database: Database) -> World:
    """`m` has a single origin on the first of two days of `a`; each reader reads one column."""
    m = job("m", "a", "c", partitioning=BY_ORIGIN, columns={"x": ["a.x"], "y": ["c.y"]})
    sources = source("a"), source("c", BY_ORIGIN)
    world = await World.made(database, *sources, m, _reader("x"), _reader("y"))
    await world.changed("a", SECOND)
    await world.changed("c", f"dt={FIRST}/origin=JFK")
    await world.run()
    return world


async def test_a_first_run_is_read_in_every_column(
    database: Database,
) -> None:
    world = await _begun(database)
    slot = f"dt={SECOND}/origin=JFK"
    await world.changed("a", SECOND, columns=("x",))
    assert await world.run() == [f"m[{slot}]", f"of_x[{slot}]"]
    await world.plan()
    assert f"of_y[{slot}]" in await world.run()


async def test_a_later_run_is_read_by_column(database: Database) -> None:
    world = await _begun(database)
    slot = f"dt={FIRST}/origin=JFK"
    await world.change("a", FIRST)
    await world.plan()
    await world.run()
    await world.changed("a", FIRST, columns=("x",))
    assert await world.run() == [f"m[{slot}]", f"of_x[{slot}]"]
    assert await world.plan() is None


async def test_two_unbounded_inputs_build_their_product(database: Database) -> None:
    tails, routes = {"tail": {"dynamic": True}}, {"route": {"dynamic": True}}
    world = await World.made(
        database,
        source("planes", tails),
        source("routes", routes),
        job("pairs", "planes", "routes", partitioning=tails | routes),
    )
    await world.changed("planes", "N1")
    assert await world.run() == []
    await world.change("planes", "N2")
    await world.change("routes", "A")
    await world.plan()
    assert sorted(await world.run()) == [f"pairs[tail={tail}/route=A]" for tail in ("N1", "N2")]
    await world.changed("routes", "B")
    assert sorted(await world.run()) == [f"pairs[tail={tail}/route=B]" for tail in ("N1", "N2")]
