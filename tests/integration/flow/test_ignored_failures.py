"""Inputs with ``on_failure: ignore``: a failed task does not block the readers of its output."""

from typing import Any

import pytest

from engine.flow.execution.fail import fail
from engine.flow.execution.retry import retry
from engine.flow.planning.audit import audit_all
from engine.store.database import Database
from tests.support.deploys import sql
from tests.support.worlds import World, job, name_of, source

DAY = "2013-02-13"
ONCE = {"max_attempts": 1}
IGNORED = {"dataset": "b", "on_failure": "ignore"}


async def _made(database: Database, read: Any = IGNORED) -> World:
    """`d` reads `b` and `c`, and all have run once."""
    jobs = job("b", "a", **ONCE), job("c", "a", **ONCE), job("d", read, "c")
    return await _run(await World.made(database, source("a"), *jobs))


async def _behind(database: Database) -> World:
    """`d` reads `c` and `m`, which reads `b`, and all have run once."""
    read = {"dataset": "m", "on_failure": "ignore"}
    jobs = job("b", "a", **ONCE), job("c", "a2"), job("m", "b"), job("d", read, "c")
    return await _run(await World.made(database, source("a"), source("a2"), *jobs))


async def _run(world: World) -> World:
    for name in ("a", "a2"):
        if await world.rows("SELECT FROM datasets WHERE name = %s", name):
            await world.changed(name, DAY)
    await world.run()
    return world


async def _work(world: World, failing: str = "b", same: str = "") -> list[str]:
    """Run all tasks; those of one job fail, and those of another produce the same as before."""
    before = len(world.log)
    while leases := await world.claim():
        for lease in leases:
            if lease.job.name == failing:
                async with world.conn() as conn:
                    await fail(conn, world.org, lease, "no luck")
            else:
                await world.finish(lease, "same" if lease.job.name == same else None)
    return world.log[before:]


async def _retry(world: World, name: str) -> None:
    async with world.conn() as conn:
        await retry(conn, world.org, (await world.task(name, "failed"))["id"])


async def _is_sound(world: World) -> bool:
    async with world.conn() as conn:
        return (await audit_all(conn, world.org)).lost == 0


async def test_a_failure_blocks_the_readers_by_default(database: Database) -> None:
    world = await _made(database, "b")
    await world.changed("a", DAY)
    assert await _work(world) == [f"c[{DAY}]"]
    assert (await world.tasks())["blocked"] == [f"d[{DAY}]"]


async def test_a_reader_runs_without_the_failed_input_and_again_with_its_result(
    database: Database,
) -> None:
    world = await _made(database)
    await world.changed("a", DAY)
    assert await _work(world) == [f"c[{DAY}]", f"d[{DAY}]"]
    assert await _is_sound(world)
    await _retry(world, f"b[{DAY}]")
    assert await _work(world, failing="") == [f"b[{DAY}]"]
    await world.plan()
    assert await _work(world) == [f"d[{DAY}]"]
    assert await world.plan() is None
    assert await _is_sound(world)


async def test_a_reader_without_another_change_is_skipped(database: Database) -> None:
    world = await _made(database)
    await world.changed("a", DAY)
    await world.run(c="1")
    await world.changed("a", DAY)
    while leases := await world.claim():
        for lease in leases:
            if lease.job.name == "b":
                async with world.conn() as conn:
                    await fail(conn, world.org, lease, "no luck")
            else:
                await world.finish(lease, "1")
    assert (await world.tasks())["skipped"] == [f"d[{DAY}]"]
    assert await _is_sound(world)
    await _retry(world, f"b[{DAY}]")
    await _work(world, failing="")
    await world.plan()
    assert await _work(world) == [f"d[{DAY}]"]


async def test_a_failure_further_upstream_counts_as_well(database: Database) -> None:
    world = await _behind(database)
    await world.change("a", DAY)
    await world.changed("a2", DAY)
    assert await _work(world) == [f"c[{DAY}]", f"d[{DAY}]"]
    assert (await world.tasks())["blocked"] == [f"m[{DAY}]"]
    await _retry(world, f"b[{DAY}]")
    assert await _work(world, failing="") == [f"b[{DAY}]", f"m[{DAY}]"]
    await world.plan()
    assert await _work(world) == [f"d[{DAY}]"]
    assert await _is_sound(world)


