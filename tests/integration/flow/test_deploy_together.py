"""Several DAG files in one deploy."""

import asyncio
from functools import partial
from typing import Any

import pytest

from engine.errors import InvalidDag
from engine.flow.deployment.deploy import preview
from engine.flow.deployment.undeploy import undeploy
from engine.flow.planning.audit import audit_all
from engine.model.dag import DagFile
from engine.service.commands.deploys import deploy as deploy_by_service
from engine.store.database import Database
from tests.support.deploys import dag, is_waiting, sql, together
from tests.support.migrations import until
from tests.support.worlds import WEEKLY, World, job, source

DAY, WEEK = "2013-02-13", "2013-W07"
EVERYTHING = {"dataset": "b", "mapping": "all"}


def above(**more: Any) -> DagFile:
    return dag("above", source("a"), job("b", "a", **more))


def below(*inputs: Any, **more: Any) -> DagFile:
    return dag("below", job("c", *inputs, **more))


@pytest.fixture
async def world(database: Database) -> World:
    """`above` makes b, and `below` makes c of it; a day is built."""
    world = await World.made(database, source("x"))
    await together(world, above(), below("b"))
    await world.changed("a", DAY)
    await world.run()
    return world


async def counts(world: World) -> dict[str, int]:
    tables = ("dag_versions", "dataset_versions", "plans", "tasks", "dag_deploys")
    return {
        table: (await world.rows(f"SELECT count(*) AS n FROM {table}"))[0]["n"] for table in tables
    }


async def test_a_dataset_is_repartitioned_together_with_its_readers(world: World) -> None:
    weekly = above(partitioning=WEEKLY)
    with pytest.raises(InvalidDag, match=r"below\.c; deploy the files of these DAGs together with"):
        await together(world, weekly)
    done = await together(world, below("b", partitioning=WEEKLY), weekly)
    assert [each.dag_name for each in done.dags] == ["below", "above"]
    assert [list(each.diff.regenerated) for each in done.dags] == [["c"], ["b"]]
    assert await world.run() == [f"b[{WEEK}]", f"c[{WEEK}]"]


async def test_an_unchanged_reader_of_a_repartitioned_dataset_is_rebuilt(world: World) -> None:
    await together(world, below(EVERYTHING))
    await world.run()
    done = await together(world, above(partitioning=WEEKLY), below(EVERYTHING))
    assert [list(each.diff.regenerated) for each in done.dags] == [["b"], ["c"]]
    ran = await world.run()
    assert (ran[0], {name[0] for name in ran[1:]}) == (f"b[{WEEK}]", {"c"})
    await world.changed("a", DAY)
    assert (await world.run())[0] == f"b[{WEEK}]"


async def test_an_unchanged_reader_of_a_rebuilt_dataset_keeps_its_version(world: World) -> None:
    changed = above(config={"callable": "else:where"})
    done = await together(world, changed, below("b"))
    assert [list(each.diff.regenerated) for each in done.dags] == [["b"], []]
    assert await world.run() == [f"b[{DAY}]", f"c[{DAY}]"]


async def test_dags_that_change_together_get_one_plan(world: World) -> None:
    before = await counts(world)
    both = below("a", "b", config={"callable": "else:where"})
    done = await together(world, both, above(config={"callable": "else:where"}))
    assert (await counts(world))["plans"] == before["plans"] + 1
    assert done.tasks == 2
    assert await world.run() == [f"b[{DAY}]", f"c[{DAY}]"]


async def test_dags_may_read_each_other(world: World) -> None:
    third = dag("above", source("a"), job("b", "a"), job("d", "c"))
    await together(world, third, below("b"))
    assert await world.run() == [f"d[{DAY}]"]
    other = {"config": {"callable": "else:where"}}
    fourth = dag("above", source("a"), job("b", "a", **other), job("d", "c"))
    done = await together(world, below("b", **other), fourth)
    assert [sorted(each.diff.regenerated) for each in done.dags] == [["c"], ["b", "d"]]
    assert await world.run() == [f"b[{DAY}]", f"c[{DAY}]", f"d[{DAY}]"]


async def test_a_cycle_through_both_dags_is_rejected(world: World) -> None:
    with pytest.raises(InvalidDag, match="cycle"):
        await together(world, dag("above", source("a"), job("b", "a", "c")), below("b"))


async def test_a_job_moves_to_the_other_dag(world: World) -> None:
    alone, with_b = dag("above", source("a")), dag("below", job("b", "a"), job("c", "b"))
    await together(world, alone, with_b)
    assert await world.run() == [f"b[{DAY}]", f"c[{DAY}]"]  # the move rebuilds
    before = len(world.log)
    await world.changed("a", DAY)
    await world.run()
    assert world.log[before:] == [f"b[{DAY}]", f"c[{DAY}]"]


