"""Cases in which a decision or another invalidation once hid a stale partition from the audit."""

from datetime import UTC, datetime, timedelta

import pytest

from engine.flow.execution.cancel import cancel
from engine.flow.planning.approve import reject
from engine.flow.planning.audit import StalePartition, audit_all
from engine.flow.planning.set_aside import set_aside
from engine.model.task import Output
from engine.service.queries.explain_partition import explain_partition
from engine.store.database import Database
from engine.store.orgs import set_setting
from engine.store.rows.invalidations import LockedInvalidation
from engine.store.run import fetch
from tests.support.worlds import DAILY, WEEKLY, World, job, name_of, source

DAY, OTHER = "2013-02-13", "2013-02-14"


async def found(world: World, *, mend: bool = False) -> list[StalePartition]:
    async with world.conn() as conn:
        return (await audit_all(conn, world.org, mend=mend)).shown


async def cancel_task(world: World, name: str, *statuses: str) -> None:
    task = await world.task(name, *statuses)
    async with world.conn() as conn:
        await cancel(conn, world.org, task["id"], by="ann")


async def lose_tasks(world: World) -> None:
    await world.rows("DELETE FROM tasks WHERE status IN ('queued', 'blocked') RETURNING id")


async def set_aside_open(world: World) -> None:
    async with world.conn() as conn:
        (row,) = await fetch(
            conn, "invalidations.lock_open", LockedInvalidation, org_id=world.org.id, limit=9
        )
        await set_aside(conn, row, ValueError("x"))


async def leave_pending(world: World, dataset: str, *partitions: str) -> None:
    """Leave a change in a plan pending approval."""
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", 0)
    await world.change(dataset, *partitions)
    planned = await world.plan()
    assert planned
    assert planned.exceeded_limits
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", None)


REDEFINED = job("b", "a", config={"callable": "else:where"})


