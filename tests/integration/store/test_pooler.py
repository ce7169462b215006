"""Knockon behind PgBouncer, mostly in transaction mode."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import AsyncConnection, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow
from psycopg_pool import PoolClosed

from engine.embedded.postgres import EmbeddedPostgres
from engine.errors import ServiceUnavailable
from engine.flow.planning.plan import Planned, plan
from engine.flow.shared.org_context import OrgContext
from engine.loops.notification_listener import NotificationListener
from engine.service.checks.check import CheckVerdict
from engine.service.checks.database import check_database
from engine.store.addresses import display_url
from engine.store.database import Database, require_addresses, set_role_settings
from engine.store.notifications import TASKS
from engine.store.orgs import ensure_org, org_id
from engine.store.roles import service_role
from engine.store.tenancy import TenantDatabase
from tests.support.pooler import pooler
from tests.support.proxy import proxy_to
from tests.support.worlds import World, job, source

DAYS = "2013-02-01..2013-02-20"


@pytest.fixture
async def pooled_url(database_url: str, tmp_path: Path) -> AsyncIterator[str]:
    async with pooler(database_url, tmp_path) as url:
        yield url


@pytest.fixture
async def pooled(pooled_url: str, database_url: str) -> AsyncIterator[Database]:
    await set_role_settings(pooled_url, database_url)
    async with await Database.open(
        pooled_url, direct_url=database_url, max_size=20, retry=False
    ) as opened:
        yield opened


class PooledWorld(World):
    """A world behind a pooler; the test's own queries connect directly."""

    async def plan(self) -> Planned | None:
        async with self.database.direct_connection() as conn:
            return await plan(conn, self.org)

    async def rows(self, text: str, *params: Any) -> list[DictRow]:
        async with self.database.direct_connection() as conn:
            return await (await conn.execute(text.encode(), params)).fetchall()


async def made(database: Database, *jobs: dict[str, Any]) -> World:
    async with database.connection() as conn:
        world = PooledWorld(database, OrgContext(await org_id(conn, "default")))
    await world.deploy(*jobs)
    return world


async def test_without_the_settings_of_the_role_nothing_starts(
    pooled_url: str, database_url: str
) -> None:
    with pytest.raises(ServiceUnavailable, match="run 'knockon migrate'") as caught:
        await Database.open(pooled_url, direct_url=database_url, retry=False)
    assert "search_path" in str(caught.value)
    assert "ALTER ROLE" in str(caught.value)


async def test_transactions_share_sessions_without_errors(pooled: Database) -> None:
    """Each statement may reach another session, so nothing may depend on the one before."""
    world = await made(pooled, source("a"), job("b", "a"), job("c", "b"))
    await world.changed("a", DAYS)
    done: list[str] = []
    while leases := await world.claim(limit=5):
        await asyncio.gather(*(world.finish(lease) for lease in leases))
        done += [lease.job.name for lease in leases]
    assert (done.count("b"), done.count("c")) == (20, 20)
    await world.deploy(source("a"), job("b", "a", config={"callable": "else:where"}), job("c", "b"))
    assert len((await world.tasks("b"))["queued"]) == 20


async def test_values_have_the_same_texts_in_every_session(pooled: Database) -> None:
    async def text() -> str:
        async with pooled.connection() as conn:
            cursor = await conn.execute("SELECT '2013-01-01 00:00+01'::timestamptz::text AS text")
            return str((await cursor.fetchall())[0]["text"])

    texts = {*await asyncio.gather(*(text() for _ in range(40)))}
    assert texts == {"2012-12-31 23:00:00+00"}


async def test_statements_from_outside_leave_nothing_in_shared_sessions(pooled: Database) -> None:
    """They run in a session of their own, which is closed if it cannot be cleaned."""

    async def prepared() -> int:
        async with pooled.transaction() as conn:
            await conn.execute("SELECT pg_catalog.pg_sleep(0.05)")  # so that all sessions are used
            cursor = await conn.execute("SELECT name FROM pg_catalog.pg_prepared_statements")
            return len(await cursor.fetchall())

    await asyncio.gather(*(prepared() for _ in range(20)))
    async with pooled.foreign_transaction() as conn:
        await conn.execute("PREPARE one AS SELECT 1")
    assert {*await asyncio.gather(*(prepared() for _ in range(20)))} == {0}


async def test_no_connection_is_lent_after_the_end(pooled: Database) -> None:
    async with pooled.connection(), pooled.direct_connection():
        pass
    await pooled.close()
    for lend in (pooled.connection, pooled.direct_connection):
        with pytest.raises(PoolClosed):
            async with lend():
                pass


async def test_notifications_arrive_directly(pooled: Database) -> None:
    world = await made(pooled, source("a"), job("b", "a"))
    listener, stop = NotificationListener(pooled, [TASKS]), asyncio.Event()
    running = asyncio.create_task(listener.run(stop))
    await listener.wait(10)  # it is woken once when it listens
    await world.changed("a", "2013-02-01")
    async with asyncio.timeout(5):
        await listener.wait(60)
    stop.set()
    await running


async def test_doctor_names_both_addresses(pooled: Database) -> None:
    checks = {check.name: check async for check in check_database(pooled)}
    assert "directly at" in checks["database"].detail
    assert checks["LISTEN"].verdict == CheckVerdict.OK


async def test_a_pooler_in_transaction_mode_needs_the_direct_address(pooled_url: str) -> None:
    url = make_conninfo(pooled_url, password="secret")
    with pytest.raises(ServiceUnavailable, match="set KNOCKON_DIRECT_URL to") as caught:
        await Database.open(url, retry=False)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("server_round_robin", [False, True])
