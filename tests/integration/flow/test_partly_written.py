"""Partitions possibly written by an incomplete attempt are stale until a run completes."""

from typing import Any
from uuid import UUID

import pytest

from engine.errors import LeaseLost
from engine.flow.execution.cancel import cancel
from engine.flow.execution.fail import fail
from engine.flow.execution.retry import retry
from engine.flow.planning.approve import reject
from engine.flow.planning.audit import StalePartition, audit_all
from engine.model.task import Output
from engine.store.database import Database
from engine.store.orgs import set_setting
from tests.support.worlds import World, job, source

DAY, OTHER = "2013-02-13", "2013-02-14"
_CURSOR = {"dataset": "a", "cursor": {"column": "id", "type": "integer"}}
_KINDS: dict[str, dict[str, Any]] = {
    "per partition": {},
    "full": {"execution_strategy": "Full"},
    "per update": {
        "execution_strategy": "PerUpdate",
        "update_strategy": "append",
        "unique_key": ["id"],
        "inputs": [_CURSOR],
    },
}


async def _stale(world: World, dataset: str = "b") -> list[StalePartition]:
    async with world.conn() as conn:
        return (await audit_all(conn, world.org, dataset)).shown


async def _verdicts(world: World) -> list[tuple[str, str, list[str]]]:
    return [
        (each.partition, each.verdict, [reason.rule for reason in each.reasons])
        for each in await _stale(world)
    ]


async def _counts(world: World) -> tuple[int, int, int]:
    async with world.conn() as conn:
        counts = await audit_all(conn, world.org)
    return counts.in_hand, counts.left, counts.lost


async def _cancel(world: World, name: str, *statuses: str) -> None:
    task = await world.task(name, *statuses)
    async with world.conn() as conn:
        await cancel(conn, world.org, task["id"], by="ann")


async def _request(world: World, *partitions: str) -> None:
    await world.changed("b", *partitions, reason="manual")


@pytest.mark.parametrize("kind", _KINDS)
async def test_partitions_of_a_canceled_attempt_are_left_as_partly_written(
    database: Database, kind: str
) -> None:
    world = await World.made(database, source("a"), job("b", "a") | _KINDS[kind])
    await world.changed("a", DAY, OTHER)
    await world.run()
    await _request(world, *([DAY] if kind == "per partition" else []))
    await world.claim()
    slot = DAY if kind == "per partition" else "*"
    await _cancel(world, f"b[{slot}]", "running")
    unread = ["rows not read"] if kind == "per update" else []
    assert await _verdicts(world) == [(slot, "left", ["partly written", "declared wrong", *unread])]
    await _request(world)
    await world.run()
    assert await _stale(world) == []


async def test_a_canceled_attempt_of_a_single_run_without_partitions(
    database: Database,
) -> None:
    b = job("b", "a", execution_strategy="Full", partitioning={"k": {"dynamic": True}})
    b["inputs"] = [{"dataset": "a", "mapping": "all"}]
    world = await World.made(database, source("a"), b)
    await world.changed("a", DAY)
    await world.run()
    await _request(world)
    await world.claim()
    await _cancel(world, "b[*]", "running")
    assert await _verdicts(world) == [("*", "left", ["partly written", "declared wrong"])]


async def test_a_second_output_is_stale_with_the_first(database: Database) -> None:
    both = job("b", "a")
    both["outputs"].append({"dataset": "c", "partitioning": both["outputs"][0]["partitioning"]})
    world = await World.made(database, source("a"), both, job("d", "c"))
    await world.changed("a", DAY)
    await world.run(same=["b"])
    await world.changed("c", DAY, reason="manual")
    await world.claim()
    await _cancel(world, f"b[{DAY}]", "running")
    assert await _counts(world) == (0, 1, 0)
    await _request(world, DAY)
    assert await world.run(same=["b"]) == [f"b[{DAY}]", f"d[{DAY}]"]
    assert await _counts(world) == (0, 0, 0)


