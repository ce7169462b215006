"""The demo on January: built once, changed three times, and correct."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from engine.cli.demo.verify import Comparison, compare
from engine.store.database import Database

EXECUTABLE = Path(sys.executable).with_name("knockon")
PATIENCE_SECONDS = 300


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The output of `knockon demo --days 31`."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("KNOCKON_")}
    done = subprocess.run(
        [EXECUTABLE, "demo", "--days", "31"],
        env=own | {"COLUMNS": "200"},
        cwd=tmp_path_factory.mktemp("demo"),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_table_equals_a_rebuild(output: str) -> None:
    assert "All 17 tables are the same, row for row" in output
    assert re.search(r"nyc\.hourly +1,642 +0 +0 +same", output)


def test_everything_is_built_once(output: str) -> None:
    assert "All 497 partitions of 17 tables are built, each once" in output


@pytest.mark.parametrize(
    ("number", "job", "planned", "ran", "changed"),
    [
        (1, "hourly", 3, 3, 3),
        (1, "daily_airlines", 1, 1, 0),
        (1, "trailing_airlines", 7, 0, 0),
        (1, "trailing_airports", 7, 7, 7),
        (2, "hourly_sky", 1, 1, 1),
        (2, "trailing_rain", 7, 7, 7),
        (3, "daily_seats", 31, 31, 5),
        (3, "daily_seat_hours", 31, 5, 5),
    ],
)
def test_a_change_reruns_affected_partitions(
    output: str, number: int, job: str, planned: int, ran: int, changed: int
) -> None:
    row = rf"^ +{job} .* {planned} +{ran} +{changed} *$"
    assert re.search(row, _chapter(output, number), re.MULTILINE)


@pytest.mark.parametrize(
    ("number", "job", "dataset", "column"),
    [
        (1, "daily_seats", "flights", "dep_delay"),
        (1, "monthly_routes", "flights", "dep_delay"),
        (2, "daily_air", "weather", "precip"),
        (3, "daily_fleet", "planes", "seats"),
    ],
)
def test_unaffected_readers_have_a_reason(
    output: str, number: int, job: str, dataset: str, column: str
) -> None:
    row = rf"^ +{job} +{dataset} +.*\b{column}\b.* not read"
    assert re.search(row, _chapter(output, number), re.MULTILINE)


def _chapter(output: str, number: int) -> str:
    return output.split(f"Change {number} of 3: ")[1].split("Change ")[0]


async def test_differences_are_counted_in_rows(database: Database) -> None:
    async with database.connection() as conn:
        await conn.execute("""
            CREATE SCHEMA nyc; CREATE SCHEMA rebuild;
            CREATE TABLE nyc.counts AS SELECT 1 AS a, 'x' AS b UNION ALL SELECT 1, 'x';
            CREATE TABLE rebuild.counts AS SELECT 'x' AS b, 1 AS a UNION ALL SELECT 'y', 1;
        """)
        (found,) = await compare(conn, ["nyc.counts"])
    assert found == Comparison("nyc.counts", rows=2, surplus=1, missing=1)
    assert not found.is_equal


async def test_nulls_compare_equal(database: Database) -> None:
    async with database.connection() as conn:
        await conn.execute("""
            CREATE SCHEMA nyc; CREATE SCHEMA rebuild;
            CREATE TABLE nyc.one AS SELECT NULL::int AS a;
            CREATE TABLE rebuild.one AS SELECT NULL::int AS a;
        """)
        (found,) = await compare(conn, ["nyc.one"])
    assert found.is_equal
