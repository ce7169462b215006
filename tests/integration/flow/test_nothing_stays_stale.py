"""Sequences after which a partition stayed stale forever, found in a review."""

import asyncio
from typing import Any

import pytest

from consumers.manual import invalidate
from engine.flow.execution.cancel import cancel
from engine.flow.planning.approve import reject
from engine.flow.shared.org_context import OrgContext
from engine.model.event import SourceEvent
from engine.model.task import Output
from engine.store.database import Database
from engine.store.orgs import set_setting
from tests.support.workers import sql_job, work
from tests.support.worlds import World, job, source

DAY, NEXT = "2013-02-13", "2013-02-14"


def _origins(*keys: str) -> dict[str, Any]:
    return {"origin": {"static": list(keys)}}


async def test_new_keys_separated_by_a_reordering_are_planned(database: Database) -> None:
    before, after = _origins("EWR", "JFK", "LGA"), _origins("EWR", "LGA", "JFK")
    world = await World.made(database, source("a", before), job("b", "a", partitioning=before))
    await world.changed("a", "LGA")
    await world.run()
    await world.change("a", "EWR..JFK")
    await world.deploy(source("a", after), job("b", "a", partitioning=after))
    await world.plan()
    assert {"b[EWR]", "b[JFK]"} <= {*await world.run()}


async def test_keys_added_after_a_canceled_first_run_are_built_for_every_day(
    database: Database,
) -> None:
    """No input determines the days, so all days are built, and not only existing days."""
    days = {"dt": {"time": "day", "start": DAY, "end": "2013-02-15"}}
    keys: dict[str, Any] = {"k": {"dynamic": True}}
    reads = {"dataset": "a", "mapping": {"k": "k", "dt": "all"}}
    world = await World.made(database, source("a", keys), job("b", reads, partitioning=days | keys))
    await world.changed("a", "K")
    async with world.conn() as conn:
        await cancel(conn, world.org, (await world.task(f"b[dt={NEXT}/k=K]", "queued"))["id"])
    assert await world.run() == [f"b[dt={DAY}/k=K]"]
    await world.changed("a", "L")
    assert sorted(await world.run()) == [f"b[dt={DAY}/k=L]", f"b[dt={NEXT}/k=L]"]


async def test_invalidations_planned_while_their_source_was_removed_are_not_lost(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), source("z"), job("b", "a"))
    await world.changed("a", DAY)
    await world.run()
    await world.change("a", NEXT)
    await world.deploy(source("z"))
    await world.plan()
    await world.deploy(source("a"), source("z"), job("b", "a"))
    await world.plan()
    assert sorted(await world.run()) == [f"b[{DAY}]", f"b[{NEXT}]"]


DISTINCT = "SELECT count(*) AS n FROM (SELECT DISTINCT * FROM t) AS d"


def _table(*columns: str) -> dict[str, Any]:
    made = source("t", {})
    made["outputs"][0] |= {"columns": list(columns), "storage": {"table": "t"}}
    return made


async def _n(world: World) -> int:
    (row,) = await world.rows("SELECT n FROM n")
    return int(row["n"])


async def _written(world: World, text: str) -> None:
    async with world.conn() as conn:
        await conn.execute(text.encode())


async def test_a_distinct_count_in_another_dag_is_rebuilt_for_an_added_column(
    database: Database,
) -> None:
    world = await World.made(database, _table("x"))
    await _written(world, "CREATE TABLE t (x int); INSERT INTO t VALUES (1), (1)")
    await world.deploy(sql_job("n", "t", sql=DISTINCT, partitioning={}), dag="other")
    await world.changed("t")
    await work(world)
    assert await _n(world) == 1
    await _written(world, "ALTER TABLE t ADD y serial")
    deployed = await world.deploy(_table("x", "y"))
    assert deployed.followed == ("other",)
    await work(world)
    assert await _n(world) == 2