async def test_transaction_mode_is_found_beside_other_clients(
    database_url: str, tmp_path: Path, server_round_robin: bool
) -> None:
    """Other clients take the session that the first transaction has just left."""

    async def keep_busy(url: str) -> None:
        async with await AsyncConnection.connect(url, autocommit=True) as other:
            while True:
                await other.execute("SELECT 1", prepare=False)

    async with pooler(database_url, tmp_path, server_round_robin=server_round_robin) as url:
        others = [asyncio.create_task(keep_busy(url)) for _ in range(5)]
        for _ in range(10):
            with pytest.raises(ServiceUnavailable, match="KNOCKON_DIRECT_URL"):
                await Database.open(url, retry=False)
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def test_statement_mode_is_refused(database_url: str, tmp_path: Path) -> None:
    async with pooler(database_url, tmp_path, pool_mode="statement") as url:
        with pytest.raises(ServiceUnavailable, match="KNOCKON_DIRECT_URL"):
            await Database.open(url, retry=False)


@pytest.mark.parametrize("default_pool_size", [20, 1])
async def test_session_mode_is_accepted(
    database_url: str, tmp_path: Path, default_pool_size: int
) -> None:
    """A second connection to a pool of one session waits, and shows nothing about the mode."""
    pooled = pooler(
        database_url, tmp_path, pool_mode="session", default_pool_size=default_pool_size
    )
    async with pooled as url:
        opening = Database.open(url, max_size=1, retry=False)
        async with await opening as database, database.connection() as conn:
            await conn.execute("SELECT 1")
        if default_pool_size > 1:
            await require_addresses(url, direct_url=url)


async def test_the_direct_address_must_not_be_the_pooler(pooled_url: str) -> None:
    with pytest.raises(ServiceUnavailable, match=r"KNOCKON_DIRECT_URL \(.*transaction mode"):
        await Database.open(pooled_url, direct_url=pooled_url, retry=False)


async def test_the_direct_address_must_be_of_the_same_database(
    pooled_url: str, database_url: str, empty_database_url: str
) -> None:
    await set_role_settings(pooled_url, database_url)
    password = conninfo_to_dict(empty_database_url).get("password", "secret")
    other = make_conninfo(empty_database_url, password=password)
    with pytest.raises(ServiceUnavailable, match="different databases") as caught:
        await Database.open(pooled_url, direct_url=other, retry=False)
    for url in (pooled_url, other):
        assert display_url(url) in str(caught.value)
        assert f":{password}" not in display_url(url)


async def test_the_direct_address_must_be_of_the_same_server(
    database_url: str, server: EmbeddedPostgres
) -> None:
    """The databases may have the same name, and the same oid after a physical copy."""
    name = conninfo_to_dict(database_url)["dbname"]
    async with await AsyncConnection.connect(server.url, autocommit=True) as conn:
        await conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(str(name))))
    other = make_conninfo(server.url, dbname=name)
    with pytest.raises(ServiceUnavailable, match="different databases"):
        await Database.open(database_url, direct_url=other, retry=False)


async def test_an_unavailable_direct_address_is_named(pooled_url: str) -> None:
    away = "postgresql://127.0.0.1:1/shop"
    with pytest.raises(ServiceUnavailable, match=r"127.0.0.1:1/shop .* set KNOCKON_DIRECT_URL"):
        await Database.open(pooled_url, direct_url=away, retry=False)


async def test_a_connection_without_the_required_encryption_is_not_awaited(pooled_url: str) -> None:
    url = make_conninfo(pooled_url, sslmode="require")
    with pytest.raises(ServiceUnavailable, match=r"does not support SSL.*; correct the parameters"):
        await asyncio.wait_for(Database.open(url), 10)


async def test_a_direct_connection_is_checked_without_a_second_one(database_url: str) -> None:
    async with proxy_to(database_url) as proxy:
        await require_addresses(proxy.url)
        assert proxy.connections == 1


async def test_the_service_is_confined_behind_a_pooler(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    login = f"service_{uuid4().hex[:12]}"
    async with database.connection() as conn:
        role = await service_role(conn)
        assert role is not None
        create = sql.SQL("CREATE ROLE {} LOGIN IN ROLE {}")
        await conn.execute(create.format(sql.Identifier(login), sql.Identifier(role)))
        orgs = [await ensure_org(conn, slug) for slug in ("one", "two")]
    direct_url = make_conninfo(database_url, user=login)
    async with pooler(direct_url, tmp_path, default_pool_size=2) as url:
        await set_role_settings(make_conninfo(url, user=login), database_url)
        async with await TenantDatabase.open(
            make_conninfo(url, user=login), direct_url=direct_url, retry=False
        ) as tenants:

            async def seen_by(org: UUID) -> None:
                async with tenants.org_connection(org) as conn:
                    cursor = await conn.execute("SELECT id FROM knockon.orgs")
                    assert [row["id"] for row in await cursor.fetchall()] == [org]
                async with tenants.connection() as conn:
                    assert (await conn.execute("SELECT id FROM knockon.orgs")).rowcount == 0

            await asyncio.gather(*(seen_by(org) for org in orgs * 20))


async def test_a_login_with_more_rights_is_refused_behind_a_pooler(
    pooled_url: str, database_url: str
) -> None:
    await set_role_settings(pooled_url, database_url)
    with pytest.raises(ServiceUnavailable, match="does not confine"):
        await TenantDatabase.open(pooled_url, direct_url=database_url, retry=False)
