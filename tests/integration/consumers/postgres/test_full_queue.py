"""A NOTIFY queue filled by another application does not affect Knockon's own delivery."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from consumers.postgres.attach import attach
from engine.embedded.postgres import EmbeddedPostgres, copy_template
from engine.store.notifications import TASKS, notify
from tests.integration.consumers.postgres.conftest import TENANT

FILL = "SELECT pg_notify('other', repeat('x', 7000) || gen_random_uuid())"
CHANGES = "SELECT count(*) AS n FROM knockon_source.changes"
USAGE = "SELECT pg_notification_queue_usage() AS n"


@pytest.fixture
def small_queue(pytestconfig: pytest.Config, tmp_path: Path) -> Iterator[str]:
    """The address of a server with the smallest possible NOTIFY queue."""
    copy_template(pytestconfig.cache.mkdir("postgres"), tmp_path / "data")
    with (tmp_path / "data" / "postgresql.auto.conf").open("a") as settings:
        settings.write("max_notify_queue_pages = 64\n")
    with EmbeddedPostgres(tmp_path / "data", durable=False) as server:
        yield server.url


async def _fill(connection: AsyncConnection[Any]) -> None:
    for _ in range(100):
        await connection.execute(FILL)


async def _number(connection: AsyncConnection[Any], query: str) -> float:
    cursor = await connection.execute(query.encode())
    (row,) = await cursor.fetchall()
    return float(row["n"])


async def test_a_full_notify_queue_stops_neither_writers_nor_consumers(small_queue: str) -> None:
    connect = AsyncConnection.connect
    async with (
        await connect(small_queue, autocommit=True, row_factory=dict_row) as writer,
        await connect(small_queue) as idle,
    ):
        await writer.execute("CREATE TABLE t (id int)")
        await attach(writer, TENANT, "t", "d", {})
        await idle.execute("LISTEN other")
        await idle.commit()
        await idle.execute("SELECT 1")  # and stays idle in a transaction
        while await _number(writer, USAGE) < 0.5:
            await writer.execute(FILL)
        used = await _number(writer, USAGE)
        for _ in range(50):
            await writer.execute("INSERT INTO t VALUES (1)")
            await notify(writer, TASKS, uuid4())
        assert await _number(writer, USAGE) == used
        with pytest.raises(psycopg.OperationalError, match="too many notifications"):
            await _fill(writer)
        await writer.execute("INSERT INTO t VALUES (1)")
        assert await _number(writer, CHANGES) == 51
