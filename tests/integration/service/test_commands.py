"""Commands affect only the caller's org, in one transaction, and record the user."""

from collections.abc import Awaitable, Callable

import msgspec
import psycopg
import pytest

from engine.errors import Forbidden, InvalidInput, KnockonError, UnknownName
from engine.model.event import SourceEvent
from engine.model.states import Role
from engine.service.caller import Caller
from engine.service.commands.attachments import attach
from engine.service.commands.invalidations import invalidate
from engine.service.commands.jobs import run
from engine.service.commands.orgs import set_blast_radius
from engine.service.commands.plans import apply, approve, reject
from engine.service.commands.proposals import propose
from engine.service.commands.tasks import Retried, cancel, retry, retry_all
from engine.service.queries.explain_partition import explain_partition
from engine.service.queries.explain_task import explain_task
from engine.service.queries.invalidations import invalidations
from engine.service.queries.lineage import lineage_tree
from engine.service.queries.orgs import settings
from engine.service.queries.plans import plan, plans
from engine.service.queries.status import Status, status
from engine.service.queries.tasks import tasks
from engine.service.service import Service
from engine.store.database import Database
from engine.store.rows.views import OpenInvalidations
from engine.store.run import fetch
from tests.support.worlds import World, finding_job, job, source

DAY, NEXT = "2013-02-13", "2013-02-14"
JOBS = (source("a"), job("b", "a"), job("c", "b"))


@pytest.fixture
async def world(database: Database) -> World:
    return await World.made(database, *JOBS)


async def stranger(world: World) -> Caller:
    """The local user in another org."""
    return Caller.local(await Service(world.database).org("other", create=True), "eve")


def change(*partitions: str) -> SourceEvent:
    return SourceEvent(dataset="a", partitions=partitions, source="test")


async def test_a_repeated_key_makes_one_invalidation(world: World) -> None:
    event = msgspec.structs.replace(change(DAY), id="k")
    first = await invalidate(world.caller, world.service, event)
    again = await invalidate(world.caller, world.service, event)
    assert (first.is_new, again.is_new) == (True, False)
    assert first.invalidations == again.invalidations


async def test_a_job_is_run_by_name(world: World) -> None:
    await world.changed("a", DAY)
    await world.run()
    requested = await run(world.caller, world.service, "b", (DAY,))
    assert len(requested.invalidations) == 1
    await world.plan()
    assert (await world.tasks("b"))["queued"] == [f"b[{DAY}]"]


async def test_source_and_unknown_jobs_are_rejected(world: World) -> None:
    with pytest.raises(UnknownName, match="did you mean"):
        await run(world.caller, world.service, "bb")
    with pytest.raises(InvalidInput, match="knockon invalidate a"):
        await run(world.caller, world.service, "src_a")


async def test_applying_a_proposed_plan_records_the_caller(world: World) -> None:
    view = await propose(world.caller, world.service, change(DAY))
    ann = Caller(world.caller.org, "ann", Role.WRITER)
    applied = await apply(ann, world.service, str(view.plan_id)[-8:])
    assert (applied.tasks, applied.is_new) == (2, True)
    shown = await plan(world.caller, world.service, str(view.plan_id))
    assert (shown.plan.state, shown.plan.decided_by) == ("applied", "ann")


async def two_pending(world: World) -> tuple[str, str]:
    await set_blast_radius(world.caller, world.service, 1)
    await world.changed("a", f"{DAY}..{NEXT}")
    await world.changed("a", "2013-03-01..2013-03-05")
    first, second = await plans(world.caller, world.service, states=["pending_approval"])
    return str(first.id), str(second.id)


async def test_plans_are_reviewed_one_by_one(world: World) -> None:
    first, second = await two_pending(world)
    await reject(world.caller, world.service, [second])
    with pytest.raises(InvalidInput, match="has already been rejected"):
        await approve(world.caller, world.service, [first, second])
    states = {str(each.id): each.state for each in await plans(world.caller, world.service)}
    assert (states[first], states[second]) == ("applied", "rejected")


async def test_a_plan_of_a_job_without_known_partitions_is_shown(database: Database) -> None:
    world = await World.made(database, source("a"), finding_job("f", "a"))
    await world.changed("a", DAY)
    row, *_ = await plans(world.caller, world.service)
    (step,) = (await plan(world.caller, world.service, str(row.id))).steps
    assert (step.job, step.partitions, step.via) == ("f", (), ("a",))


async def test_an_unknown_plan_prevents_every_review(world: World) -> None:
    first, _ = await two_pending(world)
    with pytest.raises(UnknownName):
        await approve(world.caller, world.service, [first, "00000000"])
    assert len(await plans(world.caller, world.service, states=["pending_approval"])) == 2


async def test_tasks_are_retried_atomically(world: World) -> None:
    await world.changed("a", DAY, NEXT)
    ids = [str(each.id) for each in await tasks(world.caller, world.service)]
    await world.rows("UPDATE tasks SET status = 'failed' WHERE id = %s RETURNING id", ids[0])
    with pytest.raises(InvalidInput, match="neither failed nor canceled"):
        await retry(world.caller, world.service, ids[:2])
    assert len((await world.tasks())["failed"]) == 1
    assert (await retry(world.caller, world.service, ids[:1])).queued == 1
    assert await retry_all(world.caller, world.service) == Retried()


