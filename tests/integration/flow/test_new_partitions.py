"""Narrow events about existing and new partitions: only the new ones change as a whole."""

import pytest

import engine.flow.planning.decision
from engine.store.database import Database
from tests.support.worlds import World, job, source

OLD, NEW = "2013-02-12", "2013-02-13"
READERS = (
    job("of_x", "a", columns={"x": ["a.x"]}),
    job("of_y", "a", columns={"y": ["a.y"]}),
)


@pytest.fixture
async def world(database: Database) -> World:
    """A source with two columns and one partition, and a reader of each column."""
    a = source("a")
    a["outputs"][0]["columns"] = ["x", "y", "region"]
    world = await World.made(database, a, *READERS)
    await world.changed("a", OLD)
    await world.run()
    return world


async def test_only_named_columns_of_existing_partitions_change(world: World) -> None:
    await world.changed("a", f"{OLD}..{NEW}", columns=("x",))
    assert await world.run() == [f"of_x[{OLD}]", f"of_x[{NEW}]", f"of_y[{NEW}]"]


async def test_scattered_partitions_are_divided_as_well(world: World) -> None:
    await world.changed("a", "2013-02-16..2013-02-17")
    await world.run()
    await world.changed("a", "2013-02-11..2013-02-16", columns=("y",))
    ran = await world.run()
    assert [task for task in ran if task.startswith("of_x")] == [
        f"of_x[2013-02-{n}]" for n in (11, 13, 14, 15)
    ]
    assert len([task for task in ran if task.startswith("of_y")]) == 6


async def test_an_invalidation_of_many_parts_is_widened(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.flow.planning.decision, "_MOST_PARTS", 1)
    await world.changed("a", f"2013-02-11..{NEW}", columns=("x",))
    assert len(await world.run()) == 6


async def test_conditions_on_rows_hold_for_existing_partitions(world: World) -> None:
    await world.changed("a", f"{OLD}..{NEW}", rows={"region": "EU"}, columns=("x",))
    rows = await world.rows(
        "SELECT DISTINCT processed_at IS NULL AS is_open FROM data_invalidations"
    )
    assert rows == [{"is_open": False}]
    assert await world.run() == [f"of_x[{OLD}]", f"of_x[{NEW}]", f"of_y[{NEW}]"]


async def test_an_open_dimension_is_divided_as_well(database: Database) -> None:
    """An unbounded dimension stands for its known keys: one partition exists, the other is new."""
    spread = {"dt": {"time": "day"}, "n": {"range": 10}}
    a = source("a", spread)
    a["outputs"][0]["columns"] = ["x", "y"]
    of_y = job("of_y", "a", columns={"y": ["a.y"]}, partitioning=spread)
    world = await World.made(database, a, of_y)
    await world.changed("a", f"dt={OLD}/n=0-9", f"dt={NEW}/n=10-19")
    await world.run()
    await world.changed("a", "n=10-19", columns=("x",))
    assert await world.run() == [f"of_y[dt={OLD}/n=10-19]"]


async def test_an_open_dimension_has_no_keys_between_the_known_ones(database: Database) -> None:
    spread = {"dt": {"time": "day"}, "n": {"range": 10}}
    of_a = job("of_a", "a", partitioning=spread)
    world = await World.made(database, source("a", spread), of_a)
    await world.changed("a", "dt=2013-02-11/n=10-19", "dt=2013-02-14/n=10-19")
    await world.changed("a", "dt=2013-02-16/n=0-9")
    await world.run()
    await world.changed("a", "n=10-19", columns=("x",))
    days = sorted(task[5:-1] for task in await world.run())
    assert days == [f"dt=2013-02-1{day}/n=10-19" for day in (1, 4, 6)]