async def test_a_distinct_count_is_rebuilt_for_a_removed_column(database: Database) -> None:
    counts = sql_job("n", "t", sql=DISTINCT, partitioning={})
    world = await World.made(database, _table("x", "y"), counts)
    await _written(world, "CREATE TABLE t (x int, y int); INSERT INTO t VALUES (1, 1), (1, 2)")
    await world.changed("t")
    await work(world)
    assert await _n(world) == 2
    await _written(world, "ALTER TABLE t DROP COLUMN y")
    await world.deploy(_table("x"), counts)
    await work(world)
    assert await _n(world) == 1


def _log() -> dict[str, Any]:
    return job(
        "log",
        {"dataset": "a", "cursor": {"column": "id", "type": "integer"}},
        partitioning={},
        execution_strategy="PerUpdate",
        update_strategy="append",
        unique_key=["id"],
    )


async def test_a_cursor_in_another_dag_is_reset_when_its_table_changes(database: Database) -> None:
    world = await World.made(database, source("a", {}))
    await world.deploy(_log(), dag="other")
    a = await world.dataset_id("a")
    await world.changed("a", reason="arrival")
    (lease,) = await world.claim()
    await world.finish(lease, cursors={a: "100"})
    moved = source("a", {})
    moved["outputs"][0]["storage"] = {"table": "elsewhere"}
    await world.deploy(moved)
    (lease,) = await world.claim()
    assert None in lease.row_filters
    await world.finish(lease, cursors={a: "3"})  # the last row of the new table
    await world.changed("a", reason="arrival")
    (lease,) = await world.claim()
    assert lease.row_filters == ({},)
    # Rows 4 and up are new; a cursor at 100 would skip them.
    assert list(lease.cursors.values()) == ["3"]


async def test_a_redeployed_version_maps_inputs_by_their_current_partitioning(
    database: Database,
) -> None:
    monthly = {"dt": {"time": "month", "start": "2013-01", "end": "2014-01"}}
    world = await World.made(database, source("a"))
    await world.deploy(source("z"), job("b", "a"), dag="other")
    await world.deploy(source("z"), dag="other")
    await world.deploy(source("a", monthly))
    await world.deploy(source("z"), job("b", "a"), dag="other")
    await world.changed("a", "2013-02")
    assert len(await world.run()) == 28


async def test_a_change_in_progress_reaches_a_job_that_is_no_longer_manual(
    database: Database,
) -> None:
    """The plan excluded the job, and by the evidence the job's partition is still fresh."""
    a, m, b = source("a"), job("m", "a"), job("b", "m")
    world = await World.made(database, a, m, b | {"activation": "manual"})
    await world.changed("a", DAY)
    await world.run()
    await world.changed("b", DAY, reason="manual")
    await world.run()
    await world.changed("a", DAY)
    (lease,) = await world.claim()
    await world.deploy(a, m, b)
    await world.finish(lease)
    assert await world.run() == [f"b[{DAY}]"]


async def test_a_manual_job_that_becomes_reactive_is_rebuilt_for_missed_changes(
    database: Database,
) -> None:
    world = await World.made(database, source("a"), job("b", "a"))
    await world.changed("a", DAY)
    await world.run()
    await world.deploy(source("a"), job("b", "a", activation="manual"))
    await world.changed("a", DAY)
    assert await world.run() == []
    await world.deploy(source("a"), job("b", "a", description="again"))
    await world.plan()
    assert await world.run() == [f"b[{DAY}]"]


@pytest.mark.parametrize("strategy", ["PerPartition", "Full"])
async def test_a_manual_job_that_becomes_reactive_builds_new_partitions(
    database: Database, strategy: str
) -> None:
    by_key: dict[str, Any] = {"partitioning": {"k": {"dynamic": True}}}
    read, b = source("a", **by_key), {**by_key, "execution_strategy": strategy}
    world = await World.made(database, read, job("b", "a", **b))
    await world.changed("a", "first")
    await world.run()
    await world.deploy(read, job("b", "a", activation="manual", **b))
    await world.changed("a", "second")
    assert await world.run() == []
    await world.deploy(read, job("b", "a", **b))
    await world.run()
    rows = await world.rows(
        "SELECT partition_key FROM partition_versions p JOIN datasets d ON d.id = p.dataset_uuid "
        "WHERE d.name = 'b' ORDER BY 1"
    )
    assert [row["partition_key"] for row in rows] == ["first", "second"]


