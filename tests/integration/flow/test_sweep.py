"""Sweeps remove versions that are no longer current, and nothing that current ones need."""

from typing import Any

import pytest

from engine.errors import InvalidInput
from engine.flow.deployment.propose import propose
from engine.flow.deployment.undeploy import undeploy
from engine.flow.planning.approve import approve
from engine.flow.planning.audit import audit_all
from engine.flow.retention.archive import archive
from engine.flow.retention.sweep import Swept, preview_sweep, sweep
from engine.model.event import SourceEvent
from engine.service.commands.sweeps import sweep as sweep_all
from engine.service.queries.explain_partition import explain_partition
from engine.service.queries.explain_task import explain_task
from engine.service.queries.history import history
from engine.store.database import Database
from engine.store.orgs import set_setting
from tests.support.worlds import World, finding_job, job, source

DAY, NEXT = "2013-02-13", "2013-02-14"
TABLES = ("dag_versions", "jobs", "dataset_versions", "partition_versions", "task_inputs")


def changed(number: int) -> tuple[dict[str, Any], ...]:
    """Jobs of a DAG of which c differs by the number, and f reads c."""
    config = {"callable": f"nowhere:nothing{number}"}
    return source("a"), job("b", "a"), job("c", "b", config=config), finding_job("f", "c")


@pytest.fixture
async def world(database: Database) -> World:
    world = await World.made(database, *changed(0))
    await world.changed("a", DAY, NEXT)
    await world.run()
    return world


async def deployed(world: World, number: int) -> None:
    await world.deploy(*changed(number))
    await world.run()


async def swept(world: World, days: float = 0) -> Swept:
    return await sweep_all(world.caller, world.service, days)


async def counts(world: World) -> dict[str, int]:
    return {
        name: (await world.rows(f"SELECT count(*) AS n FROM {name}"))[0]["n"] for name in TABLES
    }


async def lost(world: World) -> int:
    async with world.conn() as conn:
        return (await audit_all(conn, world.org)).lost


async def test_ten_deploys_and_a_sweep_leave_as_much_as_one(world: World) -> None:
    before = await counts(world)
    for number in range(1, 11):
        await deployed(world, number)
    assert (await counts(world))["partition_versions"] > 4 * before["partition_versions"]
    await swept(world)
    assert await counts(world) == before
    assert await lost(world) == 0
    await world.changed("a", DAY)
    assert await world.run() == [f"b[{DAY}]", f"c[{DAY}]", "f[*]"]


async def test_a_preview_counts_what_is_removed(world: World) -> None:
    await deployed(world, 1)
    await deployed(world, 2)
    async with world.conn() as conn:
        await conn.execute(b"ANALYZE")
        shown = await preview_sweep(conn, world.org, 0)
    assert [(version.dag, version.number) for version in shown.versions] == [("w", 1), ("w", 2)]
    assert shown.rows.partitions == 4
    assert shown.bytes > 0
    done = await swept(world)
    assert (done.dag_versions, done.dataset_versions) == (2, 4)
    assert done.partitions == shown.rows.partitions
    assert done.inputs >= shown.rows.inputs
    async with world.conn() as conn:
        again = await preview_sweep(conn, world.org, 0)
    assert again.rows == await swept(world) == Swept()


async def test_versions_within_the_period_are_kept(world: World) -> None:
    await deployed(world, 1)
    assert await swept(world, days=30) == Swept()
    ages = "UPDATE dag_versions SET created_at = created_at - interval '40 days' RETURNING 1"
    await world.rows(ages)
    await world.rows(ages.replace("dag_versions", "dataset_versions"))
    assert await swept(world, days=30) == Swept(), "replaced just now, however old"
    await world.rows(
        "UPDATE dag_deploys SET deployed_at = deployed_at - interval '40 days' RETURNING 1"
    )
    assert (await swept(world, days=30)).dag_versions == 1