async def test_the_limit_of_an_org_is_set_within_bounds(world: World) -> None:
    assert (await set_blast_radius(world.caller, world.service, 7)).blast_radius == 7
    for wrong in (0, 2**31):
        with pytest.raises(InvalidInput, match="is not a limit"):
            await set_blast_radius(world.caller, world.service, wrong)
    assert (await settings(world.caller, world.service)).blast_radius == 7


async def test_lists_exclude_other_orgs(world: World) -> None:
    await world.changed("a", DAY)
    eve = await stranger(world)
    for listed in (tasks, plans, invalidations, lineage_tree):
        assert await listed(world.caller, world.service)
        assert not await listed(eve, world.service)
    assert (await status(eve, world.service)).tasks == {}


async def test_names_and_ids_of_another_org_are_unknown(world: World) -> None:
    await world.changed("a", DAY)
    eve, service = await stranger(world), world.service
    task = str((await world.task(f"b[{DAY}]", "queued"))["id"])
    row, *_ = await plans(world.caller, service)
    attempts: list[Callable[[], Awaitable[object]]] = [
        lambda: explain_task(eve, service, task),
        lambda: explain_partition(eve, service, "b", DAY),
        lambda: cancel(eve, service, [task]),
        lambda: retry(eve, service, [task]),
        lambda: plan(eve, service, str(row.id)),
        lambda: apply(eve, service, str(row.id)),
        lambda: invalidate(eve, service, change(DAY)),
        lambda: run(eve, service, "b"),
    ]
    for attempt in attempts:
        with pytest.raises(KnockonError) as refusal:
            await attempt()
        assert refusal.value.code == "unknown_name"
    assert (await world.tasks("b"))["queued"] == [f"b[{DAY}]"]


async def test_a_reader_reads_and_changes_nothing(world: World) -> None:
    await world.changed("a", DAY)
    reader = Caller(world.caller.org, "rea", Role.READER)
    (task, *_) = await tasks(reader, world.service)
    with pytest.raises(Forbidden, match="requires the role writer in org 'default'"):
        await cancel(reader, world.service, [str(task.id)])
    with pytest.raises(Forbidden):
        await invalidate(reader, world.service, change(NEXT))
    assert not await invalidations(reader, world.service, only_open=True)
    assert (await world.tasks())["queued"] == [f"b[{DAY}]"]


async def test_only_operators_choose_another_source_database(world: World) -> None:
    admin = Caller(world.caller.org, "ann", Role.ADMIN)
    with pytest.raises(Forbidden, match="reserved for operators"):
        await attach(admin, world.service, "raw.a", "a", source_url="postgresql://elsewhere/x")


async def test_an_unknown_dataset_is_reported_with_a_similar_name(database: Database) -> None:
    world = await World.made(database, source("orders"))
    message = "there is no dataset 'oders' deployed in this org; did you mean 'orders'"
    event = SourceEvent(dataset="oders")
    for attempt in (
        lambda: invalidate(world.caller, world.service, event),
        lambda: propose(world.caller, world.service, event),
        lambda: explain_partition(world.caller, world.service, "oders", DAY),
        lambda: lineage_tree(world.caller, world.service, "oders"),
        lambda: attach(world.caller, world.service, "oders", "oders"),
    ):
        with pytest.raises(UnknownName, match=message):
            await attempt()


async def test_only_the_table_of_a_source_is_attached(database: Database) -> None:
    raw = source("raw", {}, source={"kind": "postgres", "table": "shop.Orders"})
    world = await World.made(database, raw, source("told", {}), job("made", "raw", partitioning={}))
    async with world.conn() as conn:
        await conn.execute("CREATE SCHEMA shop")
        await conn.execute("CREATE TABLE shop.orders (id int)")
        await conn.execute("CREATE TABLE shop.payments (id int)")
    refused = {
        "made": "dataset 'made' is written by job 'made' of DAG 'w': only tables of sources",
        "told": "source 'told' has the kind 'manual' in its DAG file: write source: {kind",
        "raw": "source 'raw' is the table shop.Orders in its DAG file, not shop.payments: attach",
    }
    for dataset, message in refused.items():
        with pytest.raises(InvalidInput, match=message):
            await attach(
                world.caller,
                world.service,
                "shop.payments",
                dataset,
                columns={"dt": "nothing"},
                source_url=database.url,
            )

    await attach(world.caller, world.service, "SHOP.orders", "raw", source_url=database.url)


async def test_queries_cannot_write(world: World) -> None:
    async with world.service.snapshot(world.caller) as (conn, _):
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await conn.execute("DELETE FROM knockon.tasks")


async def test_a_query_sees_one_state(world: World) -> None:
    async with world.service.snapshot(world.caller) as (conn, _):
        await conn.execute("SELECT 1 FROM knockon.orgs")
        await world.change("a", DAY)
        rows = await fetch(conn, "views.open_invalidations", OpenInvalidations, org_id=world.org.id)
    assert rows[0].invalidations == 0
    assert (await status(world.caller, world.service)).open_invalidations == 1


async def test_a_failed_command_writes_nothing(world: World) -> None:
    async def failing() -> None:
        async with world.service.transaction(world.caller) as (conn, _):
            await conn.execute("DELETE FROM knockon.dag_current_versions")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await failing()
    assert (await status(world.caller, world.service)).dags


async def test_views_are_json(world: World) -> None:
    await world.changed("a", DAY)
    view = await status(world.caller, world.service)
    assert msgspec.to_builtins(view)["tasks"] == {"queued": 1, "blocked": 1}
    assert msgspec.json.decode(msgspec.json.encode(view), type=Status) == view