async def test_events_ingested_during_the_commit_of_a_deploy_are_not_lost(
    database: Database,
) -> None:
    """The ingesting transaction reads the lineage before the deploy and commits after."""
    world = await World.made(database, _columned("dt", "x"), job("b", "a"))
    await world.changed("a", DAY)
    await world.run()
    async with world.conn() as conn, conn.transaction():
        await invalidate(conn, world.org, SourceEvent(dataset="a", partitions=(NEXT,)))
        async with asyncio.timeout(5):
            await World(database, OrgContext(world.org.id)).deploy(
                _columned("dt", "x", "y"), job("b", "a")
            )
    await world.plan()
    assert sorted(await world.run()) == [f"b[{DAY}]", f"b[{NEXT}]"]


async def test_events_ingested_during_a_deploy_reach_readers_in_another_dag(
    database: Database,
) -> None:
    world = await World.made(database, _columned("dt", "x"))
    await world.deploy(job("of_x", "a", columns={"x": ["a.x"]}), dag="other")
    await world.changed("a", DAY)
    await world.run()
    async with world.conn() as conn, conn.transaction():
        await invalidate(conn, world.org, SourceEvent(dataset="a", partitions=(DAY,)))
        async with asyncio.timeout(5):
            await World(database, OrgContext(world.org.id)).deploy(_columned("dt", "x", "y"))
    await world.plan()
    assert await world.run() == [f"of_x[{DAY}]"]


def _columned(*columns: str) -> dict[str, Any]:
    made = source("a")
    made["outputs"][0]["columns"] = list(columns)
    return made


async def _read_by_column(database: Database) -> World:
    """`b` of `a` by column, and a reader of each of its columns; all have run."""
    b = job("b", "a", columns={"x": ["a.x"], "y": ["a.y"]})
    readers = (job(f"of_{c}", "b", columns={c: [f"b.{c}"]}) for c in "xy")
    world = await World.made(database, source("a"), b, *readers)
    await world.changed("a", DAY)
    await world.run(b="1")
    return world


async def test_a_change_of_a_canceled_task_propagates_with_a_later_run(
    database: Database,
) -> None:
    world = await _read_by_column(database)
    await world.changed("a", DAY, columns=("x",))
    async with world.conn() as conn:
        await cancel(conn, world.org, (await world.task(f"b[{DAY}]", "queued"))["id"])
    await world.changed("a", DAY, columns=("y",))
    ran = await world.run(b="2")
    await world.plan()
    assert f"of_x[{DAY}]" in [*ran, *await world.run()]


async def test_readers_in_a_third_dag_are_rebuilt_after_columns_become_unknown(
    database: Database,
) -> None:
    world = await World.made(database, _table("x"))
    await world.deploy(sql_job("m", "t", sql="SELECT * FROM t", partitioning={}), dag="two")
    counts = sql_job("n", "m", sql=DISTINCT.replace("t)", "m)"), partitioning={})
    await world.deploy(counts, dag="three")
    await world.changed("t")
    await world.run()
    unknown = _table("x")
    del unknown["outputs"][0]["columns"]
    await world.deploy(unknown)
    await world.run()
    ran: list[str] = []
    for version in "12":
        await world.changed("t")
        (lease,) = await world.claim()
        of_m = Output("m", "*", column_fingerprints={"x": "1", "w": version})
        await world.complete(lease, of_m)
        ran += await world.run()
    assert ran == ["n[*]", "n[*]"]


