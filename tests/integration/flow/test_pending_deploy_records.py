"""Deploys pending approval among other deploys, and what commands show of them."""

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import Any

import pytest
from rich.console import Console

from engine.cli.commands import plans as plans_command
from engine.cli.commands import status as status_command
from engine.errors import InvalidDag
from engine.flow.deployment.undeploy import undeploy
from engine.flow.planning.approve import reject
from engine.service.commands.plans import approve as approve_by_service
from engine.service.queries.deploys import preview as preview_by_service
from engine.service.queries.explain_partition import explain_partition
from engine.service.queries.plans import plan as plan_of
from engine.service.queries.status import status
from engine.store.database import Database
from tests.support.deploys import (
    OTHER,
    approved,
    columned,
    dag,
    days,
    is_waiting,
    limit,
    lost,
    pending,
    sql,
    together,
)
from tests.support.migrations import until
from tests.support.worlds import World, job, source

DAY, WEEK = "2013-02-13", "2013-02-11..2013-02-17"


def writing(name: str, table: str, **more: Any) -> dict[str, Any]:
    return sql(name, "SELECT dt, 1 AS x FROM a", "a", table=table, **more)


@pytest.mark.parametrize("more", [{}, OTHER], ids=["unchanged", "changed"])
async def test_the_deploy_of_an_undeployed_dag_is_approved(
    database: Database, more: dict[str, Any]
) -> None:
    """Nothing happens between the deploy and the approval, which deploys the file."""
    world = await World.made(database, source("a"), dag="above")
    await together(world, dag("below", job("b", "a")))
    await world.changed("a", WEEK)
    await world.run()
    async with world.conn() as conn:
        await undeploy(conn, world.org, "below")
    await world.changed("a", WEEK)
    plan = await pending(world, dag("below", job("b", "a", **more)))
    assert (await approved(world, plan)).tasks == 7
    assert len(await world.run()) == 7
    assert await lost(world) == 0


async def test_a_follow_up_deploy_does_not_void_a_pending_one(database: Database) -> None:
    """The file of `below` was not deployed meanwhile: it followed other bounds of `above`."""
    world = await World.made(database, source("a"), dag="above")
    await together(world, dag("below", job("b", "a")))
    await world.changed("a", WEEK)
    await world.run()
    plan = await pending(world, dag("below", job("b", "a", **OTHER)))
    wider = await together(world, dag("above", source("a", days("2013-01-01", "2014-02-01"))))
    assert wider.followed == ("below",)
    assert (await approved(world, plan)).tasks == 7


async def test_a_following_dag_deployed_meanwhile_does_not_void_a_pending_deploy(
    database: Database,
) -> None:
    """Only the given files are pending; the DAGs that follow are found again at the approval."""
    world = await World.made(database, columned("x", "y"), job("b", "a"), dag="above")
    await together(world, dag("below", sql("f", "SELECT * FROM a", "a")))
    await world.changed("a", WEEK)
    await world.run()
    reduced = dag("above", columned("x"), job("b", "a"))
    await limit(world, 5)
    done = await together(world, reduced, is_limited=True)
    assert (done.followed, done.pending_plan is not None) == (("below",), True)
    await together(world, dag("below", sql("f", "SELECT dt FROM a", "a")))
    assert done.pending_plan is not None
    assert (await approved(world, done.pending_plan)).state == "applied"


