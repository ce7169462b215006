"""Migration by a user who may not create roles."""

import re
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.acceptance.cli.conftest import MINIMAL, Knockon, environment


@pytest.fixture
def plain_user_url(empty_database_url: str) -> Iterator[str]:
    """Address of an empty database for its owner, who has no right to create roles."""
    user = sql.Identifier(name := f"plain_{uuid4().hex[:12]}")
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        database = sql.Identifier(conn.info.dbname)
        conn.execute(sql.SQL("CREATE ROLE {} LOGIN").format(user))
        conn.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, user))
    yield make_conninfo(empty_database_url, user=name)
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP OWNED BY {}").format(user))


def test_doctor_prints_statements_to_be_copied_and_fails_once_sql_jobs_are_deployed(
    plain_user_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    knockon = Knockon(environment(tmp_path, KNOCKON_DATABASE_URL=plain_user_url, COLUMNS="60"))
    knockon("migrate")
    assert "! roles" in knockon("doctor").out
    knockon("deploy", MINIMAL)
    text = knockon("doctor", code=1).out
    assert "✗ roles         missing, so that SQL jobs cannot run (1 SQL job deployed)" in text
    _, _, rest = text.partition("as a superuser in this database:\n")
    statements = re.split("^[✓!✗] ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    assert len(re.findall("^CREATE ROLE .*;$", statements, re.MULTILINE)) == 5
    with psycopg.connect(empty_database_url, autocommit=True) as admin:
        admin.execute(statements)  # type: ignore[call-overload]
    assert "✓ roles" in knockon("doctor").out