@pytest.mark.parametrize("found", [(), ("K",)])
async def test_readers_of_a_column_are_rebuilt_after_a_version_with_fewer_partitions(
    database: Database, found: tuple[str, ...]
) -> None:
    """The reader is in the same DAG and not regenerated, because its column is unchanged."""
    keys = {"k": {"dynamic": True}}
    columns = {"x": ["a.x"], "z": ["a.*"]}
    b = job("b", "a", partitioning=keys, execution_strategy="Full", columns=columns)
    r = job("r", "b", partitioning=keys, columns={"x": ["b.x"]})
    world = await World.made(database, _of("x"), b, r)
    await world.changed("a")
    (lease,) = await world.claim()
    await world.complete(lease, Output("b", "K"), Output("b", "L"))
    await world.plan()
    assert sorted(await world.run()) == ["r[K]", "r[L]"]
    await world.deploy(_of("x", "y"), b, r)
    (lease,) = await world.claim()
    await world.complete(lease, *(Output("b", key) for key in found))
    await world.plan()
    assert "r[L]" in await world.run()


def _of(*columns: str) -> dict[str, Any]:
    made = source("a", {})
    made["outputs"][0]["columns"] = list(columns)
    return made


async def test_a_change_of_a_rejected_plan_propagates_with_a_later_run(
    database: Database,
) -> None:
    world = await _read_by_column(database)
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", 1)
    await world.change("a", DAY, columns=("x",))
    planned = await world.plan()
    assert planned
    assert planned.exceeded_limits
    async with world.conn() as conn:
        await reject(conn, world.org, planned.plan_id)
        await set_setting(conn, world.org.id, "blast_radius", None)
    await world.changed("a", DAY, columns=("y",))
    ran = await world.run(b="2")
    await world.plan()
    assert f"of_x[{DAY}]" in [*ran, *await world.run()]


async def test_a_new_column_does_not_make_an_empty_source_exist(
    database: Database,
) -> None:
    world = await World.made(database, _columned("dt", "x"))
    await world.deploy(job("b", {"dataset": "a", "wait_for": "all"}), dag="other")
    await world.deploy(_columned("dt", "x", "y"))
    assert await world.run() == []
    assert await world.rows("SELECT partition_key FROM partition_versions") == []


async def test_readers_in_another_dag_wait_for_a_dataset_rebuilt_by_two_deploys(
    database: Database,
) -> None:
    keys = {"k": {"dynamic": True}}

    def b(n: int) -> dict[str, Any]:
        whole = {"partitioning": keys, "execution_strategy": "Full"}
        return job("b", "a", config={"kwargs": {"n": n}}, **whole)

    world = await World.made(database, source("a", {}), b(1))
    await world.deploy(job("d", "b", partitioning=keys), dag="other")
    await world.changed("a")
    (lease,) = await world.claim()
    await world.complete(lease, Output("b", "K"), Output("b", "L"))
    await world.plan()
    assert sorted(await world.run()) == ["d[K]", "d[L]"]
    await world.deploy(source("a", {}), b(2))
    await world.deploy(source("a", {}), b(3))
    world.log.clear()
    while leases := await world.claim():
        for each in sorted(leases, key=lambda lease: lease.job.name, reverse=True):
            if each.job.name == "b":
                await world.complete(each, Output("b", "K"))
            else:
                await world.finish(each)
        await world.plan()
    assert "d[L]" in world.log[world.log.index("b[*]") :]


async def test_a_source_without_named_partitions_invalidates_existing_readers_as_a_whole(
    database: Database,
) -> None:
    """The runs may have read rows of the source on days that no event has named."""
    open_ended = {"dt": {"time": "day"}}
    world = await World.made(database, source("a"), source("b", open_ended), job("ab", "a", "b"))
    await world.changed("a", "2013-02-13..2013-02-14")
    assert len(await world.run()) == 2
    await world.changed("b")
    assert sorted(await world.run()) == ["ab[2013-02-13]", "ab[2013-02-14]"]
    await world.changed("b", "2013-02-13")
    await world.run()
    await world.changed("b", columns=("x",), rows={"dt": "2013-02-14"})
    assert await world.run() == ["ab[2013-02-14]"]