async def test_a_canceled_first_run_counts_as_never_built(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    await world.claim()
    await _cancel(world, f"b[{DAY}]", "running")
    assert await _verdicts(world) == [(DAY, "left", ["never built"])]


async def test_a_failed_attempt_is_in_hand_until_its_task_fails(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    await world.run()
    await _request(world, DAY)
    (lease,) = await world.claim()
    async with world.conn() as conn:
        await fail(conn, world.org, lease, "boom")
    assert await _counts(world) == (1, 0, 0)
    await world.rows("UPDATE tasks SET next_retry_at = NULL RETURNING id")
    (lease,) = await world.claim()
    async with world.conn() as conn:
        await fail(conn, world.org, lease, "boom", retryable=False)
    assert await _counts(world) == (0, 1, 0)
    async with world.conn() as conn:
        await retry(conn, world.org, lease.task_id)
    await world.run()
    assert await _counts(world) == (0, 0, 0)


async def test_a_wave_with_unchanged_inputs_reruns_partly_written_partitions(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), job("m", "a"), job("b", "m"))
    await world.changed("a", DAY)
    await world.run(same=["m", "b"])
    await _request(world, DAY)
    await world.claim()
    await _cancel(world, f"b[{DAY}]", "running")
    await world.changed("a", DAY)
    assert await world.run(same=["m", "b"]) == [f"m[{DAY}]", f"b[{DAY}]"]
    await world.changed("a", DAY)
    assert await world.run(same=["m", "b"]) == [f"m[{DAY}]"]


async def test_a_partly_written_partition_without_a_decision_is_lost_and_mended(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    await world.run()
    await _request(world, DAY)
    await world.claim()
    await _cancel(world, f"b[{DAY}]", "running")
    await world.rows("DELETE FROM stale_decisions RETURNING partition_key")
    async with world.conn() as conn:
        assert (await audit_all(conn, world.org, mend=True)).lost == 1
    await world.plan()
    assert await world.run() == [f"b[{DAY}]"]
    assert await _stale(world) == []


async def test_a_canceled_run_of_the_sql_operator_writes_nothing(database: Database) -> None:
    a = source("a")
    a["outputs"][0] |= {"columns": ["x"], "storage": {"table": "public.a"}}
    b = job("b", "a") | {"operator": "sql", "config": {"sql": "SELECT x FROM a"}}
    world = await World.made(database, a, b)
    await world.changed("a", DAY)
    await world.run()
    await _request(world, DAY)
    await world.claim()
    await _cancel(world, f"b[{DAY}]", "running")
    assert await _verdicts(world) == [(DAY, "left", ["declared wrong"])]


async def test_an_attempt_canceled_by_a_change_of_blocks_is_in_hand(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    await world.run()
    await _request(world, DAY)
    await world.claim()
    await world.deploy(source("a"), job("b", "a", scaling={"partitions_per_task": 4}))
    assert await _counts(world) == (1, 0, 0)
    await world.run()
    assert await _counts(world) == (0, 0, 0)


async def test_an_attempt_canceled_by_a_change_of_blocks_may_have_been_read(
    database: Database,
) -> None:
    """Its reader runs again, even if the next run restores the earlier content."""
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", DAY)
    await world.run(b="1")
    await _request(world, DAY)
    await world.claim()
    blocks = job("b", "a", scaling={"partitions_per_task": 4})
    await world.deploy(source("a"), blocks, job("c", "b"))
    assert await world.run(b="1") == ["b[2013-02-12]", f"c[{DAY}]"]


async def test_a_late_completion_of_a_canceled_attempt_changes_no_verdict(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    await world.run()
    await _request(world, DAY)
    (lease,) = await world.claim()
    await _cancel(world, f"b[{DAY}]", "running")
    with pytest.raises(LeaseLost):
        await world.complete(lease, Output("b", DAY))
    assert await _verdicts(world) == [(DAY, "left", ["partly written", "declared wrong"])]


async def _following(database: Database, **more: Any) -> World:
    """`b` has followed the rows of `a` up to the second row."""
    world = await World.made(database, source("a"), job("b", "a", **more) | _KINDS["per update"])
    await world.changed("a", DAY, OTHER)
    (lease,) = await world.claim()
    await world.finish(lease, cursors={lease.inputs["a"].id: "2"})
    return world


async def _follow(world: World) -> None:
    """Run the job on new rows of `a`."""
    await world.changed("a", OTHER, reason="arrival")
    (lease,) = await world.claim()
    assert not lease.has_read_all_rows
    await world.finish(lease)


async def _cancel_in_state(world: World, status: str) -> None:
    """Cancel the task of the single-run job, queued or after its claim."""
    if status == "running":
        await world.claim()
    await _cancel(world, "b[*]", status)


@pytest.mark.parametrize("status", ["queued", "running"])
async def test_rows_to_reread_of_a_canceled_task_stay_unread(
    database: Database, status: str
) -> None:
    world = await _following(database)
    await world.changed("a", DAY, reason="correction", rows={"id": 1})
    await _cancel_in_state(world, status)
    await _follow(world)
    assert await _verdicts(world) == [("*", "left", ["rows not read"])]
    await _request(world)
    assert await _counts(world) == (1, 0, 0)
    await world.run()
    assert await _stale(world) == []


async def _correction_beyond_the_limit(world: World) -> UUID:
    """Change a row of `a` under a limit that holds the plan; later plans have no limit."""
    return await _beyond_the_limit(world, reason="correction", rows={"id": 1})


async def _beyond_the_limit(world: World, **change: Any) -> UUID:
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", 0)
    await world.change("a", DAY, **change)
    planned = await world.plan()
    assert planned is not None
    assert planned.plan_id is not None
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", None)
    return planned.plan_id


@pytest.mark.parametrize("partitioning", [None, {}])
async def test_rows_of_a_rejected_plan_stay_unread(
    database: Database, partitioning: dict[str, Any] | None
) -> None:
    world = await _following(database, partitioning=partitioning)
    plan_id = await _correction_beyond_the_limit(world)
    async with world.conn() as conn:
        await reject(conn, world.org, plan_id)
    await _follow(world)
    assert await _verdicts(world) == [("*", "left", ["rows not read"])]


async def test_rows_of_a_plan_rejected_after_a_run_of_new_rows_stay_unread(
    database: Database,
) -> None:
    """The run has recorded the newer version of the input without reading the changed row."""
    world = await _following(database)
    plan_id = await _correction_beyond_the_limit(world)
    await _follow(world)
    async with world.conn() as conn:
        await reject(conn, world.org, plan_id)
    assert await _verdicts(world) == [("*", "left", ["rows not read"])]


async def test_new_rows_of_a_canceled_task_are_read_by_the_next(database: Database) -> None:
    world = await _following(database)
    await world.changed("a", OTHER, reason="arrival")
    await _cancel(world, "b[*]", "queued")
    await _follow(world)
    assert await _stale(world) == []


async def _reread(world: World) -> None:
    """Run the job on one old row of `a`."""
    await world.changed("a", DAY, reason="correction", rows={"id": 1})
    (lease,) = await world.claim()
    assert not lease.has_read_new_rows
    await world.finish(lease)


@pytest.mark.parametrize("status", ["queued", "running"])
async def test_new_rows_of_a_canceled_task_stay_unread_by_a_run_on_old_rows(
    database: Database, status: str
) -> None:
    world = await _following(database)
    await world.changed("a", DAY, reason="arrival")
    await _cancel_in_state(world, status)
    await _reread(world)
    assert await _verdicts(world) == [("*", "left", ["new rows not read"])]
    await _follow(world)
    assert await _stale(world) == []


async def test_new_rows_of_a_rejected_plan_stay_unread_by_a_run_on_old_rows(
    database: Database,
) -> None:
    world = await _following(database)
    plan_id = await _beyond_the_limit(world, reason="arrival")
    async with world.conn() as conn:
        await reject(conn, world.org, plan_id)
    await _reread(world)
    assert await _verdicts(world) == [("*", "left", ["new rows not read"])]
    await _request(world)
    await world.run()
    assert await _stale(world) == []


async def test_new_rows_of_a_task_canceled_behind_a_run_stay_unread(database: Database) -> None:
    """The run may have read the input before the second arrival."""
    world = await _following(database)
    await world.changed("a", DAY, reason="arrival")
    (lease,) = await world.claim()
    await world.changed("a", DAY, reason="arrival")
    await _cancel(world, "b[*]", "blocked")
    await world.finish(lease)
    await _reread(world)
    assert await _verdicts(world) == [("*", "left", ["new rows not read"])]


async def test_a_wave_with_unchanged_inputs_reads_unread_rows(
    database: Database,
) -> None:
    """The plan of the wave has revoked the decision, so its task is not skipped."""
    b = job("b", "a") | _KINDS["per update"]
    b["inputs"] = [_CURSOR, {"dataset": "c"}]
    world = await World.made(database, source("s"), source("a"), job("c", "s"), b)
    await world.changed("a", DAY)
    await world.changed("s", DAY)
    while leases := await world.claim():
        for lease in leases:
            cursors = {lease.inputs["a"].id: "2"} if lease.job.name == "b" else {}
            await world.finish(lease, "same", cursors=cursors)
    await world.changed("a", DAY)
    await _cancel(world, "b[*]", "queued")
    await _follow(world)
    await world.changed("s", DAY)
    assert await world.run(same=["c"]) == [f"c[{DAY}]", "b[*]"]
    assert await _stale(world) == []
