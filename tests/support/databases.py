"""Fresh databases for tests, copied from a template that is migrated once."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote, urlencode, urlsplit
from uuid import uuid4

import psycopg
from psycopg.sql import SQL, Identifier

from engine.store.migrate import migrate


@contextmanager
def fresh_database(server_url: str, template: str = "template1") -> Iterator[str]:
    """Yield the address of a new copy of `template`, dropped afterwards, open sessions included."""
    name = f"knockon_test_{uuid4().hex}"
    create = SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
    _execute(server_url, create.format(Identifier(name), Identifier(template)))
    try:
        yield _with_search_path(with_database(server_url, name))
    finally:
        _execute(server_url, SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))
        capture = Identifier(f"knockon_capture_{name}")  # roles outlive their database
        _execute(server_url, SQL("DROP ROLE IF EXISTS {}").format(capture))


@contextmanager
def migrated_template(server_url: str) -> Iterator[str]:
    """Yield the name of a database with the whole schema and no open connections."""
    with fresh_database(server_url) as url:
        asyncio.run(migrate(url, grants_named_tables=True))
        yield database_name(url)


def with_database(url: str, name: str) -> str:
    """The address of another database on the same server."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def _with_search_path(url: str) -> str:
    """The address with a search path for the tests' own statements; the engine needs none."""
    parts = urlsplit(url)
    path = urlencode({"options": "-c search_path=public,knockon"}, quote_via=quote)
    return parts._replace(query=f"{parts.query}&{path}" if parts.query else path).geturl()


def database_name(url: str) -> str:
    """The database name in an address."""
    return urlsplit(url).path.removeprefix("/")


def _execute(url: str, statement: psycopg.sql.Composed) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)
