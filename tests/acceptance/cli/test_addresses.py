"""Commands with addresses that do not work, or do not work together."""

from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.acceptance.cli.conftest import MINIMAL, Knockon, environment
from tests.support.pooler import pooler

COMMANDS = (
    ("up",),
    ("engine",),
    ("worker",),
    ("consume",),
    ("deploy", str(MINIMAL)),
    ("status",),
    ("migrate",),
    ("migrate", "--dry-run"),
)


@pytest.fixture
async def pooled_url(database_url: str, tmp_path: Path) -> AsyncIterator[str]:
    async with pooler(database_url, tmp_path) as url:
        yield make_conninfo(url, password="secret")


def test_every_command_refuses_a_pooler_without_the_direct_address(
    pooled_url: str, tmp_path: Path
) -> None:
    knockon = Knockon(environment(tmp_path, KNOCKON_DATABASE_URL=pooled_url))
    for command in COMMANDS:
        result = knockon(*command, code=1)
        assert "set KNOCKON_DIRECT_URL to the address" in result.err, command
        assert "secret" not in result.err
    doctor = " ".join(knockon("doctor", code=1).out.split())
    assert "✗ database" in doctor
    assert "set KNOCKON_DIRECT_URL to the address" in doctor


def test_every_command_refuses_addresses_of_different_databases(
    database_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    settings = {"KNOCKON_DATABASE_URL": database_url, "KNOCKON_DIRECT_URL": empty_database_url}
    knockon = Knockon(environment(tmp_path, **settings))
    for command in COMMANDS:
        assert "lead to different databases" in knockon(*command, code=1).err, command
    assert "lead to different databases" in " ".join(knockon("doctor", code=1).out.split())
    with psycopg.connect(empty_database_url) as conn:
        assert conn.execute("SELECT to_regnamespace('knockon')").fetchone() == (None,)
