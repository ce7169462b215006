"""The audit finds stale partitions by the evidence at their inputs, and the cause of staleness."""

from uuid import UUID

import pytest

from engine.flow.execution.cancel import cancel
from engine.flow.planning import audit
from engine.flow.planning.approve import reject
from engine.flow.planning.audit import StalePartition, audit_all
from engine.flow.shared.load_partitions import load_existing
from engine.lineage.graph import Lineage
from engine.model.task import Output
from engine.partitions import PartitionSet
from engine.store.database import Connection, Database
from engine.store.orgs import set_setting
from tests.support.worlds import WEEKLY, World, job, source

DAY, OTHER = "2013-02-13", "2013-02-14"
LOST = f"dt={DAY}/n=0-9"


async def audited(world: World, *, mend: bool = False) -> list[tuple[str, str, str]]:
    """(dataset, partition, verdict) of each stale partition without pending work."""
    return [(each.dataset, each.partition, each.verdict) for each in await found(world, mend=mend)]


async def found(world: World, *, mend: bool = False) -> list[StalePartition]:
    async with world.conn() as conn:
        return (await audit_all(conn, world.org, mend=mend)).shown


async def test_nothing_is_stale_at_rest(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", DAY)
    await world.run()
    assert await found(world) == []


async def test_a_partition_is_in_hand_while_open_work_covers_it(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    async with world.conn() as conn:
        counts = await audit_all(conn, world.org)
    assert (counts.in_hand, counts.left, counts.lost) == (1, 0, 0)
    await world.run()
    await world.change("a", DAY)
    assert await found(world) == []


async def test_a_lost_change_is_mended(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", DAY)
    await world.run()
    await world.changed("a", DAY)
    await world.rows("DELETE FROM tasks WHERE status IN ('queued', 'blocked') RETURNING id")
    (lost,) = await found(world)
    assert (lost.dataset, lost.verdict, lost.explained_by) == ("b", "lost", None)
    assert [(each.rule, each.dataset) for each in lost.reasons] == [("input changed", "a")]
    assert await audited(world, mend=True) == [("b", DAY, "lost")]
    await world.plan()
    assert await world.run() == [f"b[{DAY}]", f"c[{DAY}]"]
    assert await found(world) == []


async def test_partitions_left_by_decision_do_not_hide_lost_ones(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", "2013-02-13..2013-02-16")
    await world.run()
    await world.changed("a", "2013-02-13..2013-02-16")
    for task in await world.rows(
        "SELECT id FROM tasks WHERE status = 'queued' AND partitions[1] < '2013-02-16'"
    ):
        async with world.conn() as conn:
            await cancel(conn, world.org, task["id"], by="ann")
    await world.rows("DELETE FROM tasks WHERE status = 'queued' RETURNING id")
    async with world.conn() as conn:
        counts = await audit_all(conn, world.org, most=3)
    assert (counts.left, counts.lost) == (3, 2)
    # The task of c that waited for the lost task is lost as well.
    assert [(each.dataset, each.partition, each.verdict) for each in counts.shown] == [
        ("c", "2013-02-16", "lost"),
        ("b", "2013-02-16", "lost"),
        ("b", "2013-02-13", "left"),
    ]


async def test_a_blocked_task_without_blockers_is_mended(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"), job("d", "c"))
    await world.changed("a", DAY)
    # The task of b ends, and its dependents are not resolved.
    await world.rows("UPDATE tasks SET status = 'canceled' WHERE status = 'queued' RETURNING id")
    stalled = [each for each in await found(world) if each.reasons[0].rule == "stalled"]
    assert [(each.dataset, each.partition, each.verdict) for each in stalled] == [
        ("c", DAY, "lost")
    ]
    await found(world, mend=True)
    await world.plan()
    assert await world.run() == [f"b[{DAY}]", f"c[{DAY}]", f"d[{DAY}]"]
    assert await found(world) == []


@pytest.mark.parametrize("strategy", ["PerPartition", "Full"])
async def test_a_lost_recomputation_request_is_mended(database: Database, strategy: str) -> None:
    world = await World.made(database, source("a"), job("b", "a", execution_strategy=strategy))
    await world.changed("a", DAY)
    await world.run()
    await world.changed("b", DAY, reason="manual")
    await world.rows("DELETE FROM tasks WHERE status = 'queued' RETURNING id")
    (lost,) = await found(world, mend=True)
    assert (lost.verdict, [each.rule for each in lost.reasons]) == ("lost", ["declared wrong"])
    await world.plan()
    assert len(await world.run()) == 1
    assert await found(world) == []


async def test_a_lost_first_run_is_mended(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    await world.rows("DELETE FROM tasks RETURNING id")
    assert [each.reasons[0].rule for each in await found(world, mend=True)] == ["never built"]
    await world.plan()
    assert await world.run() == [f"b[{DAY}]"]


@pytest.mark.parametrize("activation", ["reactive", "manual"])
async def test_a_partition_determined_by_two_inputs_is_lost_only_if_both_have_it(
    database: Database, activation: str
) -> None:
    """A partition is lost only if both inputs determine it; either may be built by hand."""
    days = {"dt": {"time": "day", "start": "2013-02-12", "end": "2013-02-16"}}
    buckets = {"n": {"range": 10, "start": 0, "end": 30}}
    world = await World.made(
        database,
        source("a", buckets),
        source("b", days),
        job("c", "b", partitioning=days, activation=activation),
        job(
            "d",
            {"dataset": "a", "mapping": {"n": "n", "dt": "all"}},
            {"dataset": "c", "mapping": {"dt": "dt", "n": "all"}},
            partitioning=days | buckets,
        ),
    )
    await world.changed("b", DAY)
    await world.run()
    for bucket, day in ("0-9", OTHER), ("10-19", "2013-02-15"):
        await world.change("a", bucket)
        await world.changed("b", day)
        await world.run()
        assert "d" not in {dataset for dataset, _, _ in await audited(world)}
    await world.changed("c", reason="manual")
    await world.run()
    await world.rows("DELETE FROM partition_versions WHERE partition_key = %s RETURNING 1", LOST)
    assert ("d", LOST, "lost") in await audited(world)


async def test_a_first_run_waiting_for_inputs_is_not_stale(database: Database) -> None:
    weekly = {
        "dataset": "a",
        "mapping": {"dt": {"from": "dt", "window": [-6, 0]}},
        "wait_for": "all",
    }
    world = await World.made(database, source("a"), job("b", weekly))
    await world.changed("a", DAY)
    await world.rows("DELETE FROM tasks RETURNING id")
    assert await found(world) == []


async def test_changes_of_unread_columns_make_nothing_stale(database: Database) -> None:
    a = source("a")
    a["outputs"][0]["columns"] = ["x", "y"]
    world = await World.made(database, a, job("b", "a", columns={"x": ["a.x"]}))
    await world.changed("a", DAY)
    await world.run()
    await world.changed("a", DAY, columns=("y",))
    assert await world.run() == []
    assert await found(world) == []


async def test_changes_of_rows_outside_a_partition_do_not_make_it_stale(database: Database) -> None:
    by_origin = {"dt": {"time": "day", "start": "2013-01-01", "end": "2014-01-01"},
                 "origin": {"static": ["EWR", "JFK"]}}  # fmt: skip
    read = {"dataset": "a", "passes": {"origin": ["origin"]}}
    world = await World.made(database, source("a"), job("b", read, partitioning=by_origin))
    await world.changed("a", DAY)
    assert len(await world.run()) == 2
    await world.changed("a", DAY, rows={"origin": "JFK"})
    await world.rows("DELETE FROM tasks WHERE status = 'queued' RETURNING id")
    assert await audited(world) == [("b", f"dt={DAY}/origin=JFK", "lost")]


async def test_the_partition_of_a_canceled_task_is_left(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    task = await world.task(f"b[{DAY}]", "queued")
    async with world.conn() as conn:
        await cancel(conn, world.org, task["id"], by="ann")
    (left,) = await found(world)
    assert left.verdict == "left"
    assert str(left.explained_by).startswith("canceled by ann at ")
    await world.changed("a", DAY)
    await world.run()
    assert await found(world) == []


async def test_partitions_of_a_rejected_plan_are_left(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", DAY)
    await world.run()
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", 0)
    await world.changed("a", DAY)
    assert [each[2] for each in await audited(world)] == ["left"]
    (plan,) = await world.rows("SELECT id FROM plans WHERE state = 'pending_approval'")
    async with world.conn() as conn:
        await reject(conn, world.org, plan["id"], by="bob")
    (left,) = await found(world)
    assert (left.dataset, left.verdict) == ("b", "left")
    assert str(left.explained_by).startswith("rejected by bob at ")


async def test_partitions_of_a_manual_job_are_left(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a", activation="manual"))
    await world.changed("a", DAY)
    await world.changed("b", DAY, reason="manual")
    await world.run()
    await world.changed("a", DAY)
    assert await audited(world) == [("b", DAY, "left")]
    await world.change("a", DAY)
    assert await audited(world) == [("b", DAY, "left")]


async def test_a_missing_input_makes_its_reader_stale(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", DAY)
    await world.run()
    await world.rows("DELETE FROM partition_versions p USING datasets d "
                     "WHERE d.id = p.dataset_uuid AND d.name = 'b' RETURNING 1")  # fmt: skip
    stale = await found(world)
    assert [(each.dataset, each.reasons[0].rule) for each in stale] == [
        ("b", "never built"),
        ("c", "input gone"),
    ]


async def test_an_audit_covers_all_slices(database: Database, monkeypatch) -> None:
    monkeypatch.setattr("engine.flow.planning.audit.SLICE", 2)
    world = await World.made(database, source("a"), job("b", "a"))
    days = [f"2013-03-0{n}" for n in range(1, 6)]
    await world.changed("a", *days)
    await world.run()
    await world.changed("a", *days)
    await world.rows("DELETE FROM tasks WHERE status = 'queued' RETURNING id")
    async with world.conn() as conn:
        counts = await audit_all(conn, world.org, mend=True)
    assert (counts.partitions, counts.lost) == (5, 5)
    await world.plan()
    assert len(await world.run()) == 5


async def test_a_run_without_partitions_counts_as_a_build(database: Database) -> None:
    keys = {"k": {"dynamic": True}}
    world = await World.made(
        database,
        source("a"),
        job("b", {"dataset": "a", "mapping": "all"}, partitioning=keys, execution_strategy="Full"),
    )
    await world.changed("a", DAY)
    (lease,) = await world.claim()
    await world.complete(lease)
    assert await found(world) == []
    await world.changed("a", DAY)
    await world.rows("DELETE FROM tasks WHERE status = 'queued' RETURNING id")
    (lost,) = await found(world)
    assert (lost.partition, lost.reasons[0].rule) == ("*", "input changed")


async def _found_nothing(world: World) -> None:
    """Run all tasks; job ``r`` finds no partitions."""
    while leases := await world.claim():
        for lease in leases:
            if lease.job.name == "r":
                await world.complete(lease)
            else:
                await world.finish(lease)


@pytest.mark.parametrize("wait_for", ["any", 1])
async def test_a_run_without_partitions_is_repeated_once_its_inputs_are_gone(
    database: Database, wait_for: object
) -> None:
    later = {"dt": {"time": "day", "start": "2013-12-01", "end": "2013-12-31"}}
    world = await World.made(database, source("a"), source("z", later), job("d", "a"))
    read = {"dataset": "d", "mapping": "all", "wait_for": wait_for}
    keys = {"k": {"dynamic": True}}
    reader = job("r", read, partitioning=keys, execution_strategy="Full")
    await world.deploy(reader, dag="second")
    await world.changed("a", DAY)
    await _found_nothing(world)
    assert world.log == [f"d[{DAY}]", "r[*]"]
    await world.deploy(source("a"), source("z", later), job("d", "z"))
    assert await world.tasks("r") == {"succeeded": ["r[*]"], "queued": ["r[*]"]}
    await world.rows("DELETE FROM tasks WHERE status = 'queued' RETURNING id")
    assert await audited(world, mend=True) == [("r", "*", "lost")]
    await world.plan()
    await _found_nothing(world)
    assert world.log[2:] == ["r[*]"]
    assert await found(world) == []


async def test_a_moved_source_keeps_its_recorded_row_changes(database: Database) -> None:
    """A reader outside of the row filter is also fresh in the next version of the source."""
    origins = {"origin": {"static": ["EWR", "JFK"]}}
    read = {"dataset": "a", "passes": {"origin": ["origin"]}}
    by_day = {"dt": {"time": "day", "start": "2013-01-01", "end": "2014-01-01"}}
    reader = job("b", read, partitioning=by_day | origins)
    world = await World.made(database, source("a"), reader)
    await world.changed("a", DAY)
    await world.run()
    await world.changed("a", DAY, rows={"origin": "JFK"})
    await world.run()
    longer = {"dt": {"time": "day", "start": "2013-01-01", "end": "2015-01-01"}}
    await world.deploy(source("a", longer), reader)
    await world.run()
    assert await found(world) == []


async def test_a_reader_of_a_new_partition_runs_once(database: Database) -> None:
    """The wave and the invalidation of a new partition's content result in a single run."""
    a, b = source("a"), job("b", "a", columns={"x": ["a.x"], "y": ["a.y"]})
    a["outputs"][0]["columns"] = ["x", "y"]
    world = await World.made(database, a, b, job("rx", "b", columns={"x": ["b.x"]}))
    await world.changed("a", DAY)
    await world.rows("UPDATE tasks SET status = 'canceled' RETURNING id")
    await world.changed("a", DAY, columns=("x",))
    assert await world.run() == [f"b[{DAY}]", f"rx[{DAY}]"]
    await world.plan()
    assert await world.run() == []
    assert await found(world) == []


async def test_the_last_existing_partition_is_read_after_a_later_one_was_canceled(
    database: Database,
) -> None:
    """A plan waits for the later partition; after its cancellation, the audit finds the reader."""
    last = {"dataset": "mid", "mapping": "last"}
    world = await World.made(
        database, source("a"), job("mid", "a"), job("out", last, partitioning={})
    )
    await world.changed("a", DAY)
    await world.run()
    await world.changed("a", OTHER)
    task = await world.task(f"mid[{OTHER}]", "queued")
    await world.changed("a", DAY)
    async with world.conn() as conn:
        await cancel(conn, world.org, task["id"])
    await world.run()
    await audited(world, mend=True)
    await world.plan()
    await world.run()
    (read,) = await world.rows(
        "SELECT i.input_version = n.materialized_at AS is_newest "
        "FROM datasets d JOIN partition_versions o ON o.dataset_uuid = d.id "
        "JOIN task_inputs i ON i.task_id = o.task_id JOIN partition_versions n "
        "ON n.dataset_uuid = i.input_dataset_uuid AND n.partition_key = i.input_partition_key "
        "WHERE d.name = 'out'"
    )
    assert read["is_newest"]
    assert [each for each in await audited(world) if each[2] == "lost"] == []


async def test_a_new_input_partition_makes_a_single_run_job_stale(
    database: Database,
) -> None:
    keys = {"k": {"dynamic": True}}
    b = job("b", "a", partitioning=keys, execution_strategy="Full")
    world = await World.made(database, source("a", keys), b)
    await world.changed("a", "one")
    (lease,) = await world.claim()
    await world.complete(lease, Output("b", "one", "1"))
    await world.changed("a", "two")
    await world.rows("DELETE FROM tasks WHERE status = 'queued' RETURNING id")
    (lost,) = await found(world)
    assert [(each.rule, each.partition) for each in lost.reasons] == [("input appeared", "two")]


async def test_existing_partitions_are_loaded_once_for_all_slices(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[UUID] = []

    async def load(conn: Connection, lineage: Lineage, dataset: UUID) -> PartitionSet:
        loaded.append(dataset)
        return await load_existing(conn, lineage, dataset)

    monkeypatch.setattr(audit, "SLICE", 2)
    monkeypatch.setattr(audit, "load_existing", load)
    monkeypatch.setattr("engine.flow.shared.load_partitions.load_existing", load)
    world = await World.made(database, source("a"), job("b", "a"))
    days = [f"2013-02-0{day}" for day in range(1, 6)]
    await world.changed("a", *days)
    await world.run()
    await world.changed("a", *days)
    await world.rows("DELETE FROM tasks WHERE status = 'queued' RETURNING id")
    assert sorted(each.partition for each in await found(world)) == days
    assert len(loaded) == 2


async def test_partitions_of_a_pending_plan_are_left(database: Database) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    await world.run()
    await world.changed("a", DAY)
    await world.rows("DELETE FROM tasks WHERE status = 'queued' RETURNING id")
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", 0)
    await world.changed("b", DAY)
    (left,) = await found(world)
    assert left.verdict == "left"
    assert str(left.explained_by).endswith("is pending approval")


async def test_a_new_input_partition_makes_its_reader_stale(database: Database) -> None:
    world = await World.made(database, source("a"), job("w", "a", partitioning=WEEKLY))
    await world.changed("a", DAY)
    await world.run()
    await world.changed("a", OTHER)
    await world.rows("DELETE FROM tasks WHERE status = 'queued' RETURNING id")
    (lost,) = await found(world)
    assert (lost.dataset, lost.verdict) == ("w", "lost")
    assert [(each.rule, each.partition) for each in lost.reasons] == [("input appeared", OTHER)]
