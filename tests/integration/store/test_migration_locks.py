"""The locks declared in a migration for its preview are the locks taken."""

from pathlib import Path

import psycopg
import pytest

from engine.store.migrate import migrate
from engine.store.migration_files import Migration, TableLock, migrations_dir, read_migrations
from tests.support.migrations import later_migrations, observed_locks


@pytest.mark.parametrize("migration", read_migrations(migrations_dir()), ids=str)
async def test_the_project_s_migrations_declare_their_locks(
    empty_database_url: str, tmp_path: Path, migration: Migration
) -> None:
    for earlier in read_migrations(migrations_dir()):
        if earlier.version < migration.version:
            (tmp_path / f"{earlier}.sql").write_text(earlier.sql)
    await migrate(empty_database_url, tmp_path)
    if migration.in_transaction:
        with psycopg.connect(empty_database_url, autocommit=True) as conn:
            conn.execute("CREATE SCHEMA IF NOT EXISTS knockon")  # as the first step of `migrate`
            assert observed_locks(conn, migration.sql) == set(migration.locks)


def test_an_undeclared_lock_is_seen(database_url: str, tmp_path: Path) -> None:
    text = """-- knockon: locks knockon.tasks ACCESS EXCLUSIVE
ALTER TABLE knockon.tasks ADD COLUMN later int;
CREATE TABLE knockon.notes (task uuid REFERENCES knockon.plans);
UPDATE knockon.jobs SET name = name;"""
    migration = read_migrations(later_migrations(tmp_path, text))[-1]
    with psycopg.connect(database_url, autocommit=True) as conn:
        assert observed_locks(conn, migration.sql) == {
            *migration.locks,
            TableLock("knockon.plans", "SHARE ROW EXCLUSIVE"),
        }
