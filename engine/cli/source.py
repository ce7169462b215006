"""The database whose tables are sources."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import psycopg
import typer
from psycopg import AsyncConnection

from engine.cli.session import Session
from engine.errors import ServiceUnavailable
from engine.store.database import connection_error, display_url

SourceUrl = Annotated[
    str | None,
    typer.Option(
        "--source-url",
        help="PostgreSQL address of the table; default: KNOCKON_SOURCE_URL, else Knockon's own.",
    ),
]
Table = Annotated[str, typer.Argument(help="Table, named as in SQL: raw.flights.", metavar="TABLE")]


@asynccontextmanager
async def source_of(session: Session, url: str | None) -> AsyncIterator[AsyncConnection[Any]]:
    """A connection to the source tables' database. Raises ServiceUnavailable."""
    address = url or session.settings.source_url or session.database.url
    try:
        connection = await AsyncConnection.connect(address, autocommit=True, connect_timeout=5)
    except psycopg.Error as error:
        raise ServiceUnavailable(
            f"the source database {display_url(address)} cannot be reached: "
            f"{connection_error(address, error)}; "
            "give its address with --source-url or KNOCKON_SOURCE_URL"
        ) from error
    async with connection:
        yield connection
