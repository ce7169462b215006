"""Undeploys with and without the tables that Knockon has created."""

import pytest

from engine.errors import Forbidden, InvalidInput
from engine.model.states import DeployKind, Role
from engine.service.caller import Caller
from engine.service.commands.attachments import attach
from engine.service.commands.undeploys import Undeployed, preview_undeploy_of, undeploy
from engine.service.queries.history import history
from engine.service.queries.status import status
from engine.service.service import Service
from engine.store.database import Database
from tests.support.workers import sql_job, work
from tests.support.worlds import World, source

unrestricted = pytest.mark.parametrize("service_database", ["local"], indirect=True)
COPY = sql_job("copy", "orders", sql="SELECT id, amount FROM orders")
TABLE = ("public.copy",)


@pytest.fixture
async def world(database: Database) -> World:
    async with database.connection() as conn:
        await conn.execute("CREATE TABLE orders (id int, amount int, dt date)")
        await conn.execute("INSERT INTO orders VALUES (1, 10, '2013-02-13')")
    world = await World.made(database, source("orders"), COPY)
    await world.changed("orders", "2013-02-13")
    await work(world)
    return world


async def undeployed(world: World, *, drop_tables: bool = False) -> Undeployed:
    ann = Caller.local(world.caller.org, "ann")
    return await undeploy(ann, world.service, "w", drop_tables=drop_tables)


async def executed(world: World, statement: str) -> None:
    async with world.conn() as conn:
        await conn.execute(statement.encode())


async def has_table(world: World, name: str = "copy") -> bool:
    return bool(await world.rows("SELECT 1 WHERE to_regclass(%s) IS NOT NULL", name))


async def test_tables_are_kept_and_used_again(world: World) -> None:
    assert (await undeployed(world)).created == TABLE
    assert await has_table(world)
    assert (await world.deploy(source("orders"), COPY)).dags[0].is_restored
    assert await world.rows("SELECT id FROM copy") == [{"id": 1}]


@unrestricted
async def test_created_tables_are_dropped_and_built_again(world: World) -> None:
    shown = await preview_undeploy_of(world.caller, world.service, "w", drop_tables=True)
    assert await has_table(world)
    assert await undeployed(world, drop_tables=True) == shown
    assert not await has_table(world)
    assert await has_table(world, "orders")
    await world.deploy(source("orders"), COPY)
    await work(world)
    assert await world.rows("SELECT id FROM copy") == [{"id": 1}]


@unrestricted
async def test_tables_of_an_undeployed_dag_are_dropped_later(world: World) -> None:
    await undeployed(world)
    done = await undeployed(world, drop_tables=True)
    assert (done.effects, done.created) == (None, TABLE)
    assert not await has_table(world)
    assert not (await world.deploy(source("orders"), COPY)).dags[0].is_restored


async def test_only_attached_tables_are_reported_as_captured(database: Database) -> None:
    async with database.connection() as conn:
        await conn.execute("CREATE TABLE orders (id int)")
    tables = ("orders", "never")
    jobs = [source(each, {}, source={"kind": "postgres", "table": each}) for each in tables]
    world = await World.made(database, *jobs)
    service = Service(world.database, source_url=database.url)
    shown = await preview_undeploy_of(world.caller, service, "w")
    assert (shown.effects.tables, shown.captured) == (("never", "orders"), ())
    await attach(world.caller, service, "orders", "orders")
    assert (await preview_undeploy_of(world.caller, service, "w")).captured == ("public.orders",)
    nowhere = Service(world.database, source_url="postgresql://127.0.0.1:1/none")
    assert (await undeploy(world.caller, nowhere, "w")).captured is None


@unrestricted
async def test_a_table_that_others_depend_on_is_kept(world: World) -> None:
    await executed(world, "CREATE VIEW over AS SELECT * FROM copy")
    with pytest.raises(InvalidInput, match=r"depend on public\.copy"):
        await undeployed(world, drop_tables=True)
    assert await has_table(world)
    await executed(world, "DROP VIEW over")
    await undeployed(world, drop_tables=True)
    assert not await has_table(world)


@unrestricted
async def test_a_table_without_the_mark_is_kept(world: World) -> None:
    await executed(world, "COMMENT ON TABLE copy IS 'mine'")
    assert (await undeployed(world, drop_tables=True)).created == ()
    assert await has_table(world)


@unrestricted
async def test_a_table_captured_for_another_dag_is_kept(world: World) -> None:
    captured = {"kind": "postgres", "table": "public.copy"}
    await undeployed(world)
    await world.deploy(source("copied", source=captured), dag="reader")
    assert (await undeployed(world, drop_tables=True)).created == ()
    assert await has_table(world)


@pytest.mark.parametrize("service_database", ["service"], indirect=True)
async def test_the_service_does_not_drop_tables(world: World) -> None:
    with pytest.raises(Forbidden, match="not possible over HTTP"):
        await undeployed(world, drop_tables=True)
    assert await has_table(world)


async def test_an_undeploy_is_shown_with_the_person(world: World) -> None:
    await undeployed(world)
    newest, first = await history(world.caller, world.service, "w")
    assert (newest.kind, newest.by, newest.version) == (DeployKind.UNDEPLOYED, "ann", 1)
    assert not first.is_current
    view = await status(world.caller, world.service)
    assert view.dags == ()
    assert [(row.name, row.version, row.by) for row in view.undeployed] == [("w", 1, "ann")]
    await world.deploy(source("orders"), COPY)
    assert (await status(world.caller, world.service)).undeployed == ()


async def test_only_admins_undeploy(world: World) -> None:
    writer = Caller(world.caller.org, None, Role.WRITER)
    with pytest.raises(Forbidden):
        await undeploy(writer, world.service, "w")
