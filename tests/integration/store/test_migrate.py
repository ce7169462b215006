"""Migrations against a real database."""

import asyncio
from pathlib import Path

import psycopg
import pytest

from engine.errors import InvalidInput
from engine.store.migrate import migrate, read_migrations


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    (tmp_path / "0001_thing.sql").write_text("CREATE TABLE thing (id int); SELECT '%';")
    (tmp_path / "0002_other.sql").write_text("CREATE TABLE other (id int);")
    return tmp_path


async def test_each_is_applied_once_in_order(empty_database_url: str, migrations: Path) -> None:
    assert await migrate(empty_database_url, migrations) == ["0001_thing", "0002_other"]
    assert await migrate(empty_database_url, migrations) == []
    (migrations / "0003_last.sql").write_text("DROP TABLE other")
    assert await migrate(empty_database_url, migrations) == ["0003_last"]


async def test_two_at_once_take_turns(empty_database_url: str, migrations: Path) -> None:
    both = await asyncio.gather(*(migrate(empty_database_url, migrations) for _ in range(2)))
    assert sorted(both) == [[], ["0001_thing", "0002_other"]]


async def test_a_changed_file_is_refused(empty_database_url: str, migrations: Path) -> None:
    await migrate(empty_database_url, migrations)
    (migrations / "0001_thing.sql").write_text("CREATE TABLE thing (id bigint)")
    with pytest.raises(InvalidInput, match="0001_thing was changed after it was applied"):
        await migrate(empty_database_url, migrations)


async def test_a_failing_file_leaves_nothing(empty_database_url: str, migrations: Path) -> None:
    broken = migrations / "0002_other.sql"
    broken.write_text("CREATE TABLE other (id int); SELECT 1/0;")
    with pytest.raises(psycopg.errors.DivisionByZero):
        await migrate(empty_database_url, migrations)
    broken.write_text("CREATE TABLE other (id int)")
    assert await migrate(empty_database_url, migrations) == ["0002_other"]


async def test_the_schema_of_the_project_is_applied(database_url: str) -> None:
    assert await migrate(database_url) == []


def test_numbers_and_names_are_checked(migrations: Path) -> None:
    (migrations / "0002_again.sql").touch()
    with pytest.raises(InvalidInput, match="one number"):
        read_migrations(migrations)
    (migrations / "late.sql").touch()
    with pytest.raises(InvalidInput, match=r"late\.sql"):
        read_migrations(migrations)
