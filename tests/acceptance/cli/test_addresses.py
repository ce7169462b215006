"""Commands with addresses that do not work, or do not work together."""

from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.acceptance.cli.conftest import MINIMAL, Knockon, environment
from tests.support.pooler import pooler

AWAY = "postgresql://127.0.0.1:1/shop"
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


def test_an_unavailable_direct_address_is_named_with_a_remedy(
    database_url: str, tmp_path: Path
) -> None:
    settings = {"KNOCKON_DATABASE_URL": database_url, "KNOCKON_DIRECT_URL": AWAY}
    knockon = Knockon(environment(tmp_path, **settings))
    (check,) = (
        check for check in knockon("doctor", "--json", code=1).json if check["name"] == "database"
    )
    assert check["verdict"] == "fail"
    assert "Connection refused" in check["detail"]
    assert "set KNOCKON_DIRECT_URL to the right address" in check["detail"]


def test_migrate_fails_immediately_for_an_address_that_cannot_work(
    database_url: str, tmp_path: Path
) -> None:
    knockon = Knockon(environment(tmp_path))
    for url in (make_conninfo(database_url, dbname="nosuch"), "mysql://shop"):
        result = knockon("migrate", "--database-url", url, code=1)
        assert "waiting" not in result.err
    assert "mysql" not in result.err


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
