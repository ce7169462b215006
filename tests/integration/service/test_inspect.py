"""Lists of jobs, datasets, partitions and stale partitions."""

import pytest

from engine.errors import UnknownName
from engine.flow.execution.cancel import cancel
from engine.flow.execution.fail import fail
from engine.service.queries.datasets import datasets
from engine.service.queries.jobs import jobs
from engine.service.queries.partition_states import partition_states
from engine.service.queries.stale import stale
from engine.store.database import Database
from tests.support.worlds import DAILY, WEEKLY, World, job, source

FIRST, SECOND, THIRD, FOURTH = (f"2013-02-{day}" for day in (13, 14, 15, 16))


async def _states(world: World, dataset: str) -> dict[str, tuple[int, tuple[str, ...]]]:
    rows = await partition_states(world.caller, world.service, dataset)
    return {row.state: (row.count, row.partitions) for row in rows}


async def test_jobs_are_listed_downstream_with_their_unfinished_tasks(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", FIRST, SECOND)
    await world.claim(limit=1)
    rows = await jobs(world.caller, world.service)
    assert [(row.name, row.inputs, row.outputs, row.tasks) for row in rows if row.inputs] == [
        ("b", ("a",), ("b",), {"running": 1, "queued": 1}),
        ("c", ("b",), ("c",), {"blocked": 2}),
    ]


async def test_datasets_are_listed_with_their_producers_and_readers(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "a", "b"))
    rows = await datasets(world.caller, world.service)
    assert [(row.name, row.is_source, row.readers) for row in rows] == [
        ("a", True, ("b", "c")),
        ("b", False, ("c",)),
        ("c", False, ()),
    ]
    assert rows[1].job == "b"
    assert rows[0].partitioning == "dt day"


async def test_each_partition_has_one_state(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", FIRST, SECOND, THIRD, FOURTH)
    await world.run()
    assert await _states(world, "b") == {"fresh": (4, (f"{FIRST}..{FOURTH}",))}
    await world.changed("a", FIRST, SECOND, THIRD)
    await world.claim(limit=1)
    task = await world.task(f"b[{THIRD}]", "queued")
    async with world.conn() as conn:
        await cancel(conn, world.org, task["id"], by="ann")
    assert await _states(world, "b") == {
        "running": (1, (FIRST,)),
        "queued": (1, (SECOND,)),
        "left stale": (1, (THIRD,)),
        "fresh": (1, (FOURTH,)),
    }
    assert await _states(world, "a") == {"fresh": (4, (f"{FIRST}..{FOURTH}",))}


async def test_failed_and_missing_partitions(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a", activation="manual"))
    await world.changed("a", FIRST, SECOND)
    await world.changed("b", FIRST, reason="manual")
    (lease,) = await world.claim()
    async with world.conn() as conn:
        await fail(conn, world.org, lease, "boom", retryable=False)
    states = await _states(world, "b")
    assert states.pop("failed") == (1, (FIRST,))
    assert [partitions for _, partitions in states.values()] == [(SECOND,)]


async def test_partitions_of_a_single_run_job_share_a_state(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a", execution_strategy="Full"))
    await world.changed("a", FIRST)
    await world.run()
    ((state, (count, _)),) = (await _states(world, "b")).items()
    assert (state, count) == ("fresh", 365)
    await world.changed("a", FIRST)
    await world.claim()
    assert {*await _states(world, "b")} == {"running"}


async def test_an_unknown_dataset_is_an_error(database: Database) -> None:
    world = await World.made(database, source("a"))
    with pytest.raises(UnknownName, match="no dataset 'z'"):
        await partition_states(world.caller, world.service, "z")


async def test_stale_partitions_are_listed_after_their_causes(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", FIRST)
    await world.run()
    assert await stale(world.caller, world.service) == []
    before = (await world.rows("SELECT clock_timestamp() AS now"))[0]["now"]
    await world.changed("a", FIRST)
    await world.changed("c", FIRST, reason="manual")
    rows = await stale(world.caller, world.service)
    assert [(row.dataset, row.partition, row.verdict) for row in rows] == [
        ("b", FIRST, "in hand"),
        ("c", FIRST, "in hand"),
    ]
    assert rows[0].since is not None
    assert rows[0].since > before
    assert rows[1].since is None
    assert await stale(world.caller, world.service, "c", 1) == rows[1:]


@pytest.mark.parametrize("text", ["dt=2013-02-13/k=*", "dt=2013-02-13"])
async def test_an_open_ended_scope_concerns_existing_partitions(
    database: Database, text: str
) -> None:
    grid = {"dt": DAILY["dt"], "k": {"dynamic": True}}
    world = await World.made(database, source("a", grid), job("b", "a", partitioning=grid))
    await world.changed("a", "dt=2013-02-13/k=x", "dt=2013-02-14/k=x")
    await world.run()
    await world.change("b", text, reason="manual")
    assert await _states(world, "b") == {
        "stale": (1, ("dt=2013-02-13/k=x",)),
        "fresh": (1, ("dt=2013-02-14/k=x",)),
    }
    assert await stale(world.caller, world.service, "b")


async def test_unplanned_invalidations_of_an_earlier_partitioning(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", FIRST)
    await world.run()
    await world.change("a", FIRST)
    await world.change("b", FIRST)
    await world.deploy(source("a", WEEKLY), job("b", "a", partitioning=WEEKLY))
    for name in ("a", "b"):
        assert await _states(world, name) == {}
        assert await stale(world.caller, world.service, name)