async def test_tasks_that_explain_kept_partitions_are_kept(world: World) -> None:
    await deployed(world, 1)
    (row,) = await world.rows(
        "SELECT p.task_id FROM partition_versions p JOIN datasets d ON d.id = p.dataset_uuid "
        "WHERE d.name = 'b' AND p.partition_key = %s",
        DAY,
    )
    before = await explain_task(world.caller, world.service, str(row["task_id"]))
    partition = await explain_partition(world.caller, world.service, "b", DAY)
    assert before.causes[0].path != ()
    await swept(world)
    assert await explain_task(world.caller, world.service, str(row["task_id"])) == before
    assert await explain_partition(world.caller, world.service, "b", DAY) == partition


async def test_tasks_in_the_history_explain_kept_partitions(world: World) -> None:
    async with world.conn() as conn:
        await archive(conn, world.org, 0)
    await test_tasks_that_explain_kept_partitions_are_kept(world)


async def test_a_rollback_keeps_its_version_and_sweeps_the_other(world: World) -> None:
    await deployed(world, 1)
    await deployed(world, 0)
    await swept(world)
    rows = await history(world.caller, world.service, "w")
    # The newest number is not used again, so that its version stays.
    assert [(row.version, row.is_current) for row in rows] == [(1, True), (2, False), (1, False)]
    await deployed(world, 2)
    await swept(world)
    rows = await history(world.caller, world.service, "w")
    assert [(row.version, row.is_current) for row in rows] == [(3, True)]
    assert rows[0].changes is None


async def test_an_undeployed_dag_is_kept_for_the_period(world: World) -> None:
    async with world.conn() as conn:
        await undeploy(conn, world.org, "w")
    await swept(world, days=30)
    assert (await world.deploy(*changed(0))).dags[0].is_restored
    async with world.conn() as conn:
        await undeploy(conn, world.org, "w")
    await swept(world)
    assert set((await counts(world)).values()) == {0}
    again = await world.deploy(*changed(0))
    assert not again.dags[0].is_restored
    await world.changed("a", DAY)
    assert await world.run() == [f"b[{DAY}]", f"c[{DAY}]", "f[*]"]


async def test_versions_in_plans_pending_approval_are_kept(world: World) -> None:
    async with world.conn() as conn:
        await set_setting(conn, world.org.id, "blast_radius", 1)
    await world.changed("a", DAY, NEXT)
    (plan,) = await world.rows("SELECT id FROM plans WHERE state = 'pending_approval'")
    await deployed(world, 1)
    assert (await swept(world)).dag_versions == 0
    async with world.conn() as conn:
        await approve(conn, world.org, plan["id"])
    await world.run()
    assert (await swept(world)).dag_versions == 1


async def test_a_sweep_continues_after_a_crash(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr("engine.flow.retention.sweep._BATCH", 1)
    monkeypatch.setattr("engine.flow.retention.sweep._INPUTS", 1)
    before = await counts(world)
    await deployed(world, 1)
    await deployed(world, 2)
    steps = 0
    while True:
        async with world.conn() as conn:
            if await sweep(conn, world.org, 0) is None:
                break
        steps += 1
        assert await lost(world) == 0
    assert steps > 10
    assert await counts(world) == before


async def test_a_period_is_not_negative(world: World) -> None:
    for days in (-1, float("nan")):
        with pytest.raises(InvalidInput):
            await swept(world, days)
    assert await swept(world, float("inf")) == Swept()


async def test_versions_of_proposed_plans_are_kept(world: World) -> None:
    async with world.conn() as conn:
        proposal = await propose(conn, world.org, SourceEvent(dataset="a", partitions=(DAY,)))
    await deployed(world, 1)
    assert (await swept(world)).dag_versions == 0
    await world.rows("DELETE FROM plans WHERE id = %s RETURNING id", proposal.plan_id)
    assert (await swept(world)).dag_versions == 1
