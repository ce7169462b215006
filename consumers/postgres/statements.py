"""The SQL of `sql/triggers`, by name: `statement("log.read")` is `read` in `log.sql`."""

from functools import cache

from psycopg.sql import SQL

from engine.store.queries import load_queries, sql_dir


@cache
def statement(name: str) -> SQL:
    """A statement, or a template with names in braces for `format`. Raises KeyError."""
    return SQL(_statements()[name])


@cache
def _statements() -> dict[str, str]:
    return load_queries(sql_dir() / "triggers")
