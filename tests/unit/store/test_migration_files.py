"""Directives at the top of migration files."""

from pathlib import Path

import pytest

from engine.errors import InvalidInput
from engine.store import migration_files
from engine.store.migration_files import (
    Migration,
    TableLock,
    code_number,
    migrations_dir,
    read_migrations,
)
from tests.support.migrations import later_migrations


def read(tmp_path: Path, text: str, name: str = "0003_x.sql") -> Migration:
    (tmp_path / name).write_text(text)
    (migration,) = read_migrations(tmp_path)
    return migration


def test_a_file_without_directives_runs_in_a_transaction_beside_any_code(tmp_path: Path) -> None:
    migration = read(tmp_path, "-- Reason.\nSELECT 1;\n-- Outside transaction\n")
    assert migration.in_transaction
    assert migration.oldest_code is None
    assert migration.locks == ()


def test_directives_may_appear_between_other_comments(tmp_path: Path) -> None:
    migration = read(
        tmp_path,
        "-- Reason.\n\n-- knockon: oldest code 0002\n--knockon: locks knockon.tasks SHARE \n"
        "-- knockon: locks knockon.plans ACCESS EXCLUSIVE\n-- More.\nSELECT 1",
    )
    assert migration.oldest_code == 2
    assert migration.locks == (
        TableLock("knockon.tasks", "SHARE"),
        TableLock("knockon.plans", "ACCESS EXCLUSIVE"),
    )


def test_a_concurrent_build_declares_its_lock_implicitly(tmp_path: Path) -> None:
    migration = read(
        tmp_path,
        "-- knockon: outside transaction\n-- Not CREATE INDEX CONCURRENTLY x, but:\n"
        "create unique index concurrently if not exists Tasks_due\n    ON knockon.tasks (id)",
    )
    assert not migration.in_transaction
    assert migration.is_concurrent
    assert migration.index is not None
    assert migration.index.name == "tasks_due"
    assert migration.locks == (TableLock("knockon.tasks", "SHARE UPDATE EXCLUSIVE"),)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("-- knockon: outside a transaction\n", "unknown directive 'outside a transaction'"),
        ("-- knockon: oldest code 2\n", "unknown directive"),
        ("-- knockon: locks tasks SHARE\n", "unknown directive"),
        ("-- knockon: locks knockon.tasks EVERYTHING\n", "unknown directive"),
        ("-- knockon: oldest code 0004\n", "newer than itself: require 0003 at most"),
        ("SELECT 1;\n  -- knockon: oldest code 0003\n", "move 'oldest code 0003' to the top"),
        (
            "-- knockon: outside transaction\nCREATE INDEX CONCURRENTLY x ON knockon.tasks (id)",
            "cannot be repeated after a crash",
        ),
        (
            "-- knockon: outside transaction\n"
            "CREATE INDEX CONCURRENTLY IF NOT EXISTS x ON tasks (id)",
            "cannot be repeated after a crash",
        ),
    ],
)
def test_invalid_directives_are_rejected(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        read(tmp_path, text)


def test_numbers_and_names_are_checked(tmp_path: Path) -> None:
    for name in ("0002_other", "0002_again"):
        (tmp_path / f"{name}.sql").touch()
    with pytest.raises(InvalidInput, match="one number"):
        read_migrations(tmp_path)
    (tmp_path / "late.sql").touch()
    with pytest.raises(InvalidInput, match=r"late\.sql"):
        read_migrations(tmp_path)


def test_the_code_number_is_that_of_the_newest_migration() -> None:
    assert code_number() == read_migrations(migrations_dir())[-1].version


def test_files_installed_by_an_upgrade_keep_the_code_number_of_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = code_number()
    later_migrations(tmp_path / "migrations", "SELECT 1")
    monkeypatch.setattr(migration_files, "sql_dir", lambda: tmp_path)
    assert read_migrations(migrations_dir())[-1].version == number + 1
    assert code_number() == number