async def test_all_jobs_move_to_another_dag_and_theirs_is_undeployed(world: World) -> None:
    whole = dag("below", source("a"), job("b", "a"), job("c", "b"))
    await together(world, dag("above"), whole)
    await world.run()
    async with world.conn() as conn, conn.transaction():
        await undeploy(conn, world.org, "above", by="me")
    before = len(world.log)
    await world.changed("a", DAY)
    await world.run()
    assert world.log[before:] == [f"b[{DAY}]", f"c[{DAY}]"]
    async with world.conn() as conn:
        assert (await audit_all(conn, world.org)).lost == 0


async def test_a_rejected_file_deploys_none(world: World) -> None:
    before = await counts(world)
    with pytest.raises(InvalidDag, match="nowhere"):
        await together(world, above(config={"callable": "else:where"}), below("nowhere"))
    assert await counts(world) == before


async def test_the_problems_of_all_files_are_reported(world: World) -> None:
    with pytest.raises(InvalidDag) as caught:
        await together(world, dag("above", source("a"), job("b", "lost")), below("nowhere"))
    assert "lost" in str(caught.value)
    assert "nowhere" in str(caught.value)


async def test_all_readers_of_a_removed_or_repartitioned_dataset_are_named(world: World) -> None:
    await together(world, dag("third", job("d", "a"), job("e", "b")))
    with pytest.raises(InvalidDag) as refusal:
        await world.deploy(source("a", WEEKLY), dag="above")
    first, second = str(refusal.value).splitlines()
    assert "dataset 'a' cannot be removed or repartitioned" in first
    assert "read it: third.d;" in first
    assert "dataset 'b' cannot be removed or repartitioned" in second
    assert "read it: below.c, third.e;" in second


async def test_tables_of_all_files_are_checked(world: World) -> None:
    async with world.conn() as conn:
        await conn.execute("CREATE TABLE one (x int)")
        await conn.execute("CREATE TABLE two (x int)")
    with pytest.raises(InvalidDag) as refusal:
        await together(
            world,
            dag("one", sql("one", "SELECT 1 AS x", "a")),
            dag("two", sql("two", "SELECT 1 AS x", "a")),
        )
    assert [line[:8] for line in str(refusal.value).splitlines()] == ["one.yaml", "two.yaml"]


async def test_one_dag_in_two_files_is_rejected(world: World) -> None:
    with pytest.raises(InvalidDag, match="several files define DAG 'below'"):
        await together(world, below("b"), below("a"))


async def test_a_preview_shows_the_work_in_all_dags_and_writes_nothing(world: World) -> None:
    before = await counts(world)
    changed = above(config={"callable": "else:where"})
    async with world.conn() as conn:
        shown = await preview(conn, world.org, [changed])
    assert await counts(world) == before
    assert (shown.tasks, shown.dags[0].version_id) == (2, None)
    assert shown.decision is not None
    jobs = {shown.decision.lineage.job(step.job).name for step in shown.decision.plan.steps}
    assert jobs == {"b", "c"}
    assert (await together(world, changed)).tasks == 2


async def test_a_waiting_first_run_joined_by_the_plan_of_a_deploy_is_checked_again(
    database: Database,
) -> None:
    """The deploy drops ``wait_for``, and its plan reaches the task that waits for inputs."""
    late = {"dataset": "late", "wait_for": "all"}
    world = await World.made(database, source("a"), source("late"), dag="above")
    await together(world, below("a", late, activation="manual"))
    await world.changed("a", DAY)
    await world.changed("c", DAY)
    before = await world.task(f"c[{DAY}]", "blocked")
    await together(world, below("a", "late"))
    assert (await world.task(f"c[{DAY}]", "queued"))["id"] == before["id"]


async def test_undeployed_dags_are_restored_in_any_order(world: World) -> None:
    async with world.conn() as conn:
        await undeploy(conn, world.org, "below")
        await undeploy(conn, world.org, "above")
    done = await together(world, below("b"), above())
    assert [each.is_restored for each in done.dags] == [True, True]
    assert (done.tasks, await world.run()) == (0, [])


async def test_a_deploy_starts_again_after_a_deadlock(world: World) -> None:
    await world.changed("a", DAY)
    async with world.conn() as other:
        async with other.transaction():
            await other.execute(b"SET LOCAL deadlock_timeout = '1h'")
            await other.execute(b"SELECT lineage_epoch FROM orgs FOR UPDATE")
            changed = above(config={"callable": "else:where"})
            deploying = asyncio.create_task(
                deploy_by_service(world.caller, world.service, [changed])
            )
            await until(partial(is_waiting, world))
            await other.execute(b"SELECT id FROM tasks FOR UPDATE")
        done = await deploying
    assert list(done.dags[0].diff.regenerated) == ["b"]