@pytest.mark.parametrize("made", [_made, _behind])
async def test_a_later_plan_does_not_wait_for_the_failed_task(
    database: Database, made: Any
) -> None:
    world = await made(database)
    await world.changed("a", DAY)
    await _work(world)
    await world.change("c", DAY, reason="rewritten")
    await world.plan()
    assert [name_of(lease) for lease in await world.claim()] == [f"d[{DAY}]"]


async def test_a_plan_that_runs_the_failed_task_again_is_waited_for(database: Database) -> None:
    world = await _made(database)
    await world.changed("a", DAY)
    await _work(world)
    await world.changed("a", DAY)
    assert await _work(world, failing="") == [f"b[{DAY}]", f"c[{DAY}]", f"d[{DAY}]"]
    assert await world.plan() is None


async def test_a_reader_that_also_reads_without_ignoring_waits(database: Database) -> None:
    both = job("b", "a", **ONCE)
    both["outputs"].append({"dataset": "b2", "partitioning": both["outputs"][0]["partitioning"]})
    world = await World.made(database, source("a"), both, job("d", IGNORED, "b2"))
    await world.changed("a", DAY)
    assert await _work(world) == []
    assert (await world.tasks())["blocked"] == [f"d[{DAY}]"]


async def test_a_task_that_cannot_be_leased_is_ignored(database: Database) -> None:
    window = {"dataset": "a", "mapping": {"dt": {"from": "dt", "window": [-1, 0]}}}
    jobs = job("b", window), job("c", "a2"), job("d", IGNORED, "c")
    world = await _run(await World.made(database, source("a"), source("a2"), *jobs))
    await world.change("a", DAY)
    await world.changed("a2", DAY)
    await world.rows(
        "UPDATE tasks t SET partitions = '{nonsense}' FROM jobs j"
        " WHERE j.id = t.job_id AND j.name = 'b' AND t.block_key = %s AND t.status = 'queued'"
        " RETURNING t.id",
        DAY,
    )
    for _ in range(3):  # a claim that rejects a task returns no other one
        await world.run()
    assert "nonsense" in (await world.task(f"b[{DAY}]", "failed"))["error_message"]
    assert world.log.count(f"d[{DAY}]") == 2


async def test_a_task_that_waited_for_the_failed_one_is_read_later(database: Database) -> None:
    """The failed task turns out to be unchanged, and the waiting one has another reason to run."""
    read = {"dataset": "m", "on_failure": "ignore"}
    b = sql("b", "SELECT dt FROM a", "a") | ONCE  # a failed attempt of which has written nothing
    jobs = b, job("c", "a2"), job("m", "b", "a3"), job("d", read, "c")
    sources = [source(name) for name in ("a", "a2", "a3")]
    world = await World.made(database, *sources, *jobs)
    for name in ("a", "a2", "a3"):
        await world.change(name, DAY)
    await world.plan()
    await world.run(["b"])
    for name in ("a", "a2", "a3"):
        await world.change(name, DAY)
    await world.plan()
    assert await _work(world) == [f"c[{DAY}]", f"d[{DAY}]"]
    await _retry(world, f"b[{DAY}]")
    assert await _work(world, failing="", same="b") == [f"b[{DAY}]", f"m[{DAY}]"]
    await world.plan()
    assert await _work(world) == [f"d[{DAY}]"]
    assert await _is_sound(world)


async def test_a_deploy_that_ignores_failures_unblocks_readers(database: Database) -> None:
    world = await _made(database, "b")
    await world.changed("a", DAY)
    await _work(world)
    jobs = job("b", "a", **ONCE), job("c", "a", **ONCE), job("d", IGNORED, "c")
    await world.deploy(source("a"), *jobs)
    assert await _work(world) == [f"d[{DAY}]"]
