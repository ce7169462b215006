"""Possible writes of an attempt that was canceled by a deploy or by an operator."""

from engine.store.database import Database
from tests.support.worlds import World, job, source

DAY = "2013-02-13"


async def test_a_reader_of_an_attempt_canceled_by_a_change_of_blocks_runs_again(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", DAY)
    await world.run(b="same")
    await world.changed("c", DAY, reason="manual")
    (reader,) = await world.claim()
    await world.changed("a", DAY)
    (attempt,) = await world.claim()
    assert attempt.job.name == "b"
    await world.finish(reader, "read while b was being written")
    await world.deploy(
        source("a"), job("b", "a", scaling={"partitions_per_task": 4}), job("c", "b")
    )
    runs = await world.run(b="same")
    assert [each[0] for each in runs] == ["b", "c"]
