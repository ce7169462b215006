"""The pool against a real server, and through outages of the server."""

import asyncio
import select
from pathlib import Path

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg_pool import PoolClosed, PoolTimeout
from structlog.testing import CapturingLogger

from engine.embedded.postgres import EmbeddedPostgres
from engine.errors import ServiceUnavailable
from engine.store.addresses import display_url
from engine.store.database import Database, reconnecting, wait_for_database
from engine.store.outages import is_starved, is_transient


async def _one(database: Database) -> object:
    async with database.connection() as connection:
        row = await (await connection.execute("SELECT 1 AS one")).fetchone()
        assert row is not None
        return row["one"]


async def _insert(database: Database, *values: str) -> None:
    async with database.transaction() as connection:
        for value in values:
            await connection.execute(f"INSERT INTO thing VALUES ({value})".encode())


async def _stop_within_transaction(database: Database, server: EmbeddedPostgres) -> None:
    async with database.transaction() as connection:
        server.stop()
        await connection.execute("SELECT 1")


async def _freeze_within_transaction(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 1")
        await asyncio.to_thread(select.select, [connection.fileno()], [], [])
        await connection.execute("SELECT 1")


async def test_rows_are_dicts_in_utc_with_json(database: Database) -> None:
    async with database.connection() as connection:
        cursor = await connection.execute(
            "SELECT current_setting('TimeZone') AS zone, '{\"a\": 1}'::jsonb AS body"
        )
        assert await cursor.fetchone() == {"zone": "UTC", "body": {"a": 1}}


async def test_an_idle_transaction_is_terminated(database: Database) -> None:
    async with database.connection() as connection:
        cursor = await connection.execute("SHOW idle_in_transaction_session_timeout")
        assert await cursor.fetchone() == {"idle_in_transaction_session_timeout": "1min"}
    # The server's last message may be lost if the next statement finds its connection closed.
    word, silence = psycopg.errors.IdleInTransactionSessionTimeout, psycopg.OperationalError
    with pytest.raises((word, silence)) as thrown:
        await _freeze_within_transaction(database)
    assert is_transient(thrown.value)


async def test_a_transaction_is_atomic(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute("CREATE TABLE thing (id int)")
    with pytest.raises(psycopg.errors.DivisionByZero):
        await _insert(database, "1", "1 / 0")
    await _insert(database, "2")
    async with database.connection() as connection:
        assert await (await connection.execute("TABLE thing")).fetchall() == [{"id": 2}]


async def test_a_listener_receives_a_notification(database: Database) -> None:
    async with await database.listen_connection() as listener:
        await listener.execute("LISTEN door")
        async with database.connection() as connection:
            await connection.execute("NOTIFY door, 'payload'")
        heard = [note.payload async for note in listener.notifies(timeout=5, stop_after=1)]
    assert heard == ["payload"]


async def test_the_pool_survives_a_restart(server: EmbeddedPostgres) -> None:
    async with await Database.open(server.url, min_size=3) as database:
        assert await _one(database) == 1
        server.stop()
        server.start()
        assert await _one(database) == 1


async def test_work_continues_after_a_database_outage(server: EmbeddedPostgres) -> None:
    async with await Database.open(server.url) as database:
        server.stop()
        work = asyncio.create_task(reconnecting(lambda: _one(database), what="count"))
        await asyncio.sleep(0.2)
        server.start()
        assert await asyncio.wait_for(work, 20) == 1


async def test_a_lost_connection_is_transient(server: EmbeddedPostgres) -> None:
    async with await Database.open(server.url) as database:
        with pytest.raises(psycopg.Error) as caught:
            await _stop_within_transaction(database, server)
    assert is_transient(caught.value)


async def test_open_waits_for_a_database_that_starts(server: EmbeddedPostgres) -> None:
    server.stop()
    opening = asyncio.create_task(Database.open(server.url))
    await asyncio.sleep(0.2)
    server.start()
    async with await asyncio.wait_for(opening, 20) as database:
        assert await _one(database) == 1


async def test_without_retries_the_error_names_the_setting(tmp_path: Path) -> None:
    url = f"postgresql://me:secret@/db?host={tmp_path}"
    with pytest.raises(ServiceUnavailable, match="KNOCKON_DATABASE_URL") as caught:
        await Database.open(url, retry=False)
    assert "secret" not in str(caught.value)


CLOSED = """
CREATE DATABASE closed;
REVOKE CONNECT ON DATABASE closed FROM PUBLIC;
CREATE ROLE guest LOGIN PASSWORD 'right';
CREATE ROLE idle NOLOGIN;
"""


@pytest.mark.parametrize(
    ("parameters", "problem", "remedy"),
    [
        (
            {"dbname": "nosuch"},
            'database "nosuch" does not exist',
            "create it, or correct the name",
        ),
        ({"user": "nosuch"}, 'role "nosuch" does not exist', "correct the user or the password"),
        ({"user": "idle"}, "not permitted to log in", "correct the user or the password"),
        ({"user": "guest"}, "no password supplied", "correct the user or the password"),
        (
            {"user": "guest", "password": "wrong"},
            "password authentication failed",
            "correct the user or the password",
        ),
        (
            {"user": "guest", "password": "right", "dbname": "closed"},
            "permission denied for database",
            "grant CONNECT on the database",
        ),
        ({"user": "stranger"}, "pg_hba.conf rejects", "permit the connection"),
        ({"sslmode": "never"}, 'invalid sslmode value: "never"', "correct the parameters"),
        ({"port": "99999"}, 'invalid port number: "99999"', "correct the parameters"),
    ],
)
async def test_a_lasting_failure_is_not_awaited_and_has_a_fitting_remedy(
    server: EmbeddedPostgres, parameters: dict[str, str], problem: str, remedy: str
) -> None:
    rules = server.data_dir / "pg_hba.conf"
    rules.write_text(
        "local all stranger reject\nlocal all guest scram-sha-256\n" + rules.read_text()
    )
    async with await AsyncConnection.connect(server.url, autocommit=True) as conn:
        for statement in CLOSED.strip().splitlines():
            await conn.execute(statement.encode())
        await conn.execute("SELECT pg_reload_conf()")
    url = make_conninfo(server.url, **parameters)
    with pytest.raises(ServiceUnavailable, match=f"{problem}.*; {remedy}.*DATABASE_URL") as caught:
        await asyncio.wait_for(Database.open(url), 10)
    assert "start it" not in str(caught.value)
    assert "wrong" not in str(caught.value)
    assert "right" not in str(caught.value)


async def test_a_refused_connection_has_the_remedy_to_start_the_server() -> None:
    with pytest.raises(ServiceUnavailable, match="Connection refused; start it, or set KNOCKON"):
        await Database.open("postgresql://127.0.0.1:1/shop", retry=False)


@pytest.mark.parametrize("url", ["postgresql:/me:secret@nowhere", "mysql://me:secret@db/shop"])
async def test_a_malformed_address_is_rejected(url: str) -> None:
    problem = "KNOCKON_DATABASE_URL is not a PostgreSQL address; write postgresql://user@host"
    with pytest.raises(ServiceUnavailable, match=problem) as caught:
        await asyncio.wait_for(Database.open(url), 5)
    assert "secret" not in str(caught.value)
    assert "start it" not in str(caught.value)


async def test_a_server_without_free_connections_is_not_to_be_started(
    server: EmbeddedPostgres,
) -> None:
    async with await AsyncConnection.connect(server.url, autocommit=True) as conn:
        await conn.execute("CREATE ROLE guest LOGIN CONNECTION LIMIT 0")
    with pytest.raises(ServiceUnavailable, match=r"too many connections.*; allow the server more"):
        await Database.open(make_conninfo(server.url, user="guest"), retry=False)


async def test_waiting_is_reported_with_the_remaining_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines differ every ten seconds, because repetitions of a line are not logged."""
    log = CapturingLogger()  # other tests may have configured where lines go
    monkeypatch.setattr("engine.store.database._log", log)
    with pytest.raises(ServiceUnavailable):
        await wait_for_database("postgresql://127.0.0.1:1/shop", 2)
    assert {call.args[0].partition("; ")[2] for call in log.calls} == {
        "waiting for up to 10 more seconds"
    }
    log.calls.clear()
    with pytest.raises(ServiceUnavailable):
        await wait_for_database("postgresql://127.0.0.1:1/shop", 0)
    assert not log.calls


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (psycopg.errors.AdminShutdown(), True),
        (psycopg.errors.SerializationFailure(), True),
        (psycopg.errors.DeadlockDetected(), True),
        (psycopg.errors.ConnectionFailure(), True),
        (psycopg.OperationalError("connection refused"), True),
        (psycopg.InterfaceError("the connection is closed"), True),
        (PoolTimeout(), True),
        (PoolClosed(), False),
        (psycopg.InterfaceError("no result"), False),
        (psycopg.errors.QueryCanceled(), False),
        (psycopg.errors.UniqueViolation(), False),
        (ValueError(), False),
    ],
)
def test_errors_are_classified_as_transient(error: Exception, transient: bool) -> None:
    assert is_transient(error) is transient


def test_a_full_disk_is_a_resource_error_and_not_transient() -> None:
    assert is_starved(psycopg.errors.DiskFull())
    assert not is_transient(psycopg.errors.DiskFull())
    assert not is_starved(psycopg.errors.UniqueViolation())


def test_a_displayed_address_has_no_password() -> None:
    assert display_url("postgresql://me:secret@host/db") == "me@host:5432/db"
    assert "secret" not in display_url("postgresql:/me:secret@host/db")
