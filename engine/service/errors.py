"""Errors of the database, as errors of the service."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from engine.errors import ServiceUnavailable


@contextmanager
def database_errors() -> Iterator[None]:
    """Raise ServiceUnavailable for errors of PostgreSQL."""
    try:
        yield
    except psycopg.Error as error:
        raise ServiceUnavailable(f"database error: {str(error).strip()}") from error