async def test_the_partition_of_a_task_canceled_before_its_input_changed_is_left(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", DAY)
    await world.run()
    await world.changed("a", DAY)
    await cancel_task(world, f"c[{DAY}]", "blocked")
    assert await world.run() == [f"b[{DAY}]"]
    (left,) = await found(world)
    assert (left.dataset, left.verdict) == ("c", "left")


async def test_a_lost_change_after_a_canceled_task_is_lost(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    await world.run()
    await world.changed("a", DAY)
    await cancel_task(world, f"b[{DAY}]", "queued")
    await world.changed("a", DAY)
    await lose_tasks(world)
    assert [each.verdict for each in await found(world)] == ["lost"]


async def test_an_invalidation_set_aside_does_not_hide_other_losses(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY, OTHER)
    await world.run()
    await world.changed("a", DAY)
    await lose_tasks(world)
    await world.change("a", OTHER)
    await set_aside_open(world)
    assert [(each.dataset, each.partition, each.verdict) for each in await found(world)] == [
        ("b", DAY, "lost"),
        ("a", OTHER, "left"),
    ]


async def test_an_unplanned_invalidation_does_not_hide_other_losses(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY, OTHER)
    await world.run()
    await world.changed("a", DAY)
    await lose_tasks(world)
    await world.change("a", OTHER)
    assert [(each.partition, each.verdict) for each in await found(world)] == [(DAY, "lost")]


@pytest.mark.parametrize("reason", ["correction", "found"])
async def test_an_invalidation_set_aside_before_a_new_definition_hides_nothing(
    database: Database, reason: str
) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", DAY)
    await world.run()
    await world.change("b", DAY, reason="correction")
    await world.rows(
        "UPDATE data_invalidations SET reason = %s WHERE processed_at IS NULL RETURNING id", reason
    )
    await set_aside_open(world)
    await world.deploy(source("a"), REDEFINED, job("c", "b"))
    await world.run()
    assert await found(world) == []
    await world.changed("a", DAY)
    (task,) = [lease for lease in await world.claim() if lease.job.name == "b"]
    await world.finish(task)
    await lose_tasks(world)
    assert [(each.dataset, each.verdict) for each in await found(world)] == [("c", "lost")]
    await world.changed("a", DAY)
    await lose_tasks(world)
    stale = [(each.dataset, each.verdict) for each in await found(world)]
    assert stale == [("b", "lost"), ("c", "lost")]
    for dataset in "bc":
        view = await explain_partition(world.caller, world.service, dataset, DAY)
        assert (view.verdict, view.open_invalidations) == ("lost", ())


async def test_a_plan_pending_since_before_a_new_definition_hides_nothing(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", DAY)
    await world.run()
    await leave_pending(world, "b", DAY)
    await world.deploy(source("a"), REDEFINED, job("c", "b"))
    await world.run()
    await world.changed("a", DAY)
    (task,) = [lease for lease in await world.claim() if lease.job.name == "b"]
    await world.finish(task)
    await world.changed("a", DAY)
    await lose_tasks(world)
    stale = [(each.dataset, each.verdict) for each in await found(world)]
    assert stale == [("b", "lost"), ("c", "lost")]


async def test_a_plan_pending_since_before_a_new_partitioning_hides_nothing(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    await world.run()
    await leave_pending(world, "a", DAY, OTHER)
    await world.deploy(source("a"), job("b", "a", partitioning=WEEKLY))
    view = await explain_partition(world.caller, world.service, "b", "2013-W07")
    assert view.verdict == "in hand"
    await lose_tasks(world)
    (lost,) = await found(world, mend=True)
    assert (lost.partition, lost.verdict) == ("2013-W07", "lost")
    await world.plan()
    assert await world.run() == ["b[2013-W07]"]
    assert await found(world) == []


async def test_partitions_are_in_hand_behind_a_large_backlog_of_invalidations(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY, OTHER)
    await world.run()
    await world.changed("a", DAY)
    await lose_tasks(world)
    for day in range(100, 302):
        date = datetime(2013, 1, 1, tzinfo=UTC) + timedelta(days=day)
        await world.change("a", f"{date:%Y-%m-%d}")
    async with world.conn() as conn:
        counts = await audit_all(conn, world.org)
    assert (counts.in_hand, counts.lost) == (1 + 202, 0)
    while await world.plan():
        pass
    assert [(each.partition, each.verdict) for each in await found(world)] == [(DAY, "lost")]


async def test_removed_keys_of_a_source_do_not_fail_the_audit(database: Database) -> None:
    def origins(*keys: str) -> dict[str, object]:
        return {"origin": {"static": list(keys)}}

    b = job("b", "a", partitioning={})
    world = await World.made(database, source("a", origins("EWR", "JFK")), b)
    await world.changed("a", "EWR", "JFK")
    await world.run()
    await world.deploy(source("a", origins("JFK")), b)
    await world.run()
    assert await found(world) == []


async def test_a_single_run_job_with_two_outputs_is_fresh_after_writing_one(
    database: Database,
) -> None:
    both = job("b", {"dataset": "a", "cursor": {"column": "id", "type": "integer"}})
    both |= {"execution_strategy": "PerUpdate", "update_strategy": "append", "unique_key": ["id"]}
    both["outputs"].append({"dataset": "c", "partitioning": both["outputs"][0]["partitioning"]})
    world = await World.made(database, source("a"), both)
    for day in (DAY, OTHER):
        await world.changed("a", day)
        (lease,) = await world.claim()
        await world.complete(lease, Output("c" if day == OTHER else "b", day))
        assert await found(world) == []


@pytest.mark.parametrize("strategy", ["PerPartition", "Full"])
async def test_a_run_claimed_before_a_rejection_does_not_end_the_decision(
    database: Database, strategy: str
) -> None:
    """Claimed before the rejected change, the run has not read the change."""
    world = await World.made(database, source("a"), job("b", "a", execution_strategy=strategy))
    await world.changed("a", DAY)
    (lease,) = await world.claim()
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", 0)
    await world.changed("a", DAY)
    (plan,) = await world.rows("SELECT id FROM plans WHERE state = 'pending_approval'")
    async with world.conn() as conn:
        await reject(conn, world.org, plan["id"], by="ann")
    await world.finish(lease)
    (left,) = await found(world)
    assert (left.dataset, left.verdict) == ("b", "left")
    assert str(left.explained_by).startswith("rejected by ann at ")


async def test_readers_of_a_rejected_reported_change_are_left(database: Database) -> None:
    """A run read more changes than its plan propagated, and the plan for the rest is rejected."""
    a = source("a")
    a["outputs"][0]["columns"] = ["x", "y"]
    by_column = {"x": ["a.x"], "y": ["a.y"]}
    world = await World.made(
        database, a, job("b", "a", columns=by_column), job("ry", "b", columns={"y": ["b.y"]})
    )

    async def run_b(x: str, y: str) -> None:
        (lease,) = await world.claim()
        columns = {"x": x, "y": y}
        await world.complete(lease, Output("b", DAY, x + y, column_fingerprints=columns))

    await world.changed("a", DAY)
    await run_b("1", "1")
    await world.run()
    await world.changed("a", DAY, columns=("x",))
    await run_b("1", "2")
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", 0)
    await world.plan()
    (plan,) = await world.rows("SELECT id FROM plans WHERE state = 'pending_approval'")
    async with world.conn() as conn:
        await reject(conn, world.org, plan["id"], by="ann")
    (left,) = await found(world)
    assert (left.dataset, left.verdict) == ("ry", "left")


@pytest.mark.parametrize(
    ("dataset", "reason"), [("a", "change"), ("b", "manual"), ("b", "rewritten")]
)
async def test_partitions_of_an_invalidation_set_aside_are_listed(
    database: Database, dataset: str, reason: str
) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", DAY)
    await world.run()
    await world.change(dataset, DAY, reason=reason)
    async with world.conn() as conn:
        counts = await audit_all(conn, world.org)
        (row,) = await fetch(
            conn, "invalidations.lock_open", LockedInvalidation, org_id=world.org.id, limit=9
        )
        await set_aside(conn, row, ValueError("x"))
    assert (counts.in_hand, counts.left, counts.lost) == (1, 0, 0)
    (left,) = await found(world)
    assert (left.dataset, left.partition, left.verdict) == (dataset, DAY, "left")
    assert [each.rule for each in left.reasons] == ["invalidated"]
    assert left.explained_by == "an invalidation of it cannot be planned: ValueError: x"


async def test_a_rejection_leaves_a_first_run_that_its_inputs_do_not_require(
    database: Database,
) -> None:
    """The input that determines the keys has no partition for this run, so nothing is missing."""
    cut = {**DAILY, "n": {"range": 10, "start": 0, "end": 10}}
    mapping = {"dt": {"from": "dt"}, "n": "all"}
    made = job("j", "e", {"dataset": "s", "mapping": mapping}, partitioning=cut)
    world = await World.made(database, source("e", cut), source("s"), made)
    await world.change("e", f"dt={OTHER}/n=0-9")
    await world.changed("s", DAY)
    leases = await world.claim()
    assert sorted(map(name_of, leases)) == [f"j[dt={DAY}/n=0-9]", f"j[dt={OTHER}/n=0-9]"]
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", 0)
    await world.changed("s", DAY)
    (plan,) = await world.rows("SELECT id FROM plans WHERE state = 'pending_approval'")
    async with world.conn() as conn:
        await reject(conn, world.org, plan["id"], by="ann")
    for lease in leases:
        await world.finish(lease)
    assert [(each.partition, each.verdict) for each in await found(world)] == [
        (f"dt={DAY}/n=0-9", "left")
    ]
