"""The races listed in the design, stepped explicitly over two connections."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from engine.errors import InvalidMapping, LeaseLost, PositionLost
from engine.flow.deployment.deploy import deploy, preview
from engine.flow.execution import cancel as cancellation
from engine.flow.execution.cancel import cancel_all
from engine.flow.execution.claim import Claimant, claim
from engine.flow.execution.complete import complete, complete_all
from engine.flow.execution.fail import fail
from engine.flow.execution.heartbeat import heartbeat
from engine.flow.execution.reap import reap
from engine.flow.ingestion.ingest import ingest
from engine.flow.planning.plan import plan
from engine.flow.shared.org_context import OrgContext
from engine.lineage.graph import Lineage
from engine.model.dagfile import parse_dag
from engine.model.event import Advance, Batch, Delivery, Received, SourceEvent
from engine.model.states import UNFINISHED_STATUSES
from engine.model.task import Completion, Lease, Output
from engine.store.database import Connection, Database
from engine.store.lineage import load_lineage
from engine.store.orgs import lock_planning
from tests.simulation.crashes import interrupted
from tests.support.deploys import is_waiting
from tests.support.migrations import until
from tests.support.worlds import World, job, source

DAY = "2013-02-13"


@asynccontextmanager
async def waiting(world: World, conn: Connection) -> AsyncIterator[None]:
    """Exit only when the connection's statement is waiting for a lock held by another session."""
    yield
    for _ in range(1_000):
        if await is_waiting(world, conn.info.backend_pid):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the statement did not wait for a lock")