async def test_changed_code_does_not_void_a_pending_deploy(database: Database) -> None:
    """The same file was deployed again because a function changed: there is no other file."""
    async with database.connection() as conn:
        await conn.execute("CREATE FUNCTION public.rate() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    current = dag("above", source("a"), sql("b", "SELECT dt, public.rate() AS x FROM a", "a"))
    world = await World.made(database, source("z"))
    await together(world, current)
    await world.changed("a", WEEK)
    await world.run()
    other = sql("b", "SELECT dt, public.rate() + 1 AS x FROM a", "a")
    plan = await pending(world, dag("above", source("a"), other))
    async with database.connection() as conn:
        await conn.execute(
            "CREATE OR REPLACE FUNCTION public.rate() RETURNS int LANGUAGE sql AS 'SELECT 2'"
        )
    assert (await together(world, current)).tasks == 7
    assert (await approved(world, plan)).tasks == 7


async def test_the_error_of_an_approval_names_the_dag(database: Database) -> None:
    """One of two files does not compile any more; the error says which."""
    world = await World.made(database, source("a"), job("b", "a"), dag="above")
    await together(world, dag("extra", source("k")))
    await world.changed("a", WEEK)
    await world.run()
    reading = dag("above", source("a"), job("b", "a", "k"))
    plan = await pending(world, reading, dag("further", source("q")))
    async with world.conn() as conn:
        await undeploy(conn, world.org, "extra")
    with pytest.raises(InvalidDag) as caught:
        await approved(world, plan)
    assert "above" in str(caught.value)


async def test_an_approved_deploy_that_builds_nothing(database: Database) -> None:
    """All of the plan is gone: the review says so, and the record has no step and no task."""
    world = await World.made(database, columned("x", "y"), dag="above")
    await together(world, dag("below", job("b", "a")))
    await world.changed("a", WEEK)
    await world.run()
    plan = await pending(world, dag("above", columned("x")))
    async with world.conn() as conn:
        await undeploy(conn, world.org, "below")
    first, again = await approved(world, plan), await approved(world, plan)
    recorded = await world.rows(
        "SELECT task_count, jsonb_array_length(document -> 'steps') AS jobs "
        "FROM plans WHERE id = %s",
        plan,
    )
    assert (first.tasks, [each.kind for each in first.changes]) == (0, ["gone"])
    assert (again.tasks, recorded) == (0, [{"task_count": 0, "jobs": 0}])


async def test_partitions_are_fresh_while_a_deploy_is_pending(database: Database) -> None:
    """Nothing is deployed, nothing is stale: the audit finds nothing, and `explain` agrees."""
    world = await World.made(database, source("a"), job("b", "a"), dag="above")
    await together(world, dag("below", job("c", "b")))
    await world.changed("a", WEEK)
    await world.run()
    await pending(world, dag("above", source("a"), job("b", "a", **OTHER)))
    assert await lost(world) == 0
    explained = [await explain_partition(world.caller, world.service, each, DAY) for each in "bc"]
    assert [each.verdict for each in explained] == ["fresh", "fresh"]


async def test_partitions_are_fresh_after_a_rejected_deploy(database: Database) -> None:
    """Rejecting a deploy leaves nothing stale, and `explain` says so."""
    world = await World.made(database, columned("x", "y"), source("z"), dag="above")
    await together(world, dag("below", job("c", "z", {"dataset": "a", "mapping": "all"})))
    await world.changed("z", WEEK)
    await world.run()
    plan = await pending(world, dag("above", columned("x"), source("z")))
    async with world.conn() as conn:
        await reject(conn, world.org, plan)
    explained = await explain_partition(world.caller, world.service, "c", DAY)
    assert (explained.verdict, explained.stale) == ("fresh", ())


async def test_status_names_the_dags_of_a_pending_deploy(database: Database) -> None:
    """`status` names the DAGs, as `plans` does ("deploy of above")."""
    world = await World.made(database, source("a"), job("b", "a"), dag="above")
    await world.changed("a", WEEK)
    await world.run()
    await pending(world, dag("above", source("a"), job("b", "a", **OTHER)))
    console = Console(width=200)
    with console.capture() as printed:
        view = await status(world.caller, world.service)
        console.print(status_command._held_table(view))
    assert "above" in printed.get()


@pytest.mark.parametrize("lifted", [{}, {"scaling": {"blast_radius": 50}}], ids=["no", "other"])
async def test_a_file_cannot_lift_its_own_limit(database: Database, lifted: dict[str, Any]) -> None:
    """The deploy exceeds the limit that is in force, so a person has to approve."""
    limited = job("b", "a", scaling={"blast_radius": 5})
    world = await World.made(database, source("a"), limited, dag="above")
    await world.changed("a", "2013-02-11..2013-02-15")
    await world.changed("a", "2013-02-16..2013-02-17")
    await world.run()
    unlimited = dag("above", source("a"), job("b", "a", **lifted, **OTHER))
    assert (await together(world, unlimited, is_limited=True)).pending_plan is not None


async def _as_victim(world: World, work: Awaitable[Any]) -> Any:
    """Run work that is chosen as the victim of a deadlock at its first attempt."""
    async with world.conn() as other:
        async with other.transaction():
            await other.execute(b"SET LOCAL deadlock_timeout = '1h'")
            await other.execute(b"SELECT lineage_epoch FROM orgs FOR UPDATE")
            working = asyncio.ensure_future(work)
            await until(partial(is_waiting, world))
            await other.execute(b"SELECT id FROM tasks FOR UPDATE")
        return await working


async def test_an_approval_of_a_deploy_starts_again_after_a_deadlock(database: Database) -> None:
    """The approval deploys, and starts again like `deploy`."""
    world = await World.made(database, source("a"), job("b", "a"), dag="above")
    await world.changed("a", WEEK)
    plan = await pending(world, dag("above", source("a"), job("b", "a", **OTHER)))
    await _as_victim(world, approve_by_service(world.caller, world.service, [str(plan)]))


async def test_a_preview_starts_again_after_a_deadlock(database: Database) -> None:
    """The preview takes the same locks as the deploy, and starts again like it."""
    world = await World.made(database, source("a"), job("b", "a"), dag="above")
    await world.changed("a", DAY)
    changed = dag("above", source("a"), job("b", "a", **OTHER))
    await _as_victim(world, preview_by_service(world.caller, world.service, [changed]))


async def test_the_author_of_a_pending_deploy_is_known(database: Database) -> None:
    """Reviewer and auditor see who wants to deploy, not only who approved."""
    world = await World.made(database, source("a"), job("b", "a"), dag="above")
    await world.changed("a", WEEK)
    await world.run()
    plan = await pending(world, dag("above", source("a"), job("b", "a", **OTHER)))
    await approved(world, plan)
    rows = await world.rows("SELECT row_to_json(p)::text AS row FROM plans p WHERE id = %s", plan)
    rows += await world.rows("SELECT row_to_json(d)::text AS row FROM dag_deploys d")
    assert any('"ann"' in row["row"] for row in rows)


async def test_plans_show_names_the_dags_of_a_pending_deploy(database: Database) -> None:
    """`plans show` names the DAGs, as `plans` does ("deploy of above")."""
    world = await World.made(database, source("a"), job("b", "a"), dag="above")
    await world.changed("a", WEEK)
    await world.run()
    plan = await pending(world, dag("above", source("a"), job("b", "a", **OTHER)))
    console = Console(width=200)
    with console.capture() as printed:
        view = await plan_of(world.caller, world.service, str(plan))
        console.print(plans_command._tree(view))
    assert "above" in printed.get()
