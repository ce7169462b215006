"""Processes of an older version, while the schema is upgraded."""

import asyncio
import subprocess
import time
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from engine.cli.global_options import GlobalOptions
from engine.cli.runtime.session import Session, run
from engine.errors import OutdatedCode
from engine.service.queries.status import status
from engine.store.migrate import migrate
from tests.acceptance.cli.conftest import EXECUTABLE, PATIENCE_SECONDS, Knockon
from tests.support.migrations import LATEST, later_migrations

NEWER = f"{LATEST + 1:04}"
MUST_STOP = f"-- knockon: oldest code {NEWER}\nALTER TABLE knockon.tasks ADD COLUMN later int"
REASON = f"migration {NEWER}_later requires schema {NEWER} or newer; install a newer version"
SERVICES = (
    ("engine", "engine is up"),
    ("worker", "worker is up"),
    ("consume", "following tables"),
)


@pytest.mark.parametrize(("name", "line"), SERVICES)
def test_an_older_process_stops_and_gives_the_reason(
    shop: Knockon, database_url: str, tmp_path: Path, name: str, line: str
) -> None:
    shop("attach", "orders", "--dataset", "orders")
    with shop.running(name, until=line) as service:
        asyncio.run(migrate(database_url, later_migrations(tmp_path / "later", MUST_STOP)))
        output, _ = service.child.communicate(timeout=PATIENCE_SECONDS)
        assert service.child.returncode == 1
        assert f"error: this version of Knockon (schema {LATEST:04}) is too old" in output
        assert REASON in output.splitlines()[-1]
        assert "Traceback" not in output


def test_older_code_is_refused(knockon: Knockon, database_url: str, tmp_path: Path) -> None:
    asyncio.run(migrate(database_url, later_migrations(tmp_path / "later", MUST_STOP)))
    for command in ("status", "migrate", "worker"):
        assert REASON in knockon(command, code=1).err
    doctor = knockon("doctor", code=1).out
    assert "✗ schema" in doctor
    assert "install a newer version" in doctor


def test_a_command_that_waits_stops(shop: Knockon, database_url: str, tmp_path: Path) -> None:
    command = [EXECUTABLE, "invalidate", "orders", "-p", "2026-02-02", "--wait"]
    recorded = "SELECT count(*) FROM knockon.data_invalidations"
    with psycopg.connect(database_url, autocommit=True) as conn:
        before = conn.execute(recorded).fetchone()
        with subprocess.Popen(command, env=shop.env, stderr=subprocess.PIPE, text=True) as waiting:
            while conn.execute(recorded).fetchone() == before:  # nothing runs that could plan it
                time.sleep(0.05)
            asyncio.run(migrate(database_url, later_migrations(tmp_path / "later", MUST_STOP)))
            _, errors = waiting.communicate(timeout=PATIENCE_SECONDS)
    assert waiting.returncode == 1
    assert REASON in errors


def test_newer_code_reports_an_older_schema(shop: Knockon, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("UPDATE knockon.migrations SET applied_at = NULL WHERE version = 1")
    for command in ("status", "engine", "worker", "consume"):
        error = shop(command, code=1).err
        assert "the database lacks migrations 0001_schema: run 'knockon migrate'" in error


@pytest.mark.parametrize("is_empty", [True, False])
def test_a_preview_of_migrations(empty_database_url: str, knockon: Knockon, is_empty: bool) -> None:
    if is_empty:
        knockon.env["KNOCKON_DATABASE_URL"] = empty_database_url
        assert "pending 0001_schema: in a transaction" in knockon("migrate", "--dry-run").out
        (first, *_) = knockon("migrate", "--dry-run", "--json").json["pending"]
        assert first == {
            "migration": "0001_schema",
            "in_transaction": True,
            "locks": [],
            "oldest_code": None,
        }
        with psycopg.connect(empty_database_url) as conn:
            assert conn.execute("SELECT to_regnamespace('knockon')").fetchone() == (None,)
    else:
        assert knockon("migrate", "--dry-run").out == "The schema is up to date.\n"


def test_errors_of_the_database_are_reported(empty_database_url: str, knockon: Knockon) -> None:
    url = make_conninfo(empty_database_url, options="-c default_transaction_read_only=on")
    knockon.env["KNOCKON_DATABASE_URL"] = url
    error = knockon("migrate", code=1).err
    assert "error: database error: cannot execute CREATE SCHEMA in a read-only" in error
    assert "Traceback" not in error


def test_a_statement_that_fails_on_a_newer_schema_reports_the_reason(
    shop: Knockon, database_url: str, tmp_path: Path
) -> None:
    """Commands that do not wait do not keep a migration waiting either."""
    breaking = f"{MUST_STOP}; ALTER TABLE knockon.plans RENAME COLUMN state TO status"
    directory = later_migrations(tmp_path / "later", breaking)

    async def work(session: Session) -> None:
        await migrate(database_url, directory)
        await status(session.caller(), session.service)

    with pytest.raises(OutdatedCode, match=REASON):
        run(GlobalOptions(database_url=database_url), work)