async def test_two_claimers_never_get_the_same_task(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", "2013-02-01..2013-02-04")
    async with world.conn() as one, world.conn() as two, one.transaction():
        first = await claim(one, world.org, Claimant("one"), 2)
        second = await claim(two, world.org, Claimant("two"), 10)
    block_keys = [lease.block_key for lease in (*first, *second)]
    assert len(first) == 2
    assert sorted(block_keys) == [f"2013-02-0{n}" for n in range(1, 5)]


async def test_two_claimers_keep_a_cap_together(database: Database) -> None:
    world = await World.made(
        database, source("a"), job("b", "a", scaling={"max_concurrency": 1}), job("free", "a")
    )
    await world.changed("a", "2013-02-01..2013-02-02")
    async with world.conn() as one, world.conn() as two, one.transaction():
        first = await claim(one, world.org, Claimant("one"), 10)
        second = await claim(two, world.org, Claimant("two"), 10)
    names = [lease.job.name for lease in (*first, *second)]
    assert names.count("b") == 1
    assert names.count("free") == 2
    assert await world.claim() == []


async def test_a_claim_overtaken_by_a_deploy_claims_nothing(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)

    async def overtake() -> None:
        await world.deploy(source("a"), job("b", "a"), job("c", "a"))

    async with world.conn() as conn:
        org = OrgContext(world.org.id)
        await org.lineage(conn)
        with interrupted(conn, 1, overtake):
            assert await claim(conn, org, Claimant("one"), 10) == []
    assert sorted(await world.run()) == [f"b[{DAY}]", f"c[{DAY}]"]


async def test_a_deploy_locks_tasks_in_the_order_of_completions(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", DAY)
    await world.claim()
    lock = b"SELECT id FROM tasks t WHERE status = %s FOR UPDATE"
    resized = job("b", "a", scaling={"partitions_per_task": 2})
    async with world.conn() as completion:
        async with completion.transaction():
            await completion.execute(lock, ["running"])
            deploying = asyncio.create_task(world.deploy(source("a"), resized, job("c", "b")))
            await until(partial(is_waiting, world))
            await completion.execute(lock, ["blocked"])
        await deploying


@pytest.mark.parametrize("work", [deploy, preview])
async def test_a_deploy_waits_for_a_concurrent_planner(database: Database, work: Any) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    other = {"dag": "w", "jobs": [source("a"), job("c", "a")]}
    dags = [parse_dag(json.dumps(other), where="w.yaml")]

    async with world.conn() as planner, world.conn() as conn:
        async with planner.transaction():
            await lock_planning(planner, world.org.id)
            working = asyncio.create_task(work(conn, world.org, dags))

            async def is_held_or_done() -> bool:
                return working.done() or await is_waiting(world)

            await until(is_held_or_done)
            assert not working.done()
        await working


@pytest.mark.parametrize("torn", [None, KeyError("a dataset"), InvalidMapping("no dimension")])
async def test_lineage_loaded_during_a_deploy_is_consistent(
    database: Database, monkeypatch: pytest.MonkeyPatch, torn: Exception | None
) -> None:
    world = await World.made(database, source("a"), job("b", "a"))

    async def overtaken(conn: Connection, org: UUID) -> Lineage:
        monkeypatch.undo()
        old = await load_lineage(conn, org)
        await world.deploy(source("a"), job("c", "a"))
        if torn is not None:
            raise torn
        return old

    monkeypatch.setattr("engine.flow.shared.org_context.load_lineage", overtaken)
    async with world.conn() as conn:
        lineage = await OrgContext(world.org.id).lineage(conn)
    assert [each.name for each in lineage.order] == ["src_a", "c"]


@pytest.mark.parametrize("statement", [0, 1])
async def test_an_org_context_serves_transactions_with_different_lineages(
    database: Database, statement: int
) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    org = OrgContext(world.org.id)
    other = {"dag": "w", "jobs": [source("a"), job("c", "a")]}

    async with world.conn() as inside, world.conn() as outside, inside.transaction():
        await deploy(inside, world.org, [parse_dag(json.dumps(other), where="w.yaml")])

        async def look_inside() -> None:
            await org.lineage(inside)

        with interrupted(outside, statement, look_inside):
            await org.lineage(outside)
        found = await org.lineage(outside)
    assert [each.name for each in found.order] == ["src_a", "b"]


async def test_tasks_with_higher_priority_are_claimed_first(database: Database) -> None:
    world = await World.made(
        database, source("a"), job("b", "a"), job("urgent", "a", scaling={"priority": 5})
    )
    await world.changed("a", DAY)
    assert [lease.job.name for lease in await world.claim(1)] == ["urgent"]


async def test_concurrent_completions_unblock_a_common_dependent_once(database: Database) -> None:
    world = await World.made(
        database, source("a"), job("l", "a"), job("r", "a"), job("bottom", "l", "r")
    )
    await world.changed("a", DAY)
    left, right = await world.claim()
    async with world.conn() as one, world.conn() as two:
        async with one.transaction():
            await complete(one, world.org, _done(left))
            async with waiting(world, two):
                late = asyncio.create_task(complete(two, world.org, _done(right)))
        await late
    assert await world.run() == [f"bottom[{DAY}]"]


async def test_a_plan_waits_for_a_concurrent_completion(database: Database) -> None:
    """A dependency on an upstream task that completes during planning must not block forever."""
    world = await World.made(database, source("a"), source("z"), job("b", "a"), job("c", "b", "z"))
    await world.changed("a", DAY)
    (running,) = await world.claim()
    await world.change("z", DAY)
    async with world.conn() as one, world.conn() as two:
        async with one.transaction():
            await complete(one, world.org, _done(running))
            async with waiting(world, two):
                late = asyncio.create_task(plan(two, world.org))
        await late
    assert await world.run() == [f"c[{DAY}]"]


async def test_a_completion_waits_for_a_concurrent_plan(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), source("z"), job("b", "a"), job("c", "b", "z"))
    await world.changed("a", DAY)
    (running,) = await world.claim()
    await world.change("z", DAY)
    async with world.conn() as one, world.conn() as two:
        async with one.transaction():
            await plan(one, world.org)
            async with waiting(world, two):
                late = asyncio.create_task(complete(two, world.org, _done(running)))
        await late
    assert await world.run() == [f"c[{DAY}]"]


async def test_a_plan_sees_a_claim_committed_during_planning(database: Database) -> None:
    """The queued task starts during planning: the new trigger must follow the run, not join it."""
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    await world.change("a", DAY)
    async with world.conn() as one, world.conn() as two:
        async with one.transaction():
            (running,) = await claim(one, world.org, Claimant("one"))
            async with waiting(world, two):
                late = asyncio.create_task(plan(two, world.org))
        await late
    assert await world.tasks() == {"running": [f"b[{DAY}]"], "blocked": [f"b[{DAY}]"]}
    await world.finish(running)
    assert await world.run() == [f"b[{DAY}]"]


async def test_two_planners_plan_each_invalidation_once(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.change("a", DAY)
    async with world.conn() as one, world.conn() as two:
        async with one.transaction():
            assert await plan(one, world.org) is not None
            async with waiting(world, two):
                late = asyncio.create_task(plan(two, world.org))
        assert await late is None
    assert await world.tasks() == {"queued": [f"b[{DAY}]"]}


async def test_a_rolled_back_plan_is_planned_again(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.change("a", DAY)
    async with world.conn() as conn, conn.transaction(force_rollback=True):
        assert await plan(conn, world.org) is not None
    assert await world.tasks() == {}
    await world.plan()
    rows = await world.rows(
        "SELECT processed_by = (SELECT array_agg(id) FROM jobs WHERE name = 'b') AS right, "
        "processed_at IS NOT NULL AS done, outcome FROM data_invalidations WHERE reason = 'change'"
    )
    assert rows == [{"right": True, "done": True, "outcome": "planned"}]


async def test_a_stale_lease_writes_nothing(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", DAY)
    (stale,) = await world.claim(worker="frozen")
    await _expire_leases(world)
    await _reap(world)
    await world.rows("UPDATE tasks SET next_retry_at = NULL RETURNING id")
    (fresh,) = await world.claim(worker="other")
    async with world.conn() as conn:
        assert await heartbeat(conn, [stale], 30) == {}
        with pytest.raises(LeaseLost, match="frozen"):
            await complete(conn, world.org, _done(stale))
        with pytest.raises(LeaseLost):
            await fail(conn, world.org, stale, "too late")
        accepted = await complete_all(conn, world.org, [_done(stale), _done(fresh)])
    assert accepted == {fresh.task_id}
    assert (await world.task(f"b[{DAY}]", "succeeded"))["worker_id"] == "other"


async def test_a_heartbeat_keeps_a_lease_alive(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    (lease,) = await world.claim()
    await _expire_leases(world)
    async with world.conn() as conn:
        beaten = await heartbeat(conn, [lease], 30)
    assert beaten.keys() == {lease.task_id}
    assert await _reap(world) == 0


async def test_a_task_fails_after_its_last_attempt(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a", max_attempts=2), job("c", "b"))
    await world.changed("a", DAY)
    for _ in range(2):
        await world.rows("UPDATE tasks SET next_retry_at = NULL RETURNING id")
        (lease,) = await world.claim()
        async with world.conn() as conn:
            await fail(conn, world.org, lease, "it broke")
    failed = await world.task(f"b[{DAY}]", "failed")
    assert (failed["attempts"], failed["error_message"]) == (2, "it broke")
    assert (await world.tasks())["blocked"] == [f"c[{DAY}]"]


async def test_a_retry_waits_longer_each_time(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a", max_attempts=5))
    await world.changed("a", DAY)
    waits = []
    for _ in range(3):
        await world.rows("UPDATE tasks SET next_retry_at = NULL RETURNING id")
        (lease,) = await world.claim()
        async with world.conn() as conn:
            await fail(conn, world.org, lease, "it broke")
        assert await world.claim() == []
        rows = await world.rows(
            "SELECT round(extract(epoch FROM next_retry_at - clock_timestamp())) AS s FROM tasks"
        )
        waits.append(int(rows[0]["s"]))
    assert waits == [1, 2, 4]


async def test_a_failed_attempt_is_superseded_by_the_queued_task(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", DAY)
    (lease,) = await world.claim()
    await world.changed("a", DAY)
    async with world.conn() as conn:
        await fail(conn, world.org, lease, "it broke")
    assert (await world.tasks("b")) == {"canceled": [f"b[{DAY}]"], "queued": [f"b[{DAY}]"]}
    assert await world.run() == [f"b[{DAY}]", f"c[{DAY}]"]


async def test_a_stream_position_is_advanced_once(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    first = _batch(None, "10")
    async with world.conn() as conn:
        await ingest(conn, world.org, first)
        with pytest.raises(PositionLost, match="another process"):
            await ingest(conn, world.org, first)
        await ingest(conn, world.org, _batch("10", "20"))
        with pytest.raises(PositionLost):
            await ingest(conn, world.org, _batch("10", "15"))
    assert len(await world.rows("SELECT id FROM data_invalidations WHERE reason = 'change'")) == 2


def _done(lease: Lease) -> Completion:
    outputs = tuple(Output(each.name, key) for each in lease.outputs for key in lease.partitions)
    return Completion(lease, outputs)


def _batch(before: str | None, after: str) -> Batch:
    event = SourceEvent(dataset="a", partitions=(DAY,))
    return Batch(
        consumer="k",
        received=(Received.one(event, Delivery("s", after)),),
        advances=(Advance(stream="s", before=before, after=after),),
    )


async def _expire_leases(world: World) -> None:
    await world.rows("UPDATE tasks SET lease_expires_at = '2000-01-01' RETURNING id")


async def _reap(world: World) -> int:
    async with world.conn() as conn:
        return await reap(conn, world.org)


async def test_tasks_after_a_batch_that_ended_meanwhile_are_canceled(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancellation, "_CANCELED_AT_ONCE", 1)
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", "2013-02-01..2013-02-02")
    first, second = sorted(row["id"] for row in await world.rows("SELECT id FROM tasks"))
    async with world.conn() as other, world.conn() as conn, asyncio.TaskGroup() as group:
        async with other.transaction():
            await other.execute("UPDATE tasks SET status = 'succeeded' WHERE id = %s", [first])
            async with waiting(world, conn):
                canceled = group.create_task(cancel_all(conn, world.org, UNFINISHED_STATUSES))
        assert await canceled == 1
    (row,) = await world.rows("SELECT status FROM tasks WHERE id = %s", second)
    assert row["status"] == "canceled"


async def test_a_task_claimed_while_a_plan_locks_causes_no_deadlock(database: Database) -> None:
    """A dependent may be older than the task that it waits for, if a plan has joined it."""
    world = await World.made(database, source("a"), *(job(name, "a") for name in "xyz"))
    await world.changed("a", DAY)
    leases = sorted(await world.claim(), key=lambda lease: lease.task_id)
    blocked, running, queued = (lease.task_id for lease in leases)
    release = "lease_token = NULL, lease_expires_at = NULL WHERE id = %s RETURNING id"
    await world.rows(f"UPDATE tasks SET status = 'blocked', {release}", blocked)
    await world.rows(f"UPDATE tasks SET status = 'queued', {release}", queued)
    await world.change("a", DAY)
    lock = b"SELECT FROM tasks WHERE id = %s FOR UPDATE"
    async with world.conn() as first, world.conn() as planner, world.conn() as second:
        async with first.transaction():
            await first.execute(lock, [running])
            async with waiting(world, planner):
                planned = asyncio.create_task(plan(planner, world.org))
            (lease,) = await world.claim()
            assert lease.task_id == queued
            await second.execute(b"BEGIN")
            await second.execute(lock, [queued])
        async with waiting(world, planner):
            pass
        await second.execute(b"SET LOCAL lock_timeout = '1s'")
        await second.execute(lock, [blocked])
        await second.execute(b"COMMIT")
        assert await planned is not None


async def test_a_heartbeat_locks_in_the_order_of_plans(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "a"))
    await world.changed("a", DAY)
    first, second = sorted(await world.claim(), key=lambda lease: lease.task_id)
    lock = b"SELECT FROM tasks WHERE id = %s FOR UPDATE"
    async with world.conn() as planner, world.conn() as worker:
        async with planner.transaction():
            await planner.execute(lock, [first.task_id])
            async with waiting(world, worker):
                beat = asyncio.create_task(heartbeat(worker, [second, first], 30))
            await planner.execute(b"SET LOCAL lock_timeout = '1s'")
            await planner.execute(lock, [second.task_id])
        assert len(await beat) == 2
